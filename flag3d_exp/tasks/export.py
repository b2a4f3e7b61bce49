"""`task=export`: export a checkpoint as a verified ONNX or MindIR file that MLflow can serve."""

import logging
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mindspore import nn
from omegaconf import OmegaConf

from flag3d_exp import console, files
from flag3d_exp.config.experiment import Experiment, class_name
from flag3d_exp.config.restore import is_scored, restored_model
from flag3d_exp.config.written_classes import with_classes
from flag3d_exp.credentials import without_user
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.request import request_fields
from flag3d_exp.data.source import Dataset
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.export.file import import_needed, open_file, write_file
from flag3d_exp.export.mindir import compiled_network, graph_of
from flag3d_exp.export.model_store import log_model
from flag3d_exp.models.folding import FoldedCopy
from flag3d_exp.models.kernels import cpu, native, using
from flag3d_exp.runs import record
from flag3d_exp.runs.provenance import provenance
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.run_folder import save_metrics
from flag3d_exp.skeletons.layout import load_layout

log = logging.getLogger(__name__)
PORT = 5001
NUM_RECORDINGS = 4  # recordings whose logits are compared
TOLERANCE = 1e-4
ROUNDING = 2e-6  # relative to the largest logit; the precision of float32


@dataclass(frozen=True)
class Export:
    """Settings of `task=export`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best checkpoint) or an MLflow run id.
        format: of the written file, `model.onnx` or `model.mindir`.
        optimised_for: the device that a MindIR file is for: `cpu` for this project's layers for
            CPUs, None for layers of MindSpore's own, which other devices compute faster.
        weights: the trained weights, or their moving average if the run kept one.
        classes: a text file of classes that the exported network chooses among, for a network that
            was trained with `problem=align`; None: the checkpoint's classes.
        register: name of the registered model in MLflow that gets a new version; `auto`: the
            choices of model, dataset and stream; None: log the model without registering it.
    """

    checkpoint: str
    format: Literal["mindir", "onnx"] = "onnx"
    optimised_for: Literal["cpu"] | None = None
    weights: Literal["raw", "ema"] = "raw"
    classes: str | None = None
    register: str | None = "auto"

    def __call__(self, experiment: Experiment) -> None:
        """Export, compare, write, log; print the command that serves the model."""
        if self.format == "onnx":
            if self.optimised_for is not None:
                raise UserError(
                    f"`task.optimised_for={self.optimised_for}` is for `task.format=mindir`; ONNX "
                    "files are optimised by the program that runs them."
                )
            import_needed("onnx")
            import_needed("onnxruntime")
        folder = experiment.folder
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        experiment.classification("export")
        classes = experiment.classes
        if self.classes is not None:
            experiment, classes = with_classes(experiment, self.classes)
        _, device_name = experiment.device()
        data = trial_data(experiment)
        model = restored_model(experiment, checkpoint, [data], self.weights)
        clips = np.concatenate([data.clips(index) for index in range(len(data))])
        expected = Predictor(model, jit=False)(clips)
        exported = self._network(experiment, model)
        facts = facts_of(experiment, classes) | {"checkpoint": files.sha256(path)}
        facts["scored"] = is_scored(checkpoint)
        target = folder / f"model.{self.format}"
        with experiment.track(device_name) as tracker:
            begin = time.perf_counter()
            difference = write_verified(target, exported, facts, clips, expected)
            metrics = {
                "export/difference": difference,
                "export/megabytes": target.stat().st_size / 1e6,
                "export/seconds": time.perf_counter() - begin,
            }
            tracker.log_report(record.final_report(metrics))
            tracker.log_artifact(save_metrics(folder, metrics))
            log.info(
                "%s, %.1f MB, in %.1f s: logits of %d clips within %.1g of the checkpoint's, "
                "which reach %.3g",
                target.name,
                metrics["export/megabytes"],
                metrics["export/seconds"],
                len(clips),
                difference,
                abs(expected).max(),
            )
            example = request_fields(data.recordings[0])
            files.write_json(folder / "request.json", {"inputs": [example]})
            tracking_uri = experiment.tracking_uri
            if tracker.run_id is not None and tracking_uri is not None:
                name = self.register
                if name == "auto":
                    name = registered_name(experiment, self.classes)
                uri = log_model(tracking_uri, tracker.run_id, target, name, example)
                for line in serving_lines(tracking_uri, uri, folder / "request.json"):
                    log.info(line)
        console.say(f"exported: {target}")

    def _network(self, experiment: Experiment, trained: nn.Cell) -> nn.Cell:
        """The trained network, of the layers that the file is to hold."""
        with using(cpu if self.optimised_for == "cpu" else native):
            network = experiment.model()
            assign_parameters(network.get_parameters(), parameter_values(trained.get_parameters()))
            if self.optimised_for is None:
                return network
            folded = FoldedCopy(network)
            folded.take_weights()
            return folded.network


