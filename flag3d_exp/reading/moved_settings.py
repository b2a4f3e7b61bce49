"""Update configurations of older versions, in which settings had other names or did not exist.

Augmentations were numbers in `pipeline` before they became objects in `augment`.
"""

from collections.abc import Mapping
from typing import Any

# Setting of `pipeline` -> object of `augment` and its setting.
AUGMENTATIONS = {
    "part": ("frames", "part"),
    "tempo": ("frames", "tempo"),
    "rotation": ("affine", "rotation"),
    "scale": ("affine", "scale"),
    "shear": ("affine", "shear"),
    "mirror": ("mirror", "probability"),
    "joint_dropout": ("joints", "probability"),
}
TARGETS = {
    "frames": "flag3d_exp.data.augment.frames.Frames",
    "affine": "flag3d_exp.data.augment.affine.Affine",
    "mirror": "flag3d_exp.data.augment.mirror.Mirror",
    "joints": "flag3d_exp.data.augment.drop.DropJoints",
}
CLASSIFY = "flag3d_exp.problems.classify.Classify"
# The old key of each setting -> the new ones; `part` also applied to test clips.
MOVED: dict[str, tuple[str, ...]] = {
    f"pipeline.{old}": (f"augment.{step}.{name}",) for old, (step, name) in AUGMENTATIONS.items()
}
MOVED["pipeline.part"] += ("pipeline.test_part",)


def moved_to(key: str) -> str | None:
    """A sentence with the new key of a setting; None if the setting has not moved."""
    if key not in MOVED:
        return None
    training, *tests = MOVED[key]
    more = f", and for test clips `{tests[0]}`" if tests else ""
    return f"`{key}` is now `{training}`{more}."


def modern(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration with settings under their new keys, and later ones added."""
    problem = config.get("problem")
    if isinstance(problem, Mapping) and problem.get("_target_") == CLASSIFY:
        config = dict(config) | {"problem": {"temperature": 1.0} | dict(problem)}
    old = config.get("pipeline")
    if not isinstance(old, Mapping) or "augment" in config or not old.keys() & AUGMENTATIONS:
        return dict(config)
    steps: dict[str, dict[str, Any]] = {}
    for step, target in TARGETS.items():
        known = {
            name: old[key]
            for key, (owner, name) in AUGMENTATIONS.items()
            if owner == step and key in old
        }
        if known:
            steps[step] = {"_target_": target} | known
    return dict(config) | {"pipeline": modern_pipeline(old), "augment": steps}


def modern_pipeline(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a pipeline without augmentations."""
    kept = {key: value for key, value in settings.items() if key not in AUGMENTATIONS}
    return kept | ({"test_part": settings["part"]} if "part" in settings else {})


def modern_overrides(lines: list[str]) -> list[str]:
    """Overrides with their new keys."""
    found = []
    for line in lines:
        key, equals, value = line.partition("=")
        prefix, name = key[: len(key) - len(key.lstrip("+"))], key.lstrip("+").strip()
        news = MOVED.get(name, ())
        found += [f"{prefix}{new}{equals}{value}" for new in news] if equals and news else [line]
    return found
