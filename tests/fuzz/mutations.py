"""Changes to files: of bytes, of lines and words, of values in a tree, of members in an archive."""

import copy
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Mutation = Callable[[random.Random, bytes], bytes]

NUMBERS = ["-1", "0", "1", "14000000", "2147483648", "9223372036854775808", "1e308", "-1e400"]
NUMBERS += ["nan", "inf", "0x7f", "1_0", "9" * 400, "1:30", "1" + "0" * 5000, "3.5"]
NAMES = ["../up", "/tmp/run/checkpoints/best", "${oc.env:HOME}", "${dataset.name}", "a" * 100_000]
NAMES += ["\x1b[2J\x07", "$\\frac{1", "<!--<script>", "=cmd|' /C calc'!A0", "\u202e", "", " ", "."]
NAMES += ["val_ema", "kinect_2_(v1)@home", "_target_", "null", "true", "深蹲", "\0", "*a", "&a"]
WORDS = ["*a", "&a [1]", "<<: *a", "!!python/object/apply:os.system [ls]", "!!binary aGk=", "---"]
WORDS += [
    "[" * 300,
    "{" * 300,
    "{a: [",
    "? ",
    "|",
    ">",
    "%TAG ! x",
    "- - - -",
    ": :",
    "'",
    '"',
    "#",
]
VALUES: list[Any] = [None, True, -1, 0, 2**31, 2**63, 2**200, 1e308, float("nan"), float("inf")]
VALUES += [
    "",
    "x",
    "../up",
    "${oc.env:HOME}",
    "\x1b[2J",
    "x" * 100_000,
    [],
    {},
    [[]],
    [{}],
    {"": {}},
]
VALUES += [{"_target_": "os.system"}, [[[[[[[[[[]]]]]]]]]], list(range(1000)), {"a": 1}, [None] * 9]
BYTES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff" * 8, b"\n"]


def byte_change(random: random.Random, content: bytes) -> bytes:
    """One to four changes anywhere: bits, bytes, pieces cut out, doubled, repeated or moved."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at, size = _piece(random, data)
        match random.randrange(9):
            case 0:
                if data:
                    data[min(at, len(data) - 1)] ^= 1 << random.randrange(8)
            case 1:
                some = random.choice(BYTES)
                data[at : at + len(some)] = some
            case 2:
                data[at:at] = random.choice(BYTES)
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = data[at : at + size]
            case 5:
                data[at:at] = data[at : at + size] * random.choice((10, 100, 1000))
                del data[4_000_000:]
            case 6:
                del data[at:]
            case 7:
                to, _ = _piece(random, data)
                data[to : to + size] = data[at : at + size]
            case 8:
                data[at : at + size] = random.randbytes(size)
    return bytes(data)


def _piece(random: random.Random, data: bytearray) -> tuple[int, int]:
    """Where a piece begins, and its length; short ones and ends of the file are likelier."""
    at = random.randrange(len(data) + 1)
    at = random.choice((at, at, at, min(at, 60), max(0, len(data) - 60) + at % 60))
    return min(at, len(data)), 2 ** random.randrange(9)


def text_change(random: random.Random, content: bytes) -> bytes:
    """One to three lines, words or numbers of a text replaced, doubled, moved or left out."""
    lines = content.decode("utf-8", "replace").split("\n")
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(lines))
        line = lines[at]
        match random.randrange(8):
            case 0:
                del lines[at]
                lines = lines or [""]
            case 1:
                lines[at:at] = [line] * random.choice((1, 2, 500))
            case 2:
                other = random.randrange(len(lines))
                lines[at], lines[other] = lines[other], line
            case 3:
                lines[at] = _one_replaced(random, r"-?\d[\d.e+-]*", line, NUMBERS)
            case 4:
                lines[at] = _one_replaced(random, r"[^\s,:\"'\[\]{}]+", line, NAMES)
            case 5:
                lines[at] = _one_replaced(random, r"[^\s,]+", line, WORDS)
            case 6:
                cut = random.randrange(len(line) + 1)
                lines[at] = line[:cut] + random.choice((*NAMES, *WORDS, *NUMBERS)) + line[cut:]
            case 7:
                lines[at] = line[: random.randrange(len(line) + 1)]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _one_replaced(random: random.Random, pattern: str, line: str, choices: Sequence[str]) -> str:
    found = list(re.finditer(pattern, line))
    if not found:
        return random.choice(choices)
    one = random.choice(found)
    return line[: one.start()] + random.choice(choices) + line[one.end() :]


def value_changed(random: random.Random, tree: Any, values: Sequence[Any] = VALUES) -> Any:
    """The tree with one to three values replaced, left out, doubled, renamed or moved."""
    tree = copy.deepcopy(tree)
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(tree))
        if not places:
            return random.choice(values)
        holder, key = random.choice(places)
        match random.randrange(6):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(random.choice(values))
            case 3:
                del holder[key]
            case 4 if isinstance(holder, dict):
                holder[random.choice((*NAMES, "_target_", "config"))] = holder.pop(key)
            case 4:
                holder.insert(key, holder[key])
            case 5:
                other, place = random.choice(places)
                holder[key] = copy.deepcopy(other[place]) if place_is_there(other, place) else None
    return tree


def place_is_there(holder: Any, key: Any) -> bool:
    """Whether a holder still has the key; it may have been changed since."""
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(tree: Any) -> Any:
    """(holder, key) of every value within."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(items) if isinstance(tree, dict | list) else []:
        yield tree, key
        yield from _places(value)


