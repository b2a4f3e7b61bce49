"""The results of a study in its folder: optimization_results.yaml and the plots."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState

from flag3d_exp import files
from flag3d_exp.config.command_line import assignment, shell_command
from flag3d_exp.sweep.space import spelled_value
from flag3d_exp.sweep.trial_records import (
    DROPPED,
    ERROR,
    FOLDER,
    RETRY_OF,
    TrialRecords,
    counted_trials,
)

log = logging.getLogger(__name__)

FILE = "optimization_results.yaml"


def publish(
    records: TrialRecords,
    folder: Path,
    metrics: Sequence[str],
    fixed: Sequence[str],
    plots: bool,
    flags: Sequence[str] = (),
) -> list[str]:
    """Write the results and, if wanted, the plots; return the results as lines of text.

    Args:
        flags: flags of the command line that name the folders of choices.
    """
    trials = records.trials()
    found = results(records, trials, metrics, fixed)
    files.write_text(folder / FILE, yaml.safe_dump(found, sort_keys=False))
    if plots:
        draw_plots(records, folder / "plots", list(metrics))
    lines = [f"{counts_line(trials)}; results in {folder / FILE}"]
    if "best_params" in found:
        lines += [
            f"best: trial {found['best_trial']}, {metrics[0]} {found['best_value']:.6g} with "
            + " ".join(
                f"{key}={spelled_value(value)}" for key, value in found["best_params"].items()
            ),
            "train the best configuration in full: "
            + shell_command(["task=best", assignment("task.study", str(folder))], flags),
        ]
    return lines


def results(
    records: TrialRecords, trials: list[FrozenTrial], metrics: Sequence[str], fixed: Sequence[str]
) -> dict[str, Any]:
    """The results of the study as plain values."""
    found: dict[str, Any] = {
        "study": records.study.study_name,
        "objectives": list(metrics),
        "trials": dict(state_counts(trials)),
        "epochs": num_epochs(trials),
    }
    best = records.study.best_trials
    if len(metrics) == 1 and best:
        first = min(best, key=lambda trial: trial.number)
        found |= {
            "best_value": first.values[0],
            "best_params": first.params,
            "best_trial": first.number,
            "best_folder": first.user_attrs[FOLDER],
        }
    elif best:
        found["pareto_front"] = [
            {
                "trial": trial.number,
                "values": dict(zip(metrics, trial.values, strict=True)),
                "params": trial.params,
                "folder": trial.user_attrs[FOLDER],
            }
            for trial in best
        ]
    found["overrides"] = list(fixed)
    failed = {t.number: t.user_attrs[ERROR] for t in trials if ERROR in t.user_attrs}
    return found | ({"failures": failed} if failed else {})


def state_counts(trials: Sequence[FrozenTrial]) -> Counter[str]:
    """The number of the budget's trials in each state; also those `retried` and `dropped`."""
    kept = counted_trials(trials)
    found = Counter(trial.state.name.lower() for trial in kept)
    found["retried"] = (
        sum(trial.state == TrialState.FAIL and DROPPED not in trial.user_attrs for trial in trials)
        - found["fail"]
    )
    found["dropped"] = sum(DROPPED in trial.user_attrs for trial in trials)
    return +found


def counts_line(trials: Sequence[FrozenTrial]) -> str:
    """`8 complete, 3 pruned, 1 fail`."""
    found = state_counts(trials)
    return ", ".join(f"{count} {state}" for state, count in found.items()) or "no trials"


def num_epochs(trials: Sequence[FrozenTrial]) -> int:
    """The number of reported epochs; reports that a retry inherits are counted once."""
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    return sum(trial.last_step or 0 for trial in trials if trial.number not in retried)


def draw_plots(records: TrialRecords, folder: Path, metrics: list[str]) -> None:
    """Draw the plots that the current trials allow, as PNG files."""
    import matplotlib

    matplotlib.use("Agg")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as plots

    from flag3d_exp.report.lettering import lettering, plain_numbers

    trials = records.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not trials:
        return
    folder.mkdir(exist_ok=True)
    study = records.study
    if len(metrics) > 1:
        drawings: dict[str, Callable[[], Any]] = {
            "pareto_front": lambda: plots.plot_pareto_front(study)
        }
    else:
        drawings = {
            "history": lambda: plots.plot_optimization_history(study),
            "intermediate_values": lambda: plots.plot_intermediate_values(study),
            "parallel_coordinate": lambda: plots.plot_parallel_coordinate(study),
            "slice": lambda: plots.plot_slice(study),
        }
        if len({trial.values[0] for trial in trials}) > 1:
            drawings["importances"] = lambda: plots.plot_param_importances(study)
    for name, draw in drawings.items():
        try:
            with lettering(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # warnings about axes with a single value
                axes = draw()
                figure = (axes if hasattr(axes, "figure") else axes.flat[0]).figure
                for one in figure.axes:
                    plain_numbers(one)
                files.write_figure(folder / f"{name}.png", figure, dpi=120, bbox_inches="tight")
        except (ValueError, RuntimeError) as error:  # too few or too uniform trials for this plot
            log.debug("no plot %s: %s", name, error)
        finally:
            pyplot.close("all")
