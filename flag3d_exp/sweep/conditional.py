"""Conditional search spaces for `hydra.sweeper.conditional`: later draws depend on earlier ones."""

from optuna import Trial


def settings_of_optimizer(trial: Trial) -> None:
    """Draw learning rate and weight decay from a range that suits the trial's `optimizer`."""
    match trial.params["optimizer"]:
        case "sgd":
            trial.suggest_float("optimizer.lr", 1e-3, 1.0, log=True)
            trial.suggest_categorical("optimizer.momentum", [0.8, 0.9, 0.95])
        case "adamw":
            trial.suggest_float("optimizer.lr", 1e-5, 1e-2, log=True)
            trial.suggest_float("optimizer.weight_decay", 1e-4, 1e-1, log=True)
