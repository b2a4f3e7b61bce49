"""`task=benchmark` as a user runs it, on a tiny network."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from cli import refused, succeeded

from flag3d_exp.errors import UserError
from flag3d_exp.tasks.benchmark import Benchmark

TINY = (
    "task=benchmark",
    "model.base_channels=4",
    "model.num_blocks=1",
    "model.widen_at=[]",
    "dataset.clip_len=8",
    "task.batch_size=2",
    "task.rounds=2",
    "task.warmup=1",
    "device=cpu",
    "tracking.uri=sqlite:///b.db",
    "hydra.run.dir=run",
)


@pytest.mark.slow
def test_a_benchmark_leaves_its_figures(tmp_path: Path):
    printed = succeeded(tmp_path, *TINY, "task.against=naive", "task.profile=true",
                        "task.estimate=true")  # fmt: skip
    result = json.loads((tmp_path / "run/benchmark.json").read_text())
    (found,) = result["models"]
    assert found["clip"] == [1, 8, 25, 3]
    for kind in ("ours", "naive"):
        assert found["contenders"][kind]["train"]["median_seconds"] > 0
        assert found["contenders"][kind]["peak_memory_bytes"] > 50_000_000
    assert len(found["contenders"]["ours"]["infer"]["seconds"]) == 2
    assert found["one_clip_bytes"] <= found["contenders"]["ours"]["peak_memory_bytes"]
    assert found["estimate"]["training_operations"] == 6 * found["multiply_adds"] > 0
    assert found["data"]["clips_per_second"] > 0
    assert 0 <= found["data"]["waiting_share"] <= 1
    assert found["profile"]["ideal_ms"] > 0
    assert found["product_rate"] > 1e8
    assert result["machine"] in printed and "GFLOP/s" in result["machine"]
    assert result["processor"]["num_cores"] >= 1
    assert (tmp_path / "run/benchmark.md").read_text() in printed
    assert (tmp_path / "b.db").exists()


@pytest.mark.slow
def test_compiled_kernels_are_timed_against_products(tmp_path: Path):
    printed = succeeded(tmp_path, *TINY, "task.against=products", "task.data=false",
                        "device.jit=false")  # fmt: skip
    assert "train / products | infer / products" in printed
    (found,) = json.loads((tmp_path / "run/benchmark.json").read_text())["models"]
    assert found["contenders"].keys() == {"ours", "products"}


@pytest.mark.slow
def test_pytorch_is_timed_or_said_to_be_missing(tmp_path: Path):
    printed = succeeded(tmp_path, *TINY, "task.against=torch", "task.data=false",
                        "device.jit=false", "device.tf32=true")  # fmt: skip
    if find_spec("torch") is None:
        assert printed.count("PyTorch is not installed") == 1
    else:
        assert "train / torch " in printed and "train / torch_tf32 " in printed


def test_a_count_below_one_is_refused(tmp_path: Path):
    assert "`task.rounds` must be at least 1" in refused(
        tmp_path, "task=benchmark", "task.rounds=0"
    )


def test_a_line_through_two_batches_needs_two():
    with pytest.raises(UserError, match="`task.estimate=true` needs `task.batch_size`"):
        Benchmark(estimate=True, batch_size=1)
