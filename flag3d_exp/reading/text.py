"""Read text files, JSON and YAML within limits on size and depth.

YAML is built from the parser's events, so that depth and number of values are limited while
reading. Aliases (`*name`) are refused: a few lines of them can expand to more data than fits in
memory.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from flag3d_exp.reading import Malformed

MAX_BYTES = 32 << 20
MAX_PARTS = 500_000  # a list of NTU RGB+D 120's recordings with labels and splits has 350,000
MAX_DEPTH = 50
MAX_SCALAR, MAX_NUMBER = 1 << 20, 100  # characters of a text, and of a number
EVENTS = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
STANDARD = "tag:yaml.org,2002:"
SCALARS = ("str", "int", "float", "bool", "null")


def file_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of a file.

    Raises:
        Malformed: the file does not exist, is not a regular file, can't be read or is larger than
            `limit`.
    """
    try:
        if path.exists() and not path.is_file():
            raise Malformed("it is a folder" if path.is_dir() else "it is not a regular file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise Malformed(f"it is larger than {limit >> 20} MB")
            return file.read(size)
    except OSError as error:
        raise Malformed(f"it can't be read: {error.strerror or error}") from error


def file_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The content of a file, decoded as UTF-8, without a byte-order mark.

    Raises:
        Malformed: as in `file_bytes`, or the content is not UTF-8.
    """
    try:
        return file_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed(f"it is not UTF-8 text (byte {error.start})") from error


def parsed_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        Malformed: the text is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise Malformed("it is nested too deeply") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, too many digits
        raise Malformed(f"it is not JSON: {error}") from error


def parsed_yaml(text: str) -> Any:
    """The value of a YAML document: plain mappings, lists, texts, numbers, booleans and null.

    Dates and times of day stay text.

    Raises:
        Malformed: the text is not YAML, is too large, or contains aliases, tags or a repeated key.
    """
    try:
        return _Builder().value(text)
    except yaml.YAMLError as error:
        raise Malformed(f"it is not YAML: {_on_one_line(error)}") from error
    except ValueError as error:  # a surrogate, or a number of too many digits
        raise Malformed(f"it is not YAML: {error}") from error


def _on_one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).replace('in "<unicode string>", ', "").split())


class _Builder:
    """Builds values from YAML events, with a stack of open containers."""

    def __init__(self) -> None:
        self.open: list[tuple[Any, Callable[[Any, int], None]]] = []
        self.documents: list[Any] = []
        self.resolver, self.constructor = Resolver(), SafeConstructor()

    def value(self, text: str) -> Any:
        for number, event in enumerate(yaml.parse(text, Loader=EVENTS)):
            if number > MAX_PARTS:
                raise Malformed(f"it has more than {MAX_PARTS:,} parts")
            self.take(event)
        if len(self.documents) > 1:
            raise Malformed("it holds several documents (`---`)")
        return self.documents[0] if self.documents else None

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1
        match event:
            case yaml.AliasEvent():
                raise Malformed(f"line {line}: aliases such as `*{event.anchor}` are not accepted")
            case yaml.ScalarEvent():
                self.add(self.scalar(event, line), line)
            case yaml.SequenceStartEvent():
                self.refuse_tag(event.tag, line)
                members: list[Any] = []
                self.begin(members, lambda value, _: members.append(value), line)
            case yaml.MappingStartEvent():
                self.refuse_tag(event.tag, line)
                mapping: dict[Any, Any] = {}
                self.begin(mapping, _Pairs(mapping), line)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                made, _ = self.open.pop()
                self.add(made, line)

    def begin(self, made: Any, add: Callable[[Any, int], None], line: int) -> None:
        if len(self.open) == MAX_DEPTH:
            raise Malformed(f"line {line}: it is nested more than {MAX_DEPTH} deep")
        self.open.append((made, add))

    def add(self, value: Any, line: int) -> None:
        if self.open:
            self.open[-1][1](value, line)
        else:
            self.documents.append(value)

    def scalar(self, event: yaml.ScalarEvent, line: int) -> Any:
        text = event.value
        if len(text) > MAX_SCALAR:
            raise Malformed(f"line {line}: a text of {len(text):,} characters")
        if event.tag is not None:
            self.refuse_tag(event.tag, line, SCALARS)
            tag = event.tag
        elif event.style or text[:1] not in Resolver.yaml_implicit_resolvers or _no_number(text):
            return text
        else:
            tag = self.resolver.resolve(yaml.ScalarNode, text, (True, False))
        if tag.removeprefix(STANDARD) not in SCALARS[1:]:
            return text
        if _no_number(text):
            raise Malformed(f"line {line}: {text[:40]!r} is no {tag.rpartition(':')[2]}")
        try:
            return self.constructor.construct_object(yaml.ScalarNode(tag, text))
        except (ValueError, KeyError, IndexError, yaml.YAMLError) as error:
            raise Malformed(f"line {line}: {text[:40]!r} is no {tag.rpartition(':')[2]}") from error

    def refuse_tag(self, tag: str | None, line: int, known: tuple[str, ...] = ()) -> None:
        if tag is not None and tag.removeprefix(STANDARD) not in (*known, "map", "seq"):
            raise Malformed(f"line {line}: tags such as `{tag}` are not accepted")


def _no_number(text: str) -> bool:
    """Whether YAML 1.2 does not read the text as a number; YAML 1.1 reads the time 1:30 as 90."""
    return len(text) > MAX_NUMBER or ":" in text


class _Pairs:
    """Adds keys and values, which arrive alternately, to a mapping."""

    def __init__(self, mapping: dict[Any, Any]) -> None:
        self.mapping, self.key, self.has_key = mapping, None, False

    def __call__(self, value: Any, line: int) -> None:
        if self.has_key:
            self.mapping[self.key] = value
        elif isinstance(value, list | dict):
            raise Malformed(f"line {line}: a key must be text or a number")
        elif value in self.mapping:
            raise Malformed(f"line {line}: {value!r} stands twice")
        self.key, self.has_key = value, not self.has_key
