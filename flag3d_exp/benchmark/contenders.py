"""Processes that hold one network each, ready to run one step at a time on demand.

Each contender has its own process, because PyTorch and MindSpore in one process would share
threads, memory and environment variables. Contenders take turns, so that changes of the machine's
speed affect all of them equally.
"""

import json
import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flag3d_exp.errors import UserError

log = logging.getLogger(__name__)
NETWORKS = (
    Path(__file__).resolve().parents[2] / "benchmarks"
)  # exists in a checkout, not in the wheel
PHASES = ("train", "infer")
TORCH_KINDS = ("torch", "torch_tf32")  # in float32, and with the counterpart of `device.tf32`


class Contender:
    """One worker process; `facts` is its message when it was ready.

    Args:
        kind: ours, products, naive or one of `TORCH_KINDS`.
    """

    def __init__(self, kind: str, folder: Path, warmup: int):
        command = [sys.executable, "-m", "flag3d_exp.benchmark.worker", kind, str(folder)]
        path = os.pathsep.join(filter(None, [str(NETWORKS), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"GLOG_v": "3", "PYTHONPATH": path}
        self.kind, self.log = kind, folder / f"{kind}.log"
        with open(self.log, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                [*command, str(warmup)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        self.facts = self.answer()

    def ask(self, request: str) -> Any:
        """The worker's answer to `train`, `infer`, `data`, `product`, `profile` or `memory`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{request}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the end of its output is read below
        return self.answer()

    def answer(self) -> Any:
        """The next answer.

        Raises:
            UserError: the worker ended without an answer.
        """
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                answer = json.loads(line)
                if "error" in answer:
                    raise UserError(answer["error"])
                return answer["answer"]
        self.process.wait()
        said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = said[-1] if said else f"exit status {self.process.returncode}"
        raise UserError(f"the benchmark of `{self.kind}` ended early: {last} (see {self.log}).")

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def start(kind: str, folder: Path, warmup: int) -> Contender | None:
    """Start a contender and wait until it is ready; return None, and log why, if it can't run."""
    if kind in (*TORCH_KINDS, "naive") and not NETWORKS.is_dir():
        log.warning(
            f"`task.against={kind}`: the networks to compare with are in benchmarks/ of a checkout "
            "of the project, not in the installed package."
        )
        return None
    if kind in TORCH_KINDS and find_spec("torch") is None:
        log.warning(
            '`task.against=torch`: PyTorch is not installed; `pip install "flag3d-exp[benchmark]"` '
            "brings it (its CPU build is enough)."
        )
        return None
    return Contender(kind, folder, warmup)


def in_turns(
    contenders: dict[str, Contender], rounds: dict[str, int]
) -> dict[str, dict[str, list[float]]]:
    """Seconds of each contender's training steps and inferences; the order alternates by round."""
    times: dict[str, dict[str, list[float]]] = {
        kind: {phase: [] for phase in PHASES} for kind in contenders
    }
    for phase in PHASES:
        for number in range(max(rounds.values())):
            order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
            for kind in order:
                if number < rounds[kind]:
                    times[kind][phase].append(contenders[kind].ask(phase))
    return times
