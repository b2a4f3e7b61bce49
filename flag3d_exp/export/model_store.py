"""MLflow's model store: log an exported file so that `mlflow models serve` can serve it."""

import logging
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flag3d_exp.credentials import usable_uri
from flag3d_exp.runs.tracking import refusals

PACKAGE = Path(__file__).resolve().parent.parent
SERVER_PACKAGES = ("numpy", "filelock", "PyYAML")  # imported by `serving` for every format
RUNTIME = {".onnx": "onnxruntime", ".mindir": "mindspore"}


def log_model(uri: str, run_id: str, file: Path, name: str | None, example: dict[str, Any]) -> str:
    """Log an exported file with the code that serves it; return the model's URI.

    Args:
        run_id: of the run that made the file.
        name: of the registered model that gets a new version; None to register nothing.
        example: the fields of a recording, for an example request.

    Raises:
        UserError: the store refuses the model.
    """
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema
    from mlflow.types.schema import AnyType, ColSpec, TensorSpec
    from pandas import DataFrame

    fields: list[ColSpec | TensorSpec] = [
        ColSpec(AnyType(), key, required=key == "keypoints")
        for key in ("keypoints", "scores", "image_shape", "name")
    ]
    packages = [*SERVER_PACKAGES, RUNTIME[file.suffix], "mlflow"]
    with refusals(f"the model of MLflow run `{run_id}` at {uri}"):
        mlflow.set_tracking_uri(usable_uri(uri))
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                loader_module="flag3d_exp.export.serving",
                data_path=str(file),
                code_paths=[str(PACKAGE)],
                pip_requirements=[f"{package}=={version(package)}" for package in packages],
                signature=ModelSignature(inputs=Schema(fields)),
                input_example=DataFrame([example]),
                registered_model_name=name,
            )
    if name is not None:
        return f"models:/{name}/{logged.registered_model_version}"
    return str(logged.model_uri)
