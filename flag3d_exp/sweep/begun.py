"""The description of a sweep at its begin: fixed settings, space, objectives and data."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from flag3d_exp.data import source
from flag3d_exp.runs.begun import settings
from flag3d_exp.sweep.space import spelled_value

VARIED = "what varies"
DATA_GROUPS = ("dataset", "experiment")  # choices of these groups may name another data file


def description(
    config: DictConfig,
    fixed: Sequence[str],
    varied: Mapping[str, Sequence[Any] | str],
    **sweeper: Any,
) -> dict[str, Any]:
    """The settings that a sweep's results depend on, to be compared by `runs.begun.check_same`.

    Args:
        config: composed without the keys that vary.
        fixed: override lines of every run.
        varied: key -> its values, or the distribution that they are drawn from.
        sweeper: settings of the sweeper, by name.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    plain.pop("hydra", None)
    found = settings({str(k): v for k, v in plain.items()}, data_digest(config, fixed, varied))
    for key, values in varied.items():
        listed = f"choice({', '.join(map(spelled_value, values))})"
        found[key] = values if isinstance(values, str) else listed
    found |= {f"hydra.sweeper.{name}": value for name, value in sweeper.items()}
    return found | {VARIED: ", ".join(sorted(varied))}


def data_digest(
    config: DictConfig, fixed: Sequence[str], varied: Mapping[str, Sequence[Any] | str]
) -> str | list[str | None] | None:
    """The digest of the data file of all runs; a list if the varied keys name several files."""
    configs = [config]
    for key in DATA_GROUPS:
        if key in varied:
            name = str(config.hydra.job.config_name)
            configs = [compose(name, [*fixed, f"{key}={value}"]) for value in varied[key]]
    files = [(OmegaConf.select(one, "dataset.path"), one.dataset.cache) for one in configs]
    if "dataset.path" in varied:
        files = [(path, config.dataset.cache) for path in varied["dataset.path"]]
    digests = [source.digest(str(path), cache) if path else None for path, cache in files]
    return digests if len(digests) > 1 else digests[0]