def json_change(random: random.Random, content: bytes) -> bytes:
    """A value of a JSON text changed, which YAML reads as well."""
    return json.dumps(value_changed(random, json.loads(content))).encode("utf-8", "surrogatepass")


def json_lines_change(random: random.Random, content: bytes) -> bytes:
    """A value in one line of JSON changed."""
    lines = content.splitlines()
    at = random.randrange(len(lines))
    lines[at] = json_change(random, lines[at])
    return b"\n".join(lines) + b"\n"


def member_change(inner: Sequence[Mutation]) -> Mutation:
    """A member of a zip archive changed by one of the mutations, renamed, doubled or left out."""

    def change(random: random.Random, content: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = random.choice(list(members))
        match random.randrange(6):
            case 0:
                del members[name]
            case 1:
                members[
                    random.choice(("x.npy", "../x.npy", "meta.npy", "é" * 300, "a/data.pkl"))
                ] = members.pop(name)
            case 2:
                members[name] = bytes(random.choice((0, 10, 10**6, 3 * 10**8)))
            case _:
                members[name] = random.choice(inner)(random, members[name])
        buffer = io.BytesIO()
        kind = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(buffer, "w", kind) as archive:
            for key, member in members.items():
                archive.writestr(key, member)
        return buffer.getvalue()

    return change


def array_change(random: random.Random, content: bytes) -> bytes:
    """The header of an array file changed: its dtype, its shape, or a text in it."""
    if not content.startswith(b"\x93NUMPY"):
        return byte_change(random, content)
    size = int.from_bytes(content[8:10], "little")
    header, data = content[10 : 10 + size].decode("latin1"), content[10 + size :]
    match random.randrange(4):
        case 0:
            descr = random.choice(
                ("|O", "<f8", ">i2", "<U0", "<U99999999", "|V8", "<c16", "<M8[s]")
            )
            header = re.sub(r"'descr': '[^']*'", f"'descr': '{descr}'", header)
        case 1:
            shapes = ("()", "(0,)", "(-1,)", "(1 << 40,)", "(10**12,)", f"({'1,' * 40})", "((1,),)")
            header = re.sub(r"\([\d, ]*\)", random.choice((*shapes, "(1099511627776,)")), header)
        case 2:
            header = header.replace("False", random.choice(("True", "None", "[]", "'x'")))
        case 3:
            header = text_change(random, header.encode()).decode("latin1")
    raw = header.encode("latin1", "replace")
    return content[:8] + (len(raw) & 0xFFFF).to_bytes(2, "little") + raw + data


def array_values(random: random.Random) -> Any:
    """An array that a pickle of annotations may hold in the place of another."""
    shape = random.choice(
        ((0,), (1, 3, 25, 3), (3, 25, 3), (1, 0, 25, 3), (1, 3, 17, 2), (), (9,) * 5)
    )
    dtype = random.choice(("f4", "f2", "f8", "i1", "i8", "U3", "?", "c8", "M8[s]", "O"))
    return np.zeros(shape, dtype)
