"""Protocol Buffers messages, read without their definition: numbered fields, one by one."""

from collections.abc import Iterator
from dataclasses import dataclass

from flag3d_exp.reading import Malformed

MAX_FIELDS = 1_000_000  # of a file, nested messages counted
WIDTHS = {1: 8, 5: 4}  # wire type -> bytes, of numbers of fixed size


@dataclass
class Fields:
    """Reads the fields of messages; counts them, because a field may be two bytes of a file."""

    left: int = MAX_FIELDS

    def of(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """(number, value) of each field: an integer, or the bytes of a text, message or float.

        Raises:
            Malformed: the message ends within a field, or there are too many.
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
        raise Malformed("a number stands where text should")
    return value


def as_text(value: int | memoryview) -> str:
    """The value of a field that must be a text."""
    try:
        return bytes(as_bytes(value)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("a text is no UTF-8") from error


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """(integer, position after it): seven bits a byte, least significant first."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed("it ends too early")
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise Malformed("a number runs on too long")
