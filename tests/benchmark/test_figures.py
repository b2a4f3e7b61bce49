"""Times become medians, ratios of the rounds, and a table."""

import pytest

from flag3d_exp.benchmark.figures import (
    estimate,
    estimate_lines,
    machine,
    metrics,
    of_contender,
    ratio,
    rounded_text,
    summary,
    table,
)
from flag3d_exp.benchmark.profile import by_kind
from flag3d_exp.devices.processor import Processor


class Stopwatch:
    """A contender whose first step of each phase took 2.4 s, and that has 3 GB."""

    facts = {"first_train_seconds": 2.4, "first_infer_seconds": 2.4}

    def ask(self, request):
        return {"memory": 3_000_000_000}[request]


def measured():
    ours = {"train": [0.2, 0.4, 0.6], "infer": [0.1, 0.1, 0.1]}
    torch = {"train": [0.1, 0.2, 0.2], "infer": [0.2, 0.2, 0.2]}
    contenders = {
        kind: of_contender(Stopwatch(), times, 8)
        for kind, times in (("ours", ours), ("torch", torch))
    }
    data = {"clips_per_second": 500.0, "waiting_share": 0.01}
    return {"model": "stgcn", "batch_size": 8, "contenders": contenders, "data": data}


def test_a_summary_is_the_median_with_its_spread():
    found = summary([3.0, 1.0, 2.0, 5.0, 4.0])
    assert found["median_seconds"] == 3.0
    assert found["quartiles_seconds"] == [2.0, 4.0]
    assert found["range_seconds"] == [1.0, 5.0]


def test_rates_are_clips_by_median_time():
    found = measured()["contenders"]["ours"]
    assert found["train"]["clips_per_second"] == pytest.approx(20)
    assert found["peak_memory_bytes"] == 3_000_000_000


def test_compiling_took_what_the_first_step_took_longer_than_the_others():
    ours = measured()["contenders"]["ours"]
    assert ours["train"]["compile_seconds"] == pytest.approx(2.0)
    assert ours["infer"]["compile_seconds"] == pytest.approx(2.3)


def test_a_ratio_is_the_median_over_rounds():
    assert ratio(measured(), "torch", "train") == pytest.approx(2.0)  # of 2, 2 and 3
    assert ratio(measured(), "torch", "infer") == pytest.approx(0.5)
    assert ratio(measured(), "naive", "train") is None


def test_what_is_logged_names_model_contender_and_unit():
    found = metrics([measured()])
    assert found["stgcn/torch/train_ms"] == pytest.approx(200)
    assert found["stgcn/ours_to_torch_train"] == pytest.approx(2)
    assert found["stgcn/data_clips_per_second"] == 500


def test_the_table_has_a_column_for_each_contender_that_was_timed():
    header, _, row = table([measured()]).splitlines()
    assert "train / torch" in header and "naive" not in header
    assert row.startswith("| stgcn | 8 | 400 | 100 | 20.0 | 2.0 | 3.0 | 200 | 200 | 2.00 | 0.50 |")


def test_operators_are_grouped_by_kind_their_times_medians():
    text = (
        "Default/MatMul-op1;HostCpuOps;17,1.0,0 18,9.0,0 19,2.0,0\n"
        "Gradients/Default/MatMul-op2;HostCpuOps;17,4.0,0\n"
        "Default/Add-op0;HostCpuOps;17,0.5,0\n"
    )
    assert by_kind(text) == [("MatMul", 2, 6.0), ("Add", 1, 0.5)]


def test_a_small_figure_keeps_two_digits():
    given = [(11.64, 1), (0.0331, 1), (1.123, 2), (0.0264, 2), (0.125, 2)]
    assert [rounded_text(*one) for one in given] == ["11.6", "0.033", "1.12", "0.026", "0.12"]


def test_memory_is_estimated_by_a_line_through_two_batches():
    found = measured() | {"one_clip_bytes": 1_600_000_000, "multiply_adds": 5_000_000_000}
    said = estimate(found)  # 3 GB for 8 clips, 1.6 for one: 0.2 a clip on 1.4
    assert said["clip_bytes"] == pytest.approx(0.2e9) and said["fixed_bytes"] == pytest.approx(
        1.4e9
    )
    assert said["clips_in_gb"]["8"] == 33 and said["clips_in_gb"]["64"] == 313
    lines = estimate_lines(found | {"estimate": said})
    assert "0.20 GB a clip on 1.4 GB" in lines[0] and "33 in 8 GB" in lines[1]
    assert "30.0 GFLOP" in lines[2] and "3.0 s for 1,000 clips" in lines[2]
    unknown = estimate(found | {"multiply_adds": None})
    assert len(estimate_lines(found | {"estimate": unknown})) == 2


def test_the_machine_is_one_line_with_its_processor_and_the_peak_of_a_product():
    line = machine("CPU", Processor("EPYC", 2, ("avx2", "avx512f")), 123.4e9)
    assert line == (
        "measured on CPU: EPYC, 2 cores, avx2, avx512f; a product of two 2048 x 2048 matrices runs "
        "at 123 GFLOP/s"
    )
