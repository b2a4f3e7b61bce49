"""Figures from the times of steps: medians with their spread, rates, ratios, tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flag3d_exp.benchmark.contenders import PHASES, TORCH_KINDS, Contender
from flag3d_exp.devices.processor import Processor

Figures = dict[str, Any]
MEMORIES = (8, 16, 24, 32, 64, 80)  # GB of the devices for which batch sizes are estimated
SIDE = 2048  # of the square matrices whose product gives the peak rate
RATE, THOUSAND_CLIPS = 10e12, 1000  # operations per second of the device for the estimate of time


def of_contender(contender: Contender, times: dict[str, list[float]], batch_size: int) -> Figures:
    """Median and spread of each phase, clips per second, compile times and peak memory."""
    found: Figures = {"peak_memory_bytes": contender.ask("memory")}
    for phase in PHASES:
        found[phase] = summary(times[phase])
        median = found[phase]["median_seconds"]
        found[phase] |= {
            "compile_seconds": max(contender.facts[f"first_{phase}_seconds"] - median, 0.0),
            "clips_per_second": batch_size / median,
        }
    return found


def summary(times: Sequence[float]) -> Figures:
    """Median, quartiles and extremes of times in seconds, and the times themselves."""
    least, low, median, high, most = np.quantile(times, (0, 0.25, 0.5, 0.75, 1)).tolist()
    return {
        "median_seconds": median,
        "quartiles_seconds": [low, high],
        "range_seconds": [least, most],
        "seconds": list(times),
    }


def ratio(found: Figures, kind: str, phase: str) -> float | None:
    """The ratio of our time to the time of `kind`; the median over rounds.

    Rounds that both have are compared one by one, because the machine's speed may drift.
    """
    contenders = found["contenders"]
    if kind not in contenders:
        return None
    ours, theirs = (contenders[k][phase]["seconds"] for k in ("ours", kind))
    return float(np.median([a / b for a, b in zip(ours, theirs, strict=False)]))


def estimate(found: Figures) -> Figures:
    """Memory as a linear function of the clips, from one clip and the batch; operations per clip.

    The fixed part holds the program, the weights and the compiled graphs.
    """
    one, whole = found["one_clip_bytes"], found["contenders"]["ours"]["peak_memory_bytes"]
    per_clip = (whole - one) / (found["batch_size"] - 1)
    fixed = max(one - per_clip, 0.0)
    work = found["multiply_adds"]
    return {
        "fixed_bytes": fixed,
        "clip_bytes": per_clip,
        "clips_in_gb": {
            str(size): max(0, int((1e9 * size - fixed) / per_clip)) if per_clip > 0 else None
            for size in MEMORIES
        },
        # A backward pass has two products for each product of the forward pass.
        "training_operations": None if work is None else 2 * 3 * work,
    }


def estimate_lines(found: Figures) -> list[str]:
    """The results of `estimate` as lines of text, with the measurements behind them."""
    said = found["estimate"]
    fits = ", ".join(f"{n} in {size} GB" for size, n in said["clips_in_gb"].items())
    lines = [
        f"  memory measured with 1 and {found['batch_size']} clips: {said['clip_bytes'] / 1e9:.2f} "
        f"GB a clip on {said['fixed_bytes'] / 1e9:.1f} GB",
        f"  estimated from that: batches of {fits}; other devices use memory differently",
    ]
    operations = said["training_operations"]
    if operations is not None:
        seconds = THOUSAND_CLIPS * operations / RATE
        lines.append(
            f"  a clip's training step is {operations / 1e9:.1f} GFLOP of matrix products; "
            f"estimated from that: {seconds:.1f} s for 1,000 clips where a device sustains "
            "10 TFLOP/s"
        )
    return lines


def metrics(measured: Sequence[Figures]) -> dict[str, float]:
    """The metrics for MLflow: `<model>/<contender>/<figure>`, and ratios."""
    found: dict[str, float] = {}
    for one in measured:
        for kind, figures in one["contenders"].items():
            prefix = f"{one['model']}/{kind}"
            found[f"{prefix}/peak_memory_gb"] = figures["peak_memory_bytes"] / 1e9
            for phase in PHASES:
                found[f"{prefix}/{phase}_ms"] = 1e3 * figures[phase]["median_seconds"]
                found[f"{prefix}/{phase}_clips_per_second"] = figures[phase]["clips_per_second"]
                found[f"{prefix}/{phase}_compile_seconds"] = figures[phase]["compile_seconds"]
                if kind != "ours" and (times := ratio(one, kind, phase)) is not None:
                    found[f"{one['model']}/ours_to_{kind}_{phase}"] = times
        for name, value in one.get("data", {}).items():
            found[f"{one['model']}/data_{name}"] = value
    return found


def lines(found: Figures) -> list[str]:
    """The lines about a model on the terminal, in addition to the table."""
    clip = " x ".join(str(size) for size in found["clip"])
    said = [
        f"{found['class']}: {found['num_parameters']:,} parameters, "
        f"{found['batch_size']} clips of {clip}"
    ]
    for kind, figures in found["contenders"].items():
        for phase in PHASES:
            one = figures[phase]
            low, high = one["quartiles_seconds"]
            rate = rounded_text(one["clips_per_second"], 1)
            said.append(
                f"  {kind:10} {phase:5} {1e3 * one['median_seconds']:8.1f} ms "
                f"({1e3 * low:.1f} to {1e3 * high:.1f})  {rate:>8} clips/s  "
                f"compiled in {one['compile_seconds']:.1f} s"
            )
    if "data" in found:
        data = found["data"]
        said.append(
            f"  data pipeline {data['clips_per_second']:.0f} clips/s; training waits for it "
            f"{100 * data['waiting_share']:.1f} % of the time"
        )
    if "estimate" in found:
        said += estimate_lines(found)
    if "profile" in found:
        profile = found["profile"]
        ideal = profile["ideal_ms"]
        products = "an unknown time" if ideal is None else f"{ideal:.0f} ms"
        said.append(
            f"  a training step's matrix products would take {products} at the measured peak of "
            f"{profile['peak_gflops']:.0f} GFLOP/s; its operators take "
            f"{profile['total_ms']:.0f} ms:"
        )
        for name, count, milliseconds in profile["operators"][:12]:
            share = 100 * milliseconds / profile["total_ms"]
            said.append(f"    {name:16} {count:5} calls {milliseconds:9.1f} ms {share:5.1f} %")
    return said


def machine(device: str, processor: Processor, product_rate: float) -> str:
    """One line about the machine, so that figures of two machines can be compared.

    Args:
        product_rate: floating-point operations per second of a large matrix product.
    """
    return (
        f"measured on {device}: {processor}; a product of two {SIDE} x {SIDE} matrices runs at "
        f"{product_rate / 1e9:.0f} GFLOP/s"
    )


def table(measured: Sequence[Figures]) -> str:
    """A Markdown table with one line per model, and ratios to the timed contenders."""
    kinds = (*TORCH_KINDS, "products", "naive")
    others = [k for k in kinds if any(k in one["contenders"] for one in measured)]
    header = ["model", "batch", "train ms", "infer ms", "train clips/s", "compile s", "peak GB"]
    for kind in others:
        header += [f"{kind} train ms", f"{kind} infer ms", f"train / {kind}", f"infer / {kind}"]
    rows = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for one in measured:
        ours = one["contenders"]["ours"]
        row = [one["model"], str(one["batch_size"])]
        row += [f"{1e3 * ours[phase]['median_seconds']:.0f}" for phase in PHASES]
        row += [
            rounded_text(ours["train"]["clips_per_second"], 1),
            f"{ours['train']['compile_seconds']:.1f}",
            f"{ours['peak_memory_bytes'] / 1e9:.1f}",
        ]
        for kind in others:
            theirs = one["contenders"].get(kind)
            if theirs is None:
                row += ["", "", "", ""]
                continue
            row += [f"{1e3 * theirs[phase]['median_seconds']:.0f}" for phase in PHASES]
            ratios = [ratio(one, kind, phase) for phase in PHASES]
            row += [rounded_text(times, 2) for times in ratios if times is not None]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def rounded_text(value: float, places: int) -> str:
    """The value with `places` decimal places, or with two digits if these would show fewer."""
    return f"{value:.{places}f}" if value >= 10 ** (1 - places) else f"{value:.2g}"