def registered_name(experiment: Experiment, texts: str | None = None) -> str:
    """The name of a registered model: the choices of model, dataset and stream.

    Args:
        texts: the text file of other classes than the dataset's, which ends the name.
    """
    choices = experiment.meta["choices"]
    parts = [choices[group] for group in ("model", "dataset", "stream")]
    return "-".join([*parts, Path(texts).stem] if texts else parts)


def serving_lines(tracking_uri: str, model_uri: str, request: Path) -> list[str]:
    """The commands that serve a model and send it a request."""
    serve = ["mlflow", "models", "serve", "--model-uri", model_uri]
    serve += ["--env-manager", "local", "--port", str(PORT)]
    ask = ["curl", "--header", "Content-Type: application/json"]
    ask += ["--data", f"@{request}", f"http://127.0.0.1:{PORT}/invocations"]
    return [
        f"serve it: MLFLOW_TRACKING_URI={shlex.quote(without_user(tracking_uri))} "
        f"{shlex.join(serve)}",
        f"ask it: {shlex.join(ask)}",
    ]


def write_verified(
    target: Path, model: nn.Cell, facts: dict[str, Any], clips: np.ndarray, expected: np.ndarray
) -> float:
    """Write the network to `target` if it gives the expected logits; return the largest error.

    Args:
        model: made with native kernels, or a folded one for a MindIR file.
        clips: (N, M, T, V, C).
        expected: (N, K) logits.

    Raises:
        UserError: the network cannot be exported or gives other logits; nothing is written.
    """
    network = compiled_network(model, clips.shape[1:])
    content = network.SerializeToString()
    if target.suffix == ".onnx":
        from flag3d_exp.export.onnx_file import onnx_model

        onnx = onnx_model(graph_of(network), clips.shape[1:], expected.shape[1])
        content = onnx.SerializeToString()
    with files.replacing(target) as written:
        write_file(written, content, facts | {"clip_shape": clips.shape[1:]})
        logits = open_file(written).logits
        found = np.concatenate([logits(clips), logits(clips[:1])])  # together, and one alone
        difference = float(abs(found - np.concatenate([expected, expected[:1]])).max())
        limit = max(TOLERANCE, ROUNDING * float(abs(expected).max()))
        if not difference <= limit:
            raise UserError(
                f"`task.format={target.suffix[1:]}`: the exported network's logits are off by "
                f"{difference:.3g}, more than {limit:.3g}; nothing is written."
            )
    return difference


def facts_of(experiment: Experiment, classes: list[str]) -> dict[str, Any]:
    """The facts about the network in the file, for `serving` and for other programs.

    Args:
        classes: names of the network's classes.
    """
    cfg = experiment.config
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    settings = {
        group: {key: value for key, value in plain[group].items() if key != "_target_"}
        for group in ("dataset", "pipeline", "stream")
    }
    layout = load_layout(cfg.dataset.layout)
    file = Path(cfg.dataset.layout).expanduser()
    return {
        "network": experiment.model_name,
        "classes": classes,
        "layout": {
            "name": layout.name,
            "joints": layout.joints,
            "file": file.read_text(encoding="utf-8") if file.suffix in (".yaml", ".yml") else None,
        },
        "clip_len": cfg.pipeline.clip_len,
        "num_clips": cfg.pipeline.num_clips * (1 + cfg.pipeline.test_mirrored),
        "stream": settings["stream"],
        "temperature": float(cfg.problem.get("temperature", 1.0)),
        "pipeline": {"class": class_name(cfg.pipeline), "settings": settings["pipeline"]},
        "dataset": settings["dataset"]
        | {"num_classes": len(classes), "classes": classes, "unseen": None}
        | {"path": Path(cfg.dataset.path).name, "recorded_layout": None},
        **{key: value for key, value in provenance().items() if key != "host"},
    }


def trial_data(experiment: Experiment) -> ClipDataset:
    """The first recordings of the run's data as test clips; random ones if it can't be read."""
    pipeline, stream = experiment.build("pipeline"), experiment.build("stream")
    split = next((split for split in experiment.splits if split != "train"), "train")
    try:
        data = experiment.datasets([split])[split]
        return replace(data, recordings=data.recordings[:NUM_RECORDINGS], training=False)
    except UserError as error:
        log.warning("%s The logits are compared on made-up recordings.", error)
        return ClipDataset(made_up(experiment.build("dataset")), pipeline, stream)


def made_up(settings: Dataset) -> list[Recording]:
    """Recordings of random joints in the dataset's layout and coordinates."""
    rng = np.random.default_rng(0)
    shape = (settings.num_persons, 2 * settings.clip_len, load_layout(settings.layout).num_joints)
    image_shape = (480, 640)
    size = (*image_shape[::-1], 1)[: settings.num_coordinates]
    return [
        Recording(
            f"made-up {number}",
            0,
            (rng.random((*shape, settings.num_coordinates)) * size).astype(np.float32),
            rng.random(shape).astype(np.float32),
            image_shape,
        )
        for number in range(NUM_RECORDINGS)
    ]
