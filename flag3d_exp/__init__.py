"""flag3d_exp: skeleton action recognition on FLAG3D with Hydra, MindSpore, MLflow and Optuna.

What it offers to Python is in `flag3d_exp.interface`, which is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flag3d_exp.interface import LoadedRun, Trained, clips, evaluate, load, predict, train

__version__ = "0.1.0"
__all__ = ["LoadedRun", "Trained", "clips", "evaluate", "load", "predict", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flag3d_exp import interface

    return getattr(interface, name)
