"""Read Protocol Buffers messages without a schema, as numbered fields."""

from collections.abc import Iterator
from dataclasses import dataclass

from flag3d_exp.reading import Malformed

MAX_FIELDS = 1_000_000  # of a file, including nested messages
WIDTHS = {1: 8, 5: 4}  # wire type -> bytes, for numbers of fixed size


@dataclass
class Fields:
    """Reads the fields of messages and limits their number, since a field takes only two bytes."""

    left: int = MAX_FIELDS

    def of(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """(number, value) of each field; the value is an integer, or bytes (text, message, float).

        Raises:
            Malformed: the message ends within a field, or there are too many fields.
        """
        at = 0
        while at < len(message):
            self.left -= 1
            if self.left < 0:
                raise Malformed(f"it has more than {MAX_FIELDS:,} fields")
            key, at = varint(message, at)
            wire = key & 7
            if wire == 0:
                value, at = varint(message, at)
            elif wire == 2 or wire in WIDTHS:
                length, at = varint(message, at) if wire == 2 else (WIDTHS[wire], at)
                value = message[at : at + length]
                at += length
                if len(value) < length:
                    raise Malformed("it ends too early")
            else:
                raise Malformed(f"unknown wire type {wire}")
            yield key >> 3, value


def as_bytes(value: int | memoryview) -> memoryview:
    """The value of a field that must be a text or a message."""
    if isinstance(value, int):
        raise Malformed("it has a number in place of text")
    return value


def as_text(value: int | memoryview) -> str:
    """The value of a field that must be a text."""
    try:
        return bytes(as_bytes(value)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("a text is not UTF-8") from error


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """(integer, position after it): seven bits per byte, least significant first."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed("it ends too early")
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise Malformed("a number has too many bytes")
