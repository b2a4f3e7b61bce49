"""Run folders made up for tests: predictions of a chosen quality, nothing trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from flag3d_exp.results.metrics import softmax


def made_up_run(
    folder: Path,
    quality: dict[str, float],
    names: Sequence[str],
    labels: np.ndarray,
    num_classes: int,
    seed: int = 0,
    config: dict | None = None,
) -> str:
    """A run folder whose scores favour the label by `quality`, given by split; its path."""
    rng = np.random.default_rng(seed)
    (folder / "predictions").mkdir(parents=True)
    for split, gain in quality.items():
        logits = rng.normal(size=(len(labels), num_classes))
        logits[np.arange(len(labels)), labels] += gain
        np.savez(
            folder / "predictions" / f"{split}.npz",
            names=np.array([f"{split}-{name}" if split != "val" else name for name in names]),
            labels=labels,
            scores=softmax(logits).astype(np.float32),
        )
    if config is not None:
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
        hydra = {
            "runtime": {"cwd": str(folder), "config_sources": []},
            "job": {"config_name": "config"},
            "overrides": {"hydra": [], "task": ["model=agcn", "seed=1"]},
        }
        (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
    return str(folder)
