"""flag3d_exp: skeleton action recognition on FLAG3D with Hydra, MindSpore, MLflow and Optuna.

The Python API is in `flag3d_exp.interface` and `flag3d_exp.streaming`. Both are imported lazily.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flag3d_exp.interface import LoadedRun, Trained, clips, evaluate, load, predict, train
    from flag3d_exp.streaming import Stream

__version__ = "0.1.0"
__all__ = ["LoadedRun", "Stream", "Trained", "clips", "evaluate", "load", "predict", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Stream":
        from flag3d_exp import streaming

        return streaming.Stream
    from flag3d_exp import interface

    return getattr(interface, name)
