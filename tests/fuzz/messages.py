"""Changes to Protocol Buffers messages."""

import random
from typing import Any

from fuzz.mutations import byte_change


def field_change(random: random.Random, content: bytes) -> bytes:
    """A field of a Protocol Buffers message, at any depth, changed, doubled or left out."""
    fields = _fields(content)
    if not fields:
        return byte_change(random, content)
    at = random.randrange(len(fields))
    number, wire, value = fields[at]
    match random.randrange(6):
        case 0:
            del fields[at]
        case 1:
            fields[at:at] = [fields[at]] * random.choice((1, 2, 300))
        case 2:
            fields[at] = (random.randrange(1, 20), wire, value)
        case _ if wire == 2:
            deeper = random.random() < 0.8
            change = field_change if deeper and _fields(value) else byte_change
            fields[at] = (number, wire, change(random, value))
        case _:
            fields[at] = (number, wire, random.choice((0, 1, 2**31, 2**63, 2**64 - 1)))
    return b"".join(_field(*field) for field in fields)


def _fields(content: bytes) -> list[tuple[int, int, Any]]:
    """(number, wire type, value); nothing for what is no message."""
    found, at = [], 0
    while at < len(content):
        key, at = _varint(content, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(content, at)
        elif wire in (1, 2, 5):
            size, at = _varint(content, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
            value = content[at : at + size]
            at += size
        else:
            return []
        if at > len(content) or not key >> 3:
            return []
        found.append((key >> 3, wire, value))
    return found


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(content):
        number |= (content[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if content[at - 1] < 128:
            return number, at
    return number, len(content) + 1


def _field(number: int, wire: int, value: Any) -> bytes:
    head = _written(number << 3 | wire)
    if wire == 0:
        return head + _written(value)
    return head + (_written(len(value)) if wire == 2 else b"") + bytes(value)


def _written(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
