"""ACTOR: the divergence, what the decoder makes of a latent vector, learning."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from flag3d_exp.models.actor import ACTOR, DecoderLayer

SMALL = {"clip_len": 6, "width": 16, "num_layers": 1, "num_heads": 2, "layer_dropout": 0}
CLEAN = np.random.default_rng(0).standard_normal((3, 6, 54)).astype(np.float32)
CONDITION = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)


def made(**settings) -> ACTOR:
    ms.set_seed(0)
    return ACTOR("coco", **SMALL | settings)


def test_the_divergence_is_that_from_the_standard_normal_distribution():
    model = made(kl_weight=0.5)
    clean, condition = Tensor(CLEAN), Tensor(CONDITION)
    tokens = ops.stack([model.mean_token(condition), model.spread_token(condition)], 1)
    coded = model.encoder(ops.concat([tokens, model.entry(clean)], 1) + model.token_codes)
    mean, log_variance = (coded.asnumpy()[:, k].astype(np.float64) for k in (0, 1))
    wanted = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(1)
    predicted, true, own = model.training_outputs(clean, condition)
    np.testing.assert_allclose(own.asnumpy(), 0.5 * wanted, rtol=1e-4)
    np.testing.assert_array_equal(true.asnumpy(), CLEAN)
    # Without noise the latent vector is the mean.
    decoded = model(Tensor(mean.astype(np.float32)), condition)
    np.testing.assert_allclose(predicted.asnumpy(), decoded.asnumpy(), atol=1e-5)
    noise = np.random.default_rng(2).standard_normal((3, 16)).astype(np.float32)
    latent = (mean + noise * np.exp(0.5 * log_variance)).astype(np.float32)
    predicted, _, _ = model.training_outputs(clean, condition, Tensor(noise))
    decoded = model(Tensor(latent), condition)
    np.testing.assert_allclose(predicted.asnumpy(), decoded.asnumpy(), atol=1e-4)


def test_every_frame_depends_on_the_latent_vector_and_on_the_condition():
    model = made()
    latent = np.random.default_rng(2).standard_normal((3, 16)).astype(np.float32)
    plain = model(Tensor(latent), Tensor(CONDITION)).asnumpy()
    assert plain.shape == (3, 6, 54)
    for pair in ((latent[::-1], CONDITION), (latent, CONDITION[::-1])):
        other = model(*(Tensor(np.ascontiguousarray(one)) for one in pair)).asnumpy()
        assert (np.abs(other - plain)[0].max(-1) > 1e-5).all()
        np.testing.assert_allclose(other[1], plain[1], atol=1e-5)  # its own did not change


def test_attention_to_a_memory_of_one_token_is_a_dense_layer_of_it():
    """The softmax over one token is 1, whatever the query."""
    ms.set_seed(0)
    layer = DecoderLayer(4, 2, 2.0)
    memory = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
    value = layer.value(Tensor(memory)).asnumpy().reshape(1, 2, 2)  # (N, H, C / H)
    shares = np.ones((1, 2, 3, 1))  # of three queries
    mixed = np.einsum("nhqk,nhc->nqhc", shares, value).reshape(1, 3, 4).astype(np.float32)
    wanted = layer.proj(Tensor(mixed)).asnumpy()
    found = layer.proj(layer.value(Tensor(memory))).asnumpy()
    np.testing.assert_allclose(wanted, np.repeat(found[:, None], 3, 1), atol=1e-6)


def test_the_noise_is_drawn_on_the_host_and_samples_are_of_each_clip_s_generator():
    model = made(layer_dropout=0.25)
    drawn = model.chance((3, 6, 54), np.random.default_rng(0))
    assert list(drawn) == ["noise", "kept_0", "kept_1"]
    assert drawn["noise"].shape == (3, 16) and drawn["kept_0"].shape == (3, 8, 16)
    seen = []

    def decode(latent: np.ndarray) -> np.ndarray:
        seen.append(latent)
        return latent

    rngs = [np.random.default_rng(number) for number in range(2)]
    model.sample(decode, (2, 6, 54), rngs)
    wanted = [np.random.default_rng(n).standard_normal(16, np.float32) for n in range(2)]
    np.testing.assert_array_equal(seen[0], wanted)


def test_gradients_reach_every_parameter():
    model = made(kl_weight=1.0)
    noise = Tensor(np.ones((3, 16), np.float32))

    def loss(clean, condition):
        predicted, true, own = model.training_outputs(clean, condition, noise)
        return ops.square(predicted - true).mean() + own.mean()

    gradients = ms.value_and_grad(loss, None, model.trainable_params())
    _, found = gradients(Tensor(CLEAN), Tensor(CONDITION))
    names = [p.name for p in model.trainable_params()]
    # A key's bias adds the same to all similarities of a query.
    still = [n for n, g in zip(names, found, strict=True) if np.abs(g.asnumpy()).max() < 1e-8]
    assert all(name.endswith("key.bias") for name in still)


@pytest.mark.parametrize("kl_weight", [0.0, 1.0])
def test_the_weight_of_the_divergence_is_a_setting(kl_weight):
    _, _, own = made(kl_weight=kl_weight).training_outputs(Tensor(CLEAN), Tensor(CONDITION))
    assert (own.asnumpy() > 0).all() == bool(kl_weight)


def test_at_temperature_0_all_clips_of_a_condition_are_those_of_the_mean_latent_vector():
    model, seen = made(), []
    model.temperature = 0.0

    def decode(latent: np.ndarray) -> np.ndarray:
        seen.append(latent)
        return latent

    model.sample(decode, (2, 6, 54), [np.random.default_rng(k) for k in range(2)])
    np.testing.assert_array_equal(seen[0], np.zeros((2, 16)))
