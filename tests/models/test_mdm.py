"""MDM: the noise schedule, sampling against known distributions, what the network sees."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from flag3d_exp.errors import UserError
from flag3d_exp.models.mdm import MDM, noise_of, signal_shares
from flag3d_exp.models.transformer import Encoder, SelfAttention, kept_branches, positions

SMALL = {
    **{"clip_len": 6, "width": 16, "num_layers": 2, "num_heads": 2, "num_steps": 10},
    **{"prior": False, "temperature": 1.0},
}


def rngs(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(number) for number in range(count)]


def test_the_noise_schedule_is_the_cosine_of_the_paper():
    shares = signal_shares(50)

    def wanted(step: int) -> float:
        """The ratio of f(t) and f(0), f(t) = cos^2((t / S + 0.008) / 1.008 * pi / 2)."""
        whole = [np.cos((t / 50 + 0.008) / 1.008 * np.pi / 2) ** 2 for t in (step + 1, 0)]
        return whole[0] / whole[1]

    np.testing.assert_allclose(shares[:49], [wanted(step) for step in range(49)])
    assert 0 < shares[49] < 0.001 * shares[48] + 1e-9  # the last noise is bounded
    assert (np.diff(shares) < 0).all()


def test_a_perfect_network_samples_the_clean_clip():
    model = MDM("coco", **SMALL)
    clean = np.random.default_rng(0).standard_normal((2, 6, 54)).astype(np.float32)
    found = model.sample(lambda noisy, steps: clean, clean.shape, rngs(2))
    np.testing.assert_allclose(found, clean, atol=1e-5)


def test_samples_of_a_normal_distribution_have_its_mean_and_variance():
    """From x, the best prediction of N(m, v) is m + sqrt(a) v (x - sqrt(a) m) / (a v + 1 - a)."""
    model = MDM("coco", **SMALL | {"num_steps": 100})
    mean, variance = 0.7, 0.25

    def best(noisy: np.ndarray, steps: np.ndarray) -> np.ndarray:
        share = model.signal[steps].reshape(-1, 1, 1)
        gain = np.sqrt(share) * variance / (share * variance + 1 - share)
        return mean + gain * (noisy - np.sqrt(share) * mean)

    found = model.sample(best, (100, 6, 54), rngs(100))
    assert found.mean() == pytest.approx(mean, abs=0.02)
    # The sampler ignores the uncertainty of x0, so the variance is somewhat too small.
    assert found.var() == pytest.approx(variance, rel=0.1)


def test_a_lower_temperature_gives_less_spread_and_none_the_same_mean():
    def best(noisy: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The prediction of N(0.7, 1)."""
        share = signal_shares(100)[steps].reshape(-1, 1, 1)
        return 0.7 + np.sqrt(share) * (noisy - np.sqrt(share) * 0.7)

    spreads = []
    for temperature in (1.0, 0.75, 0.5):
        model = MDM("coco", **SMALL | {"num_steps": 100, "temperature": temperature})
        found = model.sample(best, (50, 6, 54), rngs(50))
        assert found.mean() == pytest.approx(0.7, abs=0.03)
        spreads.append(found.std())
    assert spreads[0] > 1.1 * spreads[1] > 1.2 * spreads[2]


def test_known_features_are_kept_and_do_not_depend_on_the_network():
    model = MDM("coco", **SMALL)
    known = np.random.default_rng(0).standard_normal((2, 6, 54))
    mask = np.zeros(known.shape, bool)
    mask[:, :3] = True
    found = model.sample(lambda noisy, steps: 0 * noisy, known.shape, rngs(2), (known, mask))
    np.testing.assert_allclose(found[:, :3], known[:, :3], atol=1e-5)
    np.testing.assert_allclose(found[:, 3:], 0, atol=1e-6)


def test_each_clip_s_noise_is_from_its_own_generator():
    alone, among = noise_of((3, 4), rngs(1)), noise_of((3, 4), rngs(3))
    assert alone.dtype == np.float32
    np.testing.assert_array_equal(alone[0], among[0])


