"""The arguments of a configured object, read from its source without importing it.

A config node names its object in `_target_`; the object's signature is the node's schema. Reading
the source keeps MindSpore and MLflow out of the process until the configuration is accepted.

Why not pydantic or Hydra's structured configs: both need the object's module to be imported. For
half of the groups (models, optimizers, tasks) this imports MindSpore, which takes seconds before a
misspelt number is refused. Importing pydantic alone takes 0.12 s of the half second that a refusal
takes. And this one way works for all groups, also for a user's own class.
A class may narrow the ranges of its constructor in the attribute `bounds`, a mapping of arguments
to ranges (see `flag3d_exp.bounds`).
"""

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

from flag3d_exp.bounds import NOTHING, in_words, within

INTEGERS = range(-(2**63), 2**63)  # that NumPy and MindSpore have


@dataclass(frozen=True)
class Argument:
    """An argument: its annotation as written, if any, and whether it is required."""

    name: str
    annotation: ast.expr | None
    required: bool


def arguments(target: str) -> dict[str, Argument] | None:
    """The arguments of the class or function at the dotted path `target`, by name.

    Returns:
        None if the module is compiled, if it imports the target from another module, or if the
        target takes arbitrary keywords.

    Raises:
        LookupError: there is no such module, or it does not define the name.
    """
    module, _, name = target.rpartition(".")
    source = _source_file(module)
    if source is None:
        raise LookupError(f"there is no module `{module}`")
    if source.suffix != ".py":
        return None
    found = _arguments_of(source, name, target)
    return found and found | _narrowed_arguments(found, _bounds(_tree(source), name))


