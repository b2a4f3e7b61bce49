"""Motion from classes and sentences: conditions, losses, statistics, and learning by heart."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

import flag3d_exp as f3d
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.frames import Frames
from flag3d_exp.data.augment.recipe import Recipe
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.engine.optimizer import adamw
from flag3d_exp.errors import UserError
from flag3d_exp.models.generator import QUANTILES, with_floor
from flag3d_exp.models.mdm import MDM
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.problems.generate import Generate
from flag3d_exp.problems.generation_loss import TERMS, GenerationLoss
from flag3d_exp.problems.problem import check_provenance, fit, provenance
from flag3d_exp.problems.sampling import Sampler, drawn_length, resampled_joints
from flag3d_exp.skeletons.motion import around_mean, joints_of

CLASSES = ["Push-ups", "Sit-ups", "High Knee"]
PROBLEM = Generate("coco", 3, CLASSES, clip_len=8)
PLAIN = Generate("coco", 3, texts="none", clip_len=8)
SMALL = {"clip_len": 8, "width": 32, "num_layers": 2, "num_heads": 2, "num_steps": 20}
JOINT = Stream("joint", False, False, 1)


def recordings(num_frames: int = 12) -> list[Recording]:
    """Six recordings of two classes: who stands and waves one arm or the other."""
    rng = np.random.default_rng(0)
    body = rng.uniform(0.2, 1.6, size=(17, 3))
    made = []
    for number in range(6):
        label = number % 2
        keypoints = np.tile(body, (1, num_frames + number, 1, 1))
        wave = np.sin(np.linspace(0, 2 * np.pi, num_frames + number))
        keypoints[0, :, 9 + label, 2] += 0.5 * wave
        made.append(Recording(str(number), label, keypoints.astype(np.float32)))
    return made


def dataset(training: bool = False) -> ClipDataset:
    pipeline = GraphPipeline("coco", clip_len=8, even=True)
    return ClipDataset(recordings(), pipeline, JOINT, training=training)


def clips() -> np.ndarray:
    return np.concatenate([dataset().clips(index) for index in range(6)])


def network(problem: Generate = PROBLEM, **settings):
    ms.set_seed(0)
    made = problem.network(MDM("coco", **SMALL | settings))
    fit(problem, made, dataset())
    return made


def test_the_network_knows_the_training_clips_statistics_and_lengths():
    head = network().head
    features = PROBLEM.motion(clips()).features.reshape(-1, 54)
    np.testing.assert_allclose(head.mean.asnumpy(), features.mean(0), atol=1e-5)
    np.testing.assert_allclose(head.std.asnumpy(), with_floor(features.std(0)), atol=1e-5)
    lengths = head.lengths.asnumpy()
    np.testing.assert_allclose(lengths[:, 0], [12, 13, 0])  # the third class has no recording
    np.testing.assert_allclose(lengths[:, -1], [16, 17, 0])
    headings = head.headings.asnumpy()
    angles = [PROBLEM.motion(dataset().clips(index)).headings[0] for index in range(6)]
    labels = [one.label for one in dataset().recordings]
    for label in range(2):
        own = [angle for angle, its in zip(angles, labels, strict=True) if its == label]
        expected = np.quantile(around_mean(np.array(own)), QUANTILES)
        np.testing.assert_allclose(headings[label], expected, atol=1e-5)
    assert not any(p.requires_grad for p in (head.mean, head.std, head.lengths, head.headings))


def test_the_prior_has_the_spectrum_of_the_clips_as_training_shows_them():
    shown = replace(dataset(training=True), augment=Recipe(frames=Frames((0.4, 0.6))))
    ms.set_seed(0)
    made = PROBLEM.network(MDM("coco", **SMALL))
    fit(PROBLEM, made, shown)
    parts = np.concatenate([shown.clips(index) for index in range(6)])
    clean = made.head.standardised_clips(Tensor(PROBLEM.motion(parts).features)).asnumpy()
    np.testing.assert_allclose(clean.mean((0, 1)), 0, atol=1e-4)
    found = made.backbone.prior.coefficients(Tensor(clean)).asnumpy()
    np.testing.assert_allclose(made.backbone.prior.means.asnumpy(), found.mean(0), atol=1e-3)
    np.testing.assert_allclose(made.backbone.prior.variances.asnumpy(), found.var(0), atol=1e-3)
    whole = PROBLEM.motion(clips()).features
    assert np.abs(made.head.mean.asnumpy() - whole.mean((0, 1))).max() > 1e-3


def test_lengths_are_those_of_the_parts_that_clips_show():
    head = network(replace(PROBLEM, part=(0.25, 0.5))).head
    lengths = head.lengths.asnumpy()
    np.testing.assert_allclose(lengths[:, 0], [3, 3.25, 0])  # a quarter of the shortest recording
    np.testing.assert_allclose(lengths[:, -1], [8, 8.5, 0])  # half of the longest one


def test_a_still_feature_is_not_blown_up():
    np.testing.assert_allclose(with_floor(np.array([3.0, 4.0, 0.0])), [3, 4, 0.1 * 5 / 3**0.5])
    assert (with_floor(np.zeros(2)) > 0).all()


def test_half_the_conditions_are_classes_half_sentences_and_some_nothing():
    labels = np.random.default_rng(0).integers(3, size=4000)
    made = PROBLEM.training_conditions(labels, np.random.default_rng(1))
    assert made.shape == (4000, 3 + 384) and made.dtype == np.float32
    nothing = ~made.any(1)
    by_class, by_text = made[:, :3].any(1), made[:, 3:].any(1)
    assert nothing.mean() == pytest.approx(0.1, abs=0.02)
    assert by_class.mean() == pytest.approx(0.45, abs=0.03)
    assert not (by_class & by_text).any()
    np.testing.assert_array_equal(made[by_class][:, :3].argmax(1), labels[by_class])
    np.testing.assert_allclose(np.linalg.norm(made[~nothing], axis=1), 387**0.5, rtol=1e-5)
    nearest = (made[by_text][:, 3:] @ PROBLEM.vectors[0].T).argmax(1)
    np.testing.assert_array_equal(nearest, labels[by_text])
    plain = PLAIN.training_conditions(labels, np.random.default_rng(1))
    assert plain.shape == (4000, 3)


def test_a_perfect_prediction_has_no_loss_and_errors_are_those_worked_out():
    head = network().head
    clean = Tensor(np.random.default_rng(0).standard_normal((2, 8, 54)).astype(np.float32))
    own = Tensor(np.array([0.0, 3.0], np.float32))
    np.testing.assert_allclose(head.losses(clean, clean, own).asnumpy()[:, :3], 0, atol=1e-6)
    error = np.zeros((2, 8, 54), np.float32)
    error[0, 3, -1] = 2  # the height of the root in one frame
    found = head.losses(clean + Tensor(error), clean, own).asnumpy()
    np.testing.assert_allclose(found[0, 0], 4 / (8 * 54), rtol=1e-4)
    np.testing.assert_allclose(found[0, 1], 2 * 4 / (7 * 54), rtol=1e-4)  # up, then down again
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-6)  # no bone is longer
    np.testing.assert_allclose(found[:, 3], [0, 3])


def test_a_bone_s_loss_is_the_error_of_its_length():
    head = network().head
    zeros = np.zeros((1, 8, 54), np.float32)
    ms.ops.assign(head.mean, Tensor(np.zeros(54, np.float32)))
    ms.ops.assign(head.std, Tensor(np.full(54, 2, np.float32)))
    moved = zeros.copy()
    moved[..., 3 * 9 : 3 * 9 + 3] = [1.5, 2.0, 0.0]  # times 2: the wrist is 5 from the elbow
    found = head.losses(Tensor(moved), Tensor(zeros), Tensor(np.zeros(1, np.float32))).asnumpy()
    assert found[0, 2] == pytest.approx((5 / 2) ** 2 / head.num_bones, rel=1e-3)


def test_the_loss_is_the_weighted_sum_and_training_and_evaluation_agree_on_it():
    losses = np.array([[1, 2, 3, 4], [3, 2, 1, 0]], np.float32)
    problem = Generate("coco", 3, texts="none", clip_len=8, motion_weight=0.5, bone_weight=2)
    loss, counts = problem.criterion({})(Tensor(losses))
    assert float(loss.asnumpy()) == pytest.approx(2 + 0.5 * 2 + 2 * 2 + 2)
    sums = dict(zip(TERMS, [float(one.asnumpy()) for one in counts], strict=True))
    assert GenerationLoss(problem.weights).metrics(sums, 2) == dict.fromkeys(TERMS, 2.0)
    found = problem.metrics(problem.predictions(losses[:, None], clips()), {})
    assert found == {"loss": 9.0, **dict.fromkeys(TERMS, 2.0)}
    assert set(found) == set(problem.metric_names)


def test_the_same_chance_makes_the_same_batch():
    net, labels = network(), {"label": np.array([0, 1, 0, 1, 0, 1])}

    def batch(seed: int) -> dict[str, np.ndarray]:
        drawn = PROBLEM.chance(net, clips().shape, np.random.default_rng(seed))
        inputs, targets = PROBLEM.batch(clips(), labels, drawn)
        assert targets == {}
        return inputs

    first, again, other = batch(5), batch(5), batch(6)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert np.abs(first["noise"] - other["noise"]).max() > 0.1
    assert set(first) == {"features", "condition", "signal", "noise", "steps"} | {
        f"kept_{number}" for number in range(4)
    }


def test_an_evaluation_s_losses_depend_on_the_clip_only():
    net = network().set_train(False)
    inputs = PROBLEM.test_inputs(clips(), {"label": np.array([0, 1, 0, 1, 0, 1])})
    together = net(*map(Tensor, inputs.values())).asnumpy()
    assert together.shape == (6, 4)
    alone = PROBLEM.test_inputs(clips()[2:3], {"label": np.array([0])})
    np.testing.assert_allclose(net(*map(Tensor, alone.values())).asnumpy()[0], together[2], 1e-4)


PUBLISHED = {"prior": False, "temperature": 1.0}


def distances_of_learned_classes(**settings) -> list[tuple[np.ndarray, np.ndarray]]:
    """Metres from a sampled clip of each class to the recordings of its class, and to others."""
    ms.set_seed(0)
    backbone = MDM("coco", **SMALL | {"layer_dropout": 0} | settings)
    trained = f3d.train(
        backbone,
        dataset(training=True),
        {"val": dataset()},
        epochs=2,
        repeat=500,
        batch_size=6,
        optimizer=lambda groups: adamw(groups, lr=0.003),
        problem=PLAIN,
    )
    assert trained.metrics["val/position_loss"] < 0.1
    sampler = Sampler(trained.model, False, 8)
    conditions = PLAIN.class_conditions(np.array([0, 1]))
    features = sampler(conditions, [np.random.default_rng(n) for n in range(2)], 8)
    real = joints_of(PLAIN.motion(clips()).features)
    made = joints_of(features)
    found = []
    for label in (0, 1):
        distances = np.linalg.norm(real - made[label], axis=-1).mean((1, 2))
        found.append((distances[label::2], distances[1 - label :: 2]))
    return found


@pytest.mark.slow
def test_a_few_clips_are_learned_by_heart_and_sampled_again():
    for own, other in distances_of_learned_classes(**PUBLISHED):
        assert own.max() < 0.05 < other.min() + 0.03


@pytest.mark.slow
def test_with_a_prior_samples_are_nearer_to_their_class():
    for own, other in distances_of_learned_classes():
        assert own.max() < 0.15 and own.max() < 0.8 * other.min(), (own, other)


def test_a_sampled_clip_depends_on_its_seed_and_not_on_the_batch():
    net = network()
    conditions = PROBLEM.class_conditions(np.array([0, 1, 1]))

    def sampled(numbers: list[int], size: int, guidance: float = 1.0) -> np.ndarray:
        rngs = [np.random.default_rng(number) for number in numbers]
        return Sampler(net, False, size, guidance)(conditions[numbers], rngs, 8)

    together = sampled([0, 1, 2], 2)
    assert together.shape == (3, 8, 54)
    np.testing.assert_array_equal(together, sampled([0, 1, 2], 2))
    np.testing.assert_allclose(sampled([2], 2)[0], together[2], atol=1e-5)
    assert np.abs(together[1] - together[2]).max() > 1e-3
    assert np.abs(sampled([0, 1, 2], 2, 3.0) - together).max() > 1e-4


def test_guidance_goes_on_from_no_condition_to_the_condition():
    net = network()
    conditions = PROBLEM.class_conditions(np.array([0, 1]))
    noisy = np.random.default_rng(0).standard_normal((2, 8, 54)).astype(np.float32)
    steps = np.full(2, 3, np.int32)
    forward = Sampler(net, False, 2)._compiled_network()
    with_it, without = forward(noisy, conditions, steps), forward(noisy, 0 * conditions, steps)
    guided = Sampler(net, False, 2, 2.5)._guided_clips(forward, conditions)(noisy, steps)
    np.testing.assert_allclose(guided, without + 2.5 * (with_it - without), atol=1e-5)


def test_lengths_have_the_quantiles_of_the_training():
    rng = np.random.default_rng(0)
    quantiles = 10 + 20 * QUANTILES
    found = np.array([drawn_length(quantiles, rng) for _ in range(2000)])
    assert found.min() >= 10 and found.max() <= 30
    assert np.median(found) == pytest.approx(20, abs=1)


def test_a_clip_is_resampled_through_its_frames():
    times = np.linspace(0, 3, 7)
    clip = np.stack([times, times**2, np.ones(7)], -1)[:, None]  # (7, 1, 3)
    found = resampled_joints(clip, 13)
    np.testing.assert_allclose(found[::2], clip, atol=1e-5)
    np.testing.assert_allclose(found[:, 0, 1], np.linspace(0, 3, 13) ** 2, atol=1e-5)


def test_persons_who_do_not_stand_along_the_upward_axis_are_noticed():
    def standing(axis: int) -> list[Recording]:
        keypoints = np.full((1, 4, 17, 3), 0.1, np.float32)
        keypoints[..., 0, axis] = 1.8  # the nose
        return [Recording("a", 0, keypoints)]

    assert PROBLEM.doubts(standing(2)) == []
    assert "persons stand along y" in PROBLEM.doubts(standing(1))[0]


def test_checkpoints_know_the_sentences_of_the_training():
    assert check_provenance(PROBLEM, provenance(PROBLEM)) is None
    assert provenance(PLAIN) == {}


def test_what_can_not_be_learned_is_refused_in_a_line():
    with pytest.raises(UserError, match="this dataset has 2 coordinates"):
        Generate("coco", 3, num_channels=3, score_channel=True)
    with pytest.raises(UserError, match=r"dataset\.num_persons=1`; got 2"):
        Generate("coco", 3, num_persons=2)
    with pytest.raises(UserError, match="stream=joint"):
        Generate("coco", 3, stream="bone")
    with pytest.raises(
        UserError, match=r"problem\.part` must be two rising .*; got \[0\.5, 1\.5\]"
    ):
        Generate("coco", 3, part=(0.5, 1.5))
    with pytest.raises(UserError, match="STGCN does not"):
        PLAIN.network(STGCN("coco", base_channels=4, num_blocks=1))
    with pytest.raises(UserError, match=r"problem\.texts=none"):
        _ = Generate("coco", 2, ["Juggling", "Chess"]).descriptions
    with pytest.raises(UserError, match="`problem=generate` needs as the root"):
        _ = Generate("handmp", 3).root
