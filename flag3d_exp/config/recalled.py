"""The groups of a checkpoint's run, for Hydra's config source in `hydra_plugins`.

They are kept here because Hydra executes the modules of its plugins a second time.
"""

from omegaconf import DictConfig

groups: dict[str, tuple[str, DictConfig]] = {}  # group -> name of its one choice, configuration
