"""Text files: for each class, a sentence on the movement and sentences on the parts of the body.

A text file is YAML: either one of `sentences/`, given by its name, or a user's file.
"""

import logging
import os
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flag3d_exp.errors import UserError, nearest
from flag3d_exp.faults import Faults
from flag3d_exp.names import name_fault
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_text, parsed_yaml

log = logging.getLogger(__name__)

SENTENCES = Path(__file__).parent / "sentences"
AUTO = "auto"
WHOLE = "whole"
PARTS = ("head", "shoulders", "arms", "torso", "hips", "legs")
MAX_SENTENCE, MAX_CLASSES = 500, 2000  # letters of a sentence; classes of a file
# A sentence of this many words without any of the most common English words is probably foreign.
MIN_WORDS = 5
COMMON = frozenset(
    ("a", "an", "and", "as", "at", "back", "both", "each", "from", "in", "is", "of", "off", "on")
    + ("one", "or", "the", "to", "up", "with")
)


@dataclass(frozen=True)
class Description:
    """The sentences about a class in a text file.

    Args:
        name: of the class.
        whole: the sentence on the whole movement.
        parts: (one of PARTS, its sentence).
    """

    name: str
    whole: str
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All sentences, beginning with that on the whole movement."""
        return (self.whole, *(sentence for _, sentence in self.parts))


def class_descriptions(
    texts: str, classes: Sequence[str] | None, key: str = "problem.texts"
) -> tuple[Description, ...]:
    """The description of each class, in the order of the classes.

    Args:
        texts: `auto` for the shipped file that describes all classes, the name of a shipped file,
            or the path of a YAML file.
        classes: names, see `dataset.classes`.
        key: the setting of `texts`, for error messages.

    Raises:
        UserError: the file is invalid, a class has no sentence, or two classes have the same one.
    """
    if not classes:
        raise UserError(
            "Sentences are found by the names of the classes, and `dataset.classes` is "
            f"{'null' if classes is None else 'empty'}; name them: `dataset.classes=[...]`."
        )
    if texts == AUTO:
        found, where = _covering(classes, key)
    else:
        path = text_path(texts, key)
        found, where = read_descriptions(path, key), f"`{key}` file {path}"
    missing = [name for name in classes if name not in found]
    if len(missing) == len(classes):
        raise UserError(
            f"{where} is for other classes ({_some(list(found))}); the dataset's are "
            f"{_some(list(classes))}."
        )
    if missing:
        hint = nearest(missing[0], [name for name in found if name not in classes])
        raise UserError(f"{where} has no sentence for {_some(missing)}.{hint}")
    chosen = tuple(found[name] for name in classes)
    check_distinct(chosen, where)
    return chosen


def text_path(texts: str, key: str = "problem.texts") -> Path:
    """The file that `texts` names: a shipped one, or a YAML file.

    Raises:
        UserError: there is no such file.
    """
    is_path = texts.endswith((".yaml", ".yml"))
    path = Path(texts).expanduser() if is_path else SENTENCES / f"{texts}.yaml"
    if not os.path.isfile(path) or (not is_path and texts not in shipped_names()):
        known = [AUTO, *shipped_names()]
        raise UserError(
            f"`{key}` must be {', '.join(known)}, or the path of a YAML file; got {texts!r}."
            f"{nearest(texts, known)}"
        )
    return path


def shipped_names() -> list[str]:
    """The names of the text files that come with the package."""
    return sorted(path.stem for path in SENTENCES.glob("*.yaml"))


def read_descriptions(path: Path, key: str = "problem.texts") -> dict[str, Description]:
    """The descriptions in a text file, by class.

    Raises:
        UserError: the file is not a text file, or an entry is invalid.
    """
    where = f"`{key}` file {path}"
    try:
        found = parsed_yaml(file_text(path))
    except Malformed as error:
        raise UserError(f"{where} can't be read: {error}.") from error
    if not isinstance(found, dict) or not found:
        raise UserError(f"{where} must map the name of each class to its sentences.")
    if len(found) > MAX_CLASSES:
        raise UserError(f"{where} has {len(found)} classes; at most {MAX_CLASSES} are accepted.")
    faults, made = Faults("class"), {}
    for name, entry in found.items():
        with faults.of(reprlib.repr(name)):
            made[name] = _description(name, entry)
    faults.refuse(where)
    foreign = [one.name for one in made.values() if any(map(is_foreign, one.sentences))]
    if foreign:
        log.warning(
            "%s: the encoder knows English; the sentences on %s do not look like it.",
            where,
            _some(foreign),
        )
    return made


def check_distinct(descriptions: Sequence[Description], where: str) -> None:
    """Refuse classes with the same sentence, which no encoder can distinguish.

    Raises:
        UserError: two classes have the same sentence; the message names them.
    """
    seen: dict[str, str] = {}
    for one in descriptions:
        spelled = _normalised(one.whole)
        if spelled in seen:
            raise UserError(
                f"{where} has the same sentence for {seen[spelled]!r} and {one.name!r}: "
                f"{reprlib.repr(one.whole)}."
            )
        seen[spelled] = one.name


def is_foreign(sentence: str) -> bool:
    """Whether a sentence is probably not English."""
    if any(letter.isalpha() and not letter.isascii() for letter in sentence):
        return True
    words = _normalised(sentence).replace(",", " ").replace(".", " ").split()
    return len(words) >= MIN_WORDS and not COMMON & set(words)


def _description(name: Any, entry: Any) -> Description:
    if fault := name_fault(name):
        raise UserError(f"the name of a class {fault}.")
    given = {WHOLE: entry} if isinstance(entry, str) else entry
    if not isinstance(given, dict) or WHOLE not in given:
        raise UserError(f"it must have a sentence, or a mapping with `{WHOLE}` and parts.")
    for part, sentence in given.items():
        if part not in (WHOLE, *PARTS):
            hint = nearest(str(part), PARTS)
            raise UserError(
                f"{reprlib.repr(part)} is not a known part of the body.{hint} "
                f"Parts: {', '.join(PARTS)}."
            )
        if not isinstance(sentence, str) or not 0 < len(sentence.strip()) <= MAX_SENTENCE:
            raise UserError(f"`{part}` must be a text of 1 to {MAX_SENTENCE} letters.")
    parts = tuple((part, given[part].strip()) for part in PARTS if part in given)
    return Description(name, given[WHOLE].strip(), parts)


@cache
def _shipped_descriptions(name: str) -> dict[str, Description]:
    return read_descriptions(SENTENCES / f"{name}.yaml")


def _covering(classes: Sequence[str], key: str) -> tuple[dict[str, Description], str]:
    """The shipped file that describes most of the classes, and its name for error messages."""
    counts = Counter(
        {name: len(_shipped_descriptions(name).keys() & set(classes)) for name in shipped_names()}
    )
    ((name, count),) = counts.most_common(1)
    if count < len(classes):
        missing = [one for one in classes if one not in _shipped_descriptions(name)]
        raise UserError(
            f"`{key}=auto`: no file of this package has a sentence for {_some(missing)}; write a "
            f"text file, as {SENTENCES / (name + '.yaml')} is one, and give its path: `{key}=...`."
        )
    return _shipped_descriptions(name), f"`{key}` file {name}"


def _normalised(sentence: str) -> str:
    return " ".join(sentence.casefold().split()).rstrip(".")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(reprlib.repr, names[:3]))
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
