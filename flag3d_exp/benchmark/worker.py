"""The process of a contender: `python -m flag3d_exp.benchmark.worker KIND FOLDER WARMUP`.

FOLDER holds config.yaml, a composed configuration. Requests are lines on stdin; answers are lines
of JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from omegaconf import DictConfig, OmegaConf

from flag3d_exp.benchmark.contenders import TORCH_KINDS
from flag3d_exp.benchmark.memory import peak_memory
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.devices.device import set_environment
from flag3d_exp.errors import UserError

TURN_SECONDS = 1.0


def main() -> None:
    """Prepare the contender, then answer until stdin ends."""
    kind, folder, warmup = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    loaded = OmegaConf.load(folder / "config.yaml")
    assert isinstance(loaded, DictConfig)
    # PyTorch's oneDNN reads the same variable; its precision is that of the kind.
    is_torch = kind in TORCH_KINDS
    set_environment(loaded.device.target, tf32=loaded.device.tf32 and not is_torch)
    experiment = Experiment(loaded, folder, {})
    try:
        serve(*requests_and_facts(kind, experiment), warmup)
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)


def requests_and_facts(
    kind: str, experiment: Experiment
) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """The function for each request, and the facts of the contender."""
    if kind in TORCH_KINDS:
        from flag3d_exp.benchmark.of_torch import prepare

        return prepare(experiment.config, experiment.folder, tf32=kind == "torch_tf32")
    from flag3d_exp.benchmark.of_mindspore import prepare as prepare_ours
    from flag3d_exp.models.kernels import cpu, native, using

    table = {"products": cpu, "naive": native}.get(kind)
    with using(table) if table else nullcontext():
        return prepare_ours(experiment, kind)


def serve(answers: dict[str, Callable[[], Any]], facts: dict[str, Any], warmup: int) -> None:
    """Warm up, report the time of each phase's first step, then answer until stdin is closed.

    Inference gets three times as many untimed steps: MindSpore's first ones after compilation are
    slower by up to a third.
    """
    for phase, steps in (("train", warmup), ("infer", 3 * warmup)):
        facts[f"first_{phase}_seconds"] = seconds(answers[phase])
        for _ in range(steps):
            answers[phase]()
    print(json.dumps({"answer": facts}), flush=True)
    for line in sys.stdin:
        request = line.strip()
        if request == "memory" and request not in answers:
            found: Any = peak_memory()
        elif request in ("train", "infer"):
            found = turn(answers[request])
        else:
            found = answers[request]()
        print(json.dumps({"answer": found}), flush=True)


def turn(step: Callable[[], Any]) -> float:
    """The median time of a call over a second of calls.

    In a run, steps also follow each other. The first call of a turn is slower, because the caches
    still hold the data of another process.
    """
    times = [seconds(step)]
    while sum(times) < TURN_SECONDS:
        times.append(seconds(step))
    return median(times)


def seconds(step: Callable[[], Any]) -> float:
    """The wall-clock time of one call."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
