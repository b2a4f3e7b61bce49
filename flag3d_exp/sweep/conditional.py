"""Spaces where what is drawn depends on what was drawn: `hydra.sweeper.conditional`."""

from optuna import Trial


def settings_of_optimizer(trial: Trial) -> None:
    """Learning rate and weight decay in the range that suits the trial's `optimizer`."""
    match trial.params["optimizer"]:
        case "sgd":
            trial.suggest_float("optimizer.lr", 1e-3, 1.0, log=True)
            trial.suggest_categorical("optimizer.momentum", [0.8, 0.9, 0.95])
        case "adamw":
            trial.suggest_float("optimizer.lr", 1e-5, 1e-2, log=True)
            trial.suggest_float("optimizer.weight_decay", 1e-4, 1e-1, log=True)