def _bounds(tree: ast.Module, name: str) -> dict[str, str]:
    """The ranges in the attribute `bounds` of the class `name`."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for statement in node.body:
                match statement:
                    case ast.Assign(targets=[ast.Name(id="bounds")], value=value):
                        return ast.literal_eval(value)
    return {}


def _narrowed_arguments(
    known: dict[str, Argument], bounds: Mapping[str, str]
) -> dict[str, Argument]:
    """The arguments with a range in `bounds`, which replaces their own range."""
    found = {}
    for name, text in bounds.items():
        argument = known[name]
        assert argument.annotation is not None
        kind, _ = _alternatives(argument.annotation)[0]
        annotation = ast.parse(f"Annotated[{ast.unparse(kind)}, {text!r}]", mode="eval").body
        found[name] = replace(argument, annotation=annotation)
    return found


def _arguments_of(source: Path, name: str, target: str) -> dict[str, Argument] | None:
    tree = _tree(source)
    node = next((n for n in tree.body if getattr(n, "name", None) == name), None)
    if isinstance(node, ast.FunctionDef):
        return _parameters(node, skip=0)
    if node is None and name in _import_sources(tree):
        return None
    if not isinstance(node, ast.ClassDef):
        raise LookupError(f"`{target}` is not defined in {source.name}")
    constructor = next(
        (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
    )
    if constructor is not None:
        return _parameters(constructor, skip=1)
    own, imported = _inherited_fields(tree, node) | _fields(node), _import_sources(tree)
    for base in (base.id for base in node.bases if isinstance(base, ast.Name)):
        if (module := imported.get(base)) and (not own or _is_dataclass(module, base)):
            theirs = arguments(f"{module}.{base}")
            return theirs if theirs is None else theirs | own
    return own


def _is_dataclass(module: str, name: str) -> bool:
    """Whether a module defines a dataclass of this name."""
    source = _source_file(module)
    tree = _tree(source) if source is not None and source.suffix == ".py" else ast.Module([], [])
    return any(
        "dataclass" in ast.unparse(decorator)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == name
        for decorator in node.decorator_list
    )


def _import_sources(tree: ast.Module) -> dict[str, str]:
    """The module of each name that a file imports; "" for a relative import."""
    statements = (node for node in tree.body if isinstance(node, ast.ImportFrom))
    return {
        alias.asname or alias.name: "" if node.level else node.module or ""
        for node in statements
        for alias in node.names
    }


def _source_file(module: str) -> Path | None:
    root, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, *rest)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return Path(spec.origin) if spec and spec.origin and not rest else None


@cache
def _tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text(encoding="utf-8"))


def _parameters(function: ast.FunctionDef, skip: int) -> dict[str, Argument] | None:
    spec = function.args
    if spec.kwarg is not None:
        return None
    positional = (spec.posonlyargs + spec.args)[skip:]
    num_required = len(positional) - len(spec.defaults)
    found = [Argument(a.arg, a.annotation, i < num_required) for i, a in enumerate(positional)]
    found += [
        Argument(a.arg, a.annotation, default is None)
        for a, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
    ]
    return {argument.name: argument for argument in found}


def _inherited_fields(tree: ast.Module, node: ast.ClassDef) -> dict[str, Argument]:
    """Dataclass fields of the bases defined in the same file."""
    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
    bases = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name in names]
    found: dict[str, Argument] = {}
    for base in bases:
        found |= _inherited_fields(tree, base) | _fields(base)
    return found


def _fields(node: ast.ClassDef) -> dict[str, Argument]:
    return {
        n.target.id: Argument(n.target.id, n.annotation, n.value is None)
        for n in node.body
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }


def expectation(
    annotation: ast.expr, value: Any, others: Mapping[str, Any] = NOTHING
) -> str | None:
    """The accepted values in words; None if the value fits.

    Args:
        others: the settings that its range may name.
    """
    if accepts(annotation, value, others):
        return None
    for kind, bounds in _alternatives(annotation):
        if bounds is not None and accepts(kind, value, others):
            return in_words(bounds)
        if isinstance(value, float) and not isfinite(value) and ast.unparse(kind) == "float":
            return f"a finite number{f' {in_words(bounds)}' if bounds else ''}"
        if isinstance(value, int) and value not in INTEGERS and ast.unparse(kind) == "int":
            return f"{in_words(bounds)} and below 2^63" if bounds else "an integer below 2^63"
    return description(annotation)


def description(annotation: ast.expr) -> str:
    """The annotation in words, for an error line."""
    if isinstance(annotation, ast.BinOp):
        return f"{description(annotation.left)} or {description(annotation.right)}"
    if isinstance(annotation, ast.Constant) and annotation.value is None:
        return "null"
    if isinstance(annotation, ast.Subscript):
        items = _items(annotation)
        match ast.unparse(annotation.value):
            case "Annotated":
                words = in_words(ast.literal_eval(items[1]))
                of = "of " if words.startswith("at ") else ""
                return f"{description(items[0])} {of}{words}"
            case "Literal":
                return " or ".join(_spelling(ast.literal_eval(item)) for item in items)
            case "tuple" if items[-1:] and ast.unparse(items[-1]) != "...":
                return f"a list of {len(items)}: {', '.join(description(item) for item in items)}"
            case "list" | "tuple" | "Sequence":
                return f"a list, each {description(items[0])}"
            case "dict" | "Mapping":
                return f"a mapping, each value {description(items[-1])}"
    words = {
        "int": "an integer",
        "float": "a number",
        "bool": "true or false",
        "str": "text",
        "object": "of any type",
    }
    return words.get(ast.unparse(annotation), ast.unparse(annotation))


def _alternatives(annotation: ast.expr) -> list[tuple[ast.expr, str | None]]:
    """The members of a union, each with its range, if it has one."""
    if isinstance(annotation, ast.BinOp):
        return _alternatives(annotation.left) + _alternatives(annotation.right)
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        kind, bounds = _items(annotation)
        return [(kind, ast.literal_eval(bounds))]
    return [(annotation, None)]


def _items(annotation: ast.Subscript) -> list[ast.expr]:
    inner = annotation.slice
    return inner.elts if isinstance(inner, ast.Tuple) else [inner]


def spelling(value: Any) -> str:
    """The value as on a command line; a text in quotes."""
    return repr(value) if isinstance(value, str) else _spelling(value)


def _spelling(value: Any) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    )


def accepts(annotation: ast.expr | None, value: Any, others: Mapping[str, Any] = NOTHING) -> bool:
    """Whether `value`, as read from YAML, fits the annotation; true if that can't be decided.

    Args:
        others: the settings that its range may name.
    """
    match annotation:
        case None:
            return True
        case ast.Constant(value=None):
            return value is None
        case ast.BinOp():
            left, right = annotation.left, annotation.right
            return accepts(left, value, others) or accepts(right, value, others)
        case ast.Subscript():
            return _accepts_generic(annotation, value, others)
    match ast.unparse(annotation):
        case "int":
            return isinstance(value, int) and not isinstance(value, bool) and value in INTEGERS
        case "float":
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return number and abs(value) < 1e308  # neither NaN nor infinite
        case "bool":
            return isinstance(value, bool)
        case "str":
            return isinstance(value, str)
    return True


def _accepts_generic(annotation: ast.Subscript, value: Any, others: Mapping[str, Any]) -> bool:
    items = _items(annotation)
    match ast.unparse(annotation.value):
        case "Annotated":
            bounds = ast.literal_eval(items[1])
            return accepts(items[0], value, others) and within(bounds, value, others)
        case "Literal":
            allowed = [ast.literal_eval(item) for item in items]
            return any(type(value) is type(a) and value == a for a in allowed)
        case "list" | "Sequence":
            return isinstance(value, list) and all(accepts(items[0], v) for v in value)
        case "tuple":
            if not isinstance(value, list):
                return False
            if isinstance(items[-1], ast.Constant) and items[-1].value is ...:
                return all(accepts(items[0], v) for v in value)
            return len(value) == len(items) and all(map(accepts, items, value))
        case "dict" | "Mapping":
            return isinstance(value, dict) and all(
                accepts(items[0], k) and accepts(items[1], v) for k, v in value.items()
            )
    return True
