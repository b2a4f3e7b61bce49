"""flag3d_exp: skeleton action recognition on FLAG3D with Hydra, MindSpore, MLflow and Optuna."""

__version__ = "0.1.0"
