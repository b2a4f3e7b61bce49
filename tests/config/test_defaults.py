"""A setting has one default: what a conf file says is what the code takes where it says nothing."""

import inspect
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from flag3d_exp.config.checks import CONF

# Files that say what their data is, or what a stream is, and so differ from the code on purpose.
FACTS = {"dataset", "stream", "experiment"}
# Choices that are variants of another, and the settings in which they differ from the code.
VARIANTS = {
    "model/posec3d_346.yaml": {"stage_blocks"},
    "problem/lift.yaml": {
        "camera",
        "bodies",
        "key",
    },  # objects of their own, compared by themselves
    "problem/count.yaml": {"joining"},
    "task/combine_count.yaml": {"splits"},
}


def objects(node: Any):
    """Every mapping in a conf file that names an object of this package."""
    if isinstance(node, dict):
        if str(node.get("_target_", "")).startswith("flag3d_exp."):
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def defaults(target: str) -> dict[str, Any]:
    kind = get_object(target)
    found = {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    if is_dataclass(kind):
        for field in fields(kind):
            make = field.default_factory
            if make is not MISSING:
                found[field.name] = make()
    return found


FILES = {
    str(path.relative_to(CONF)): OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    for path in sorted(CONF.rglob("*.yaml"))
    if path.relative_to(CONF).parts[0] not in FACTS
}


@pytest.mark.parametrize("name", [name for name, node in FILES.items() if any(objects(node))])
def test_a_conf_file_says_the_code_s_defaults(name):
    different = set()
    for node in objects(FILES[name]):
        known = defaults(node["_target_"])
        for key, value in node.items():
            reference = isinstance(value, str) and "${" in value
            if key in known and not reference and plain(known[key]) != plain(value):
                different.add(key)
    assert different == VARIANTS.get(name, set())


def plain(value: Any) -> Any:
    """Tuples as lists, as in YAML."""
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    return value


def test_the_comparison_sees_many_settings():
    count = sum(
        key in defaults(node["_target_"])
        for file in FILES.values()
        for node in objects(file)
        for key in node
    )
    assert count > 200
