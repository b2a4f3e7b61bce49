"""`task=benchmark`: speed and memory on this machine, compared with the network in PyTorch."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf

from flag3d_exp import bounds, console, files
from flag3d_exp.benchmark import figures
from flag3d_exp.benchmark.contenders import Contender, in_turns, start
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.devices.device import description
from flag3d_exp.devices.processor import processor
from flag3d_exp.errors import UserError
from flag3d_exp.runs import record

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Benchmark:
    """Settings of `task=benchmark`.

    Args:
        against: the same network to compare with: in PyTorch, with matrix products as on a CPU
            without compiled kernels, in MindSpore's own layers, or in PyTorch and these (`both`).
            With `device.tf32=true`, PyTorch is timed twice: in float32, and with its counterpart of
            this setting.
        models: choices of `model` to measure one after the other; None for the chosen model.
        batch_size: clips per training step and per inference.
        rounds: turns of each contender for each kind of step; a turn lasts a second or one step.
        warmup: untimed training steps before the first turn, in addition to compilation; inference
            has three times as many.
        naive_rounds: turns of the naive formulation, whose steps may take minutes.
        data: also measure the data pipeline.
        num_workers: threads that prepare clips.
        estimate: also measure the memory of one clip; estimate from it which batches fit into which
            memory, and from the operations of a clip the training time at a device's rate.
        profile: also list the operators that take a training step's time.
    """

    against: Literal["torch", "products", "naive", "both"] | None = None
    models: list[str] | None = None
    batch_size: Annotated[int, ">= 1, <= 65536"] = 16
    rounds: Annotated[int, ">= 1"] = 7
    warmup: Annotated[int, ">= 1"] = 2
    naive_rounds: Annotated[int, ">= 1"] = 1
    data: bool = True
    num_workers: Annotated[int, ">= 1"] = 1
    estimate: bool = False
    profile: bool = False

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        if self.estimate and self.batch_size < 2:
            raise UserError("`task.estimate=true` needs `task.batch_size` to be at least 2.")

    def __call__(self, experiment: Experiment) -> None:
        """Measure, print the table, write the figures to `benchmark.json` and MLflow."""
        if self.against in ("torch", "both") and not experiment.problem().classifies:
            raise UserError(
                f"`task.against={self.against}`: the networks in PyTorch classify; got "
                f"`problem={experiment.choices['problem']}`."
            )
        folder = experiment.folder
        names = self.models or [experiment.choices["model"]]
        measured = []
        chosen = {
            name: experiment if self.models is None else experiment.with_model(name)
            for name in names
        }
        for name in names:
            found = self.model_figures(name, chosen[name], folder / name)
            measured.append(found)
            for line in figures.lines(found):
                log.info(line)
        device = measured[0]["device"]
        where, here = description(device, experiment.config.device.tf32), processor()
        machine = figures.machine(where, here, measured[0]["product_rate"])
        log.info(machine)
        result = {"machine": machine, "processor": asdict(here), "models": measured}
        files.write_json(folder / "benchmark.json", result)
        text = f"{figures.table(measured)}\n{machine}\n"
        files.write_text(folder / "benchmark.md", text)
        with experiment.track(device) as tracker:
            tracker.log_report(record.final_report(figures.metrics(measured)))
            tracker.log_artifact(folder / "benchmark.json")
            tracker.log_artifact(folder / "benchmark.md")
        console.show(text)

    def model_figures(self, name: str, experiment: Experiment, folder: Path) -> dict[str, Any]:
        """All figures of one model; its contenders share files in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        text = OmegaConf.to_yaml(experiment.config, resolve=True)
        files.write_text(folder / "config.yaml", text)
        wanted = ["torch", "naive"] if self.against == "both" else [self.against]
        if experiment.config.device.tf32 and "torch" in wanted:
            wanted.insert(1, "torch_tf32")
        contenders: dict[str, Contender] = {}
        try:
            contenders["ours"] = Contender("ours", folder, self.warmup)
            for kind in wanted:
                if kind == "torch_tf32" and "torch" not in contenders:
                    continue  # what PyTorch lacks is logged already
                warmup = 0 if kind == "naive" else self.warmup
                if kind is not None and (contender := start(kind, folder, warmup)):
                    contenders[kind] = contender
            rounds = {k: self.naive_rounds if k == "naive" else self.rounds for k in contenders}
            times = in_turns(contenders, rounds)
            found = {
                "model": name,
                "class": experiment.model_name,
                "batch_size": self.batch_size,
                **contenders["ours"].facts,
                "product_rate": contenders["ours"].ask("product"),
                **({"data": contenders["ours"].ask("data")} if self.data else {}),
                **({"profile": contenders["ours"].ask("profile")} if self.profile else {}),
            }
            found["contenders"] = {
                kind: figures.of_contender(contender, times[kind], self.batch_size)
                for kind, contender in contenders.items()
            }
            if self.estimate:
                found["estimate"] = figures.estimate(found)
        finally:
            for contender in contenders.values():
                contender.stop()
        return found
