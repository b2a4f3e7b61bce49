"""`task=fidelity`: compare generated recordings with real ones, with a recogniser's features."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from flag3d_exp import bounds, console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model, trained_batch_size
from flag3d_exp.data.annotations import Recording, read_annotations
from flag3d_exp.data.augment.camera import UPWARD
from flag3d_exp.data.augment.recipe import NOTHING
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.inputs import input_clips
from flag3d_exp.data.poses import poses_of
from flag3d_exp.data.roots import root_weights
from flag3d_exp.data.sampling import even_times
from flag3d_exp.data.source import Dataset
from flag3d_exp.data.upright import AXES, upward_axis
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.problems.lift import METRES
from flag3d_exp.problems.problem import Arrays, Problem
from flag3d_exp.problems.trivial_generators import NOISE, mean_recordings, noisy_recordings
from flag3d_exp.report.animation import animations
from flag3d_exp.report.document import Section, Table, Text, to_html, to_markdown
from flag3d_exp.results import generation
from flag3d_exp.results.generation import Whitening
from flag3d_exp.runs import record
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.run_folder import save_metrics
from flag3d_exp.runs.session import Evaluator, forward_passes
from flag3d_exp.skeletons.layout import Layout
from flag3d_exp.skeletons.motion import filled_joints, joints_of, motion
from flag3d_exp.tasks.inspect import by_label

log = logging.getLogger(__name__)
CLIP_LEN = 48  # frames of the clips that are searched for copies
NUM_HALVES = 10  # random halvings of the training split
MAX_SELF = 200  # training clips whose nearest neighbour in the training split is searched
NUM_SHOWN = 2  # generated recordings of each class on the page
FEET = ("ankle", "foot", "toe", "heel")
LEAD = (
    "The generated recordings are from a network, not from persons. Features are those of a "
    "recogniser, {}, reduced to {} whitened principal components of the training split."
)


@dataclass(frozen=True)
class Group:
    """Recordings and what is measured on each.

    Args:
        components: (n, P) whitened features.
        labels, predicted: (n,).
        clips: (n, T, V, 3) joints in metres, placed and turned alike.
    """

    recordings: Sequence[Recording]
    components: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    clips: np.ndarray


@dataclass(frozen=True)
class Fidelity:
    """Settings of `task=fidelity`.

    Args:
        checkpoint: of the recogniser, a run with `problem=classify` on real 3D recordings: a
            checkpoint file, a run folder (its best checkpoint) or an MLflow run id.
        inputs: files of `task=generate`. Of several files, such as those of several seeds, the mean
            and its 95 % interval are reported.
        split: real recordings that neither the recogniser nor the generator was trained on.
        trivial: also measure the mean of each class's training recordings, and training recordings
            with noise of 20 mm: what a generator must beat.
        frame_rate: frames per second of all recordings, for the speed of feet.
        batch_size: clips per forward pass; None: as in the recogniser's run.
        num_workers: threads that prepare clips.
    """

    checkpoint: str
    inputs: Annotated[list[str], "not empty"]
    split: str = "val"
    trivial: bool = True
    frame_rate: Annotated[float, "> 0"] = 30.0
    batch_size: Annotated[int, ">= 1, <= 65536"] | None = None
    num_workers: Annotated[int, ">= 1"] = 1

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        if self.split == "train":
            raise UserError("`task.split` must be a split that is not trained on; got 'train'.")

    def __call__(self, experiment: Experiment) -> None:
        """Compare; write `fidelity.html`, `fidelity.md` and `metrics.json`."""
        folder = experiment.folder
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        problem = experiment.classification("fidelity")
        settings: Dataset = experiment.build("dataset")
        if settings.num_coordinates != 3:
            raise UserError(
                "`task=fidelity` compares recordings in 3D; the recogniser was trained on "
                f"{settings.num_coordinates} coordinates."
            )
        device, device_name = experiment.device()
        real = experiment.datasets(["train", self.split])
        real = {name: replace(one, training=False, augment=NOTHING) for name, one in real.items()}
        train = real["train"]
        layout = settings.layout_of(train.recordings[0])
        up, metres = upright(train.recordings, layout), METRES[settings.unit or "metres"]
        datasets = {
            "train": [train],
            "unseen": [real[self.split]],
            "generated": [self._generated_clips(one, experiment, settings) for one in self.inputs],
        }
        clips = {
            name: [aligned_clips(one.recordings, layout, up, metres) for one in members]
            for name, members in datasets.items()
        }
        if self.trivial:
            count = max(len(one) for one in datasets["generated"])
            rng = np.random.default_rng(experiment.seed)
            trivial = {
                "mean": mean_recordings(
                    train.recordings, clips["train"][0], UPWARD[AXES[up]], metres
                ),
                "noisy": noisy_recordings(train.recordings, count, metres, rng),
            }
            for name, recordings in trivial.items():
                datasets[name] = [input_clips(recordings, settings, train.pipeline, train.stream)]
                clips[name] = [aligned_clips(recordings, layout, up, metres)]
        everything = [one for members in datasets.values() for one in members]
        model = restored_model(experiment, checkpoint, everything)
        size = self.batch_size or trained_batch_size(checkpoint)
        with (
            experiment.track(device_name, real) as tracker,
            console.progress_bar() as bar,
            StopRequest() as stop,
        ):
            evaluator = pooled_evaluator(
                model,
                problem,
                device.compiles(forward_passes(everything, size)),
                size,
                self.num_workers,
                stop,
                bar,
            )
            found = {
                name: [evaluator.predictions("recordings", one)[0] for one in members]
                for name, members in datasets.items()
            }
            num_features = found["train"][0].shape[1] - settings.num_classes
            whiten = Whitening.of(found["train"][0][:, :num_features])
            groups = {
                name: [
                    Group(
                        data.recordings,
                        whiten(values[:, :num_features]),
                        data.labels,
                        values[:, num_features:].argmax(1),
                        own,
                    )
                    for data, values, own in zip(members, found[name], clips[name], strict=True)
                ]
                for name, members in datasets.items()
            }
            (first,), (unseen,) = groups["train"], groups["unseen"]
            rows = measures_of_groups(groups, experiment.seed)
            for name, members in groups.items():
                for row, group in zip(rows[name], members, strict=True):
                    row |= physical(group, layout, up, metres, self.frame_rate)
            table = summary(rows)
            metrics = metric_values(table)
            lead = LEAD.format(experiment.model_name, first.components.shape[1])
            content = [measures(table, self.split, len(self.inputs))]
            files.write_text(folder / "fidelity.md", to_markdown("Fidelity", lead, content))
            shown = groups["generated"][0]
            content.append(side_by_side(unseen, shown, experiment.classes, layout, up))
            title = f"Generated recordings and {experiment.dataset_name}"
            files.write_text(folder / "fidelity.html", to_html(title, lead, content))
            tracker.log_report(record.final_report(metrics))
            tracker.log_artifact(save_metrics(folder, metrics))
            for name in ("fidelity.md", "fidelity.html"):
                tracker.log_artifact(folder / name)
        console.show((folder / "fidelity.md").read_text(encoding="utf-8"))
        console.say(f"side by side: {folder / 'fidelity.html'}")
        for line in experiment.places(tracker):
            log.info(line)

    def _generated_clips(self, name: str, experiment: Experiment, settings: Dataset) -> ClipDataset:
        """The recordings of a generated file as test clips.

        Raises:
            UserError: the file can't be read, or holds a recording that is not generated.
        """
        with blamed_on("task.inputs"):
            _, recordings = read_annotations(Path(name).expanduser())
            real = [one.name for one in recordings if not one.generated]
            if real:
                raise UserError(
                    f"{name} holds recordings that are not generated, such as {real[0]!r}; give "
                    "files of `task=generate`."
                )
            if len(recordings) < 2:
                raise UserError(f"{name} must hold at least 2 recordings to compare.")
            made = experiment.build
            return input_clips(recordings, settings, made("pipeline"), made("stream"))


@dataclass(frozen=True)
class FeaturesOf:
    """A problem whose predictions are pooled features (n, C) and class scores (n, K), joined.

    Args:
        num_features: C.
    """

    problem: Problem
    num_features: int

    def test_inputs(self, clips: np.ndarray, targets: Arrays) -> Arrays:
        """The same inputs as the problem's."""
        return self.problem.test_inputs(clips, targets)

    def predictions(self, outputs: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """(n, C + K) from outputs (n, num_clips, C + K)."""
        features, logits = np.split(outputs, [self.num_features], axis=-1)
        return np.concatenate([features.mean(1), self.problem.predictions(logits, clips)], 1)


def pooled_evaluator(
    model, problem: Problem, jit: bool, batch_size: int, num_workers: int, stop, bar
) -> Evaluator:
    """An evaluator whose predictions are those of `FeaturesOf`.

    Raises:
        UserError: the network is no classifier with pooled features.
    """
    from flag3d_exp.models.pooled import PooledFeatures

    network = PooledFeatures(model)
    which: Problem = FeaturesOf(problem, network.num_features)  # type: ignore[assignment]
    return Evaluator(which, Predictor(network, jit), batch_size, num_workers, stop=stop, bar=bar)


def upright(recordings: Sequence[Recording], layout: Layout) -> int:
    """The upward axis of recordings.

    Raises:
        UserError: it points down.
    """
    axis = upward_axis(recordings[:: max(1, len(recordings) // 200)], layout)
    if axis < 0:
        raise UserError(f"heads are below feet along axis {AXES[-1 - axis]}; turn the recordings.")
    return axis


def aligned_clips(
    recordings: Sequence[Recording], layout: Layout, up: int, metres: float
) -> np.ndarray:
    """(n, T, V, 3) joints in metres of the whole recordings.

    The root begins at the origin, and the person faces ahead in the first frame.
    """
    order = list(UPWARD[AXES[up]])
    root = root_weights(layout, "task=fidelity")
    made = []
    for one in recordings:
        poses = poses_of(one)
        poses = poses.at(even_times(poses.visible.shape[1], CLIP_LEN))
        joints = poses.keypoints[:1, ..., order]
        made.append(joints_of(motion(joints, poses.visible[:1], layout, root).features))
    return np.concatenate(made) * np.float32(metres)


def measures_of_groups(
    groups: Mapping[str, Sequence[Group]], seed: int
) -> dict[str, list[dict[str, float]]]:
    """The measures of the members of `groups`, among them `train` and `unseen` with one each."""
    (train,), (unseen,) = groups["train"], groups["unseen"]
    rng = np.random.default_rng(seed)
    splits = [generation.halves(len(train.components), rng) for _ in range(NUM_HALVES)]
    parts = [(train.components[one], train.components[other]) for one, other in splits]
    chosen = rng.permutation(len(train.clips))[:MAX_SELF]
    own = np.array(
        [
            generation.nearest_distances(train.clips[k : k + 1], np.delete(train.clips, k, 0))[0]
            for k in chosen.tolist()
        ]
    )
    first = own_measures(train, own, rng) | {
        "fid_train": float(np.mean([generation.frechet_distance(*pair) for pair in parts])),
        "kid_train": float(np.mean([generation.kernel_distance(*pair) for pair in parts])),
    }
    found = {"train": [first], "unseen": [against(unseen, {"train": train}, rng)]}
    both = {"train": train, "unseen": unseen}
    for name, members in groups.items():
        if name not in both:
            found[name] = [against(one, both, rng) for one in members]
    return found


def against(
    group: Group, others: Mapping[str, Group], rng: np.random.Generator
) -> dict[str, float]:
    """The measures of a group, and its distances from other groups."""
    nearest = generation.nearest_distances(group.clips, others["train"].clips)
    found = own_measures(group, nearest, rng)
    for name, other in others.items():
        pair = group.components, other.components
        found[f"fid_{name}"] = generation.frechet_distance(*pair)
        found[f"kid_{name}"] = generation.kernel_distance(*pair)
    return found


def own_measures(group: Group, nearest: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Accuracy and copies in percent, the median distance to the nearest clip, and spreads."""
    return {
        "top1": 100 * float((group.predicted == group.labels).mean()),
        "diversity": generation.diversity(group.components, rng),
        "multimodality": generation.multimodality(group.components, group.labels, rng),
        "nearest_mm": 1000 * float(np.median(nearest)),
        "copies": 100 * float((nearest < generation.COPY).mean()),
    }


def physical(
    group: Group, layout: Layout, up: int, metres: float, frame_rate: float
) -> dict[str, float]:
    """The means over the recordings of the bones' variation in percent and the feet's speed.

    Missing joints are interpolated over time.
    """
    pairs, root = layout.bones, root_weights(layout, "task=fidelity")
    feet = np.array([j for j, name in enumerate(layout.joints) if any(f in name for f in FEET)])
    variations, speeds = [], []
    for one in group.recordings:
        poses = poses_of(one)
        there = poses.visible[0].any(0)
        joints = filled_joints(poses.keypoints[:1], poses.visible[:1], root)[0] * metres
        if (seen := pairs[there[pairs].all(1)]).size:
            variations.append(100 * generation.bone_variation(joints, seen))
        if (low := feet[there[feet]]).size:
            speeds.append(generation.foot_speed(joints, low, up, frame_rate))
    there = [speed for speed in speeds if np.isfinite(speed)]
    return {
        "bone_variation": float(np.mean(variations)) if variations else float("nan"),
        "foot_speed": float(np.mean(there)) if there else float("nan"),
    }


MEASURES = {  # name: title and number of digits
    "top1": ("recognised, %", 1),
    "fid_train": ("FID to train", 2),
    "kid_train": ("KID to train", 3),
    "fid_unseen": ("FID to unseen", 2),
    "kid_unseen": ("KID to unseen", 3),
    "diversity": ("diversity", 2),
    "multimodality": ("multimodality", 2),
    "nearest_mm": ("nearest training clip, mm", 1),
    "copies": ("copies under 20 mm, %", 1),
    "bone_variation": ("bone lengths' variation, %", 2),
    "foot_speed": ("feet near the floor, m/s", 3),
}
Summary = dict[str, dict[str, tuple[float, float]]]  # group -> measure -> mean, half the interval


def summary(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> Summary:
    """The mean of each measure, and half of its 95 % interval over the files (NaN for one)."""
    from scipy.stats import t

    found: Summary = {}
    for group, members in rows.items():
        found[group] = {}
        for name in members[0]:
            values = np.array([one[name] for one in members])
            count = len(values)
            half = float("nan")
            if count > 1:
                half = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
            found[group][name] = float(values.mean()), half
    return found


def metric_values(table: Summary) -> dict[str, float]:
    """`<group>/<measure>` of each finite mean."""
    return {
        f"{group}/{name}": mean
        for group, own in table.items()
        for name, (mean, _) in own.items()
        if np.isfinite(mean)
    }


def measures(table: Summary, split: str, num_files: int) -> Section:
    """The table of measures, a row each."""
    several = f"; mean of {num_files} files and its 95 % interval" if num_files > 1 else ""
    titles = {
        "train": "train (real)",
        "unseen": f"{split} (real, unseen)",
        "generated": f"generated{several}",
        "mean": "mean of each class",
        "noisy": f"train + {1000 * NOISE:.0f} mm noise",
    }
    titles = {group: title for group, title in titles.items() if group in table}
    rows = []
    for name, (title, digits) in MEASURES.items():
        cells = []
        for group in titles:
            mean, half = table[group].get(name, (float("nan"), float("nan")))
            text = f"{mean:.{digits}f}" if np.isfinite(mean) else ""
            cells.append(f"{text} ± {half:.{digits}f}" if np.isfinite(half) and text else text)
        rows.append([title, *cells])
    return Section(
        "Measures",
        [
            Table(
                ["", *titles.values()],
                rows,
                "FID and KID of train are those of its random halves.",
            ),
            Text(
                "The real columns are the bounds: a generator that is as good as real recordings "
                f"has the distances of {split}. Nearest clips of train are among its other "
                "clips. Bones: standard deviation of the length over time, relative to the mean."
            ),
            *([Text("The last columns need no network.")] if "mean" in table else []),
        ],
    )


def side_by_side(
    real: Group, generated: Group, classes: Sequence[str], layout: Layout, up: int
) -> Section:
    """For each generated class, a real recording and some generated ones, moving."""
    known = by_label(real.recordings)
    section = Section("Side by side", [])
    for label, members in sorted(by_label(generated.recordings).items()):
        shown = [*known.get(label, [])[:1], *members[:NUM_SHOWN]]
        captions = [
            f"{'generated' if one.generated else 'real'}: {one.name}\n{classes[label]}"
            for one in shown
        ]
        section.blocks.append(animations(shown, captions, layout, up))
    return section