def test_the_network_sees_all_frames_the_step_and_the_condition():
    ms.set_seed(0)
    model = MDM("coco", **SMALL).set_train(False)
    noisy = np.random.default_rng(0).standard_normal((2, 6, 54)).astype(np.float32)
    condition, steps = np.zeros((2, 16), np.float32), np.array([3, 3], np.int32)

    def out(noisy=noisy, condition=condition, steps=steps) -> np.ndarray:
        return model(Tensor(noisy), Tensor(condition), Tensor(steps)).asnumpy()

    plain = out()
    assert plain.shape == noisy.shape
    changed = noisy.copy()
    changed[0, 5] += 1
    differs = np.abs(out(noisy=changed) - plain).max(-1)
    assert (differs[0] > 1e-5).all() and not differs[1].any()
    assert np.abs(out(steps=np.array([4, 3], np.int32)) - plain)[0].max() > 1e-5
    other = condition + np.arange(16, dtype=np.float32)
    assert np.abs(out(condition=other) - plain).max() > 1e-3
    moved = out(noisy=noisy[:, ::-1])  # frames have positions
    assert np.abs(moved[:, ::-1] - plain).max() > 1e-5


def test_attention_is_softmax_of_scaled_products():
    ms.set_seed(0)
    layer = SelfAttention(4, 2)
    x = np.random.default_rng(0).standard_normal((1, 3, 4)).astype(np.float32)

    def dense(cell) -> np.ndarray:
        return x[0] @ cell.weight.asnumpy().T + cell.bias.asnumpy()

    query, key, value = dense(layer.query), dense(layer.key), dense(layer.value)
    parts = []
    for head in (slice(0, 2), slice(2, 4)):
        scores = query[:, head] @ key[:, head].T / np.sqrt(2)
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        parts.append(shares @ value[:, head])
    wanted = np.concatenate(parts, 1) @ layer.proj.weight.asnumpy().T + layer.proj.bias.asnumpy()
    np.testing.assert_allclose(layer(Tensor(x)).asnumpy()[0], wanted, atol=1e-5)


def test_a_branch_that_is_dropped_adds_nothing():
    ms.set_seed(0)
    encoder = Encoder(8, 1, 2, 2.0)
    x = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
    zeros, ones = np.zeros(x.shape, np.float32), np.ones(x.shape, np.float32)
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    without = encoder(Tensor(x), Tensor(zeros), Tensor(zeros)).asnumpy()
    np.testing.assert_allclose(without, normed, atol=1e-4)
    whole = encoder(Tensor(x), Tensor(ones), Tensor(ones)).asnumpy()
    np.testing.assert_allclose(whole, encoder(Tensor(x)).asnumpy(), atol=1e-6)


def test_branches_are_dropped_in_the_share_asked_for():
    drawn = kept_branches((4, 50, 16), 2, 0.25, np.random.default_rng(0))
    assert list(drawn) == [f"kept_{number}" for number in range(4)]
    for factors in drawn.values():
        assert factors.dtype == np.float32
        assert set(np.unique(factors)) == {0, np.float32(256 / 192)}
        assert factors.mean() == pytest.approx(1, abs=0.05)
    assert kept_branches((1, 2, 3), 2, 0.0, np.random.default_rng(0)) == {}


def test_positions_are_sines_and_cosines():
    codes = positions(3, 4)
    np.testing.assert_allclose(codes[0], [0, 0, 1, 1])
    np.testing.assert_allclose(codes[2, [0, 2]], [np.sin(2), np.cos(2)], rtol=1e-6)
    np.testing.assert_allclose(codes[2, 1], np.sin(2 / 100), rtol=1e-6)


def test_the_published_network_has_as_many_weights_as_its_layers():
    model = MDM("nturgb+d", layer_dropout=0)
    inside = sum(p.size for p in model.encoder.get_parameters() if p.ndim == 2)
    assert inside == 8 * (4 * 512**2 + 2 * 512 * 1024)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match=r"model\.num_heads.*3 and 16"):
        MDM("coco", **SMALL | {"num_heads": 3})
