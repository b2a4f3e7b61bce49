"""A restricted unpickler with few opcodes and a fixed set of names; it runs no code from the file.

It reads numbers, texts, lists, tuples and dicts of protocols 0 to 5, and the calls that create
NumPy arrays. Callers give the allowed names and the functions to call in their place. Long byte
strings are views of the file.
"""

import codecs
import pickle
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from flag3d_exp.reading import Malformed

# FLAG3D's 28,800 recordings take 3 million, NTU RGB+D's 114,480 take 11 million. Limited because
# small objects take a hundred times more memory than space in the file.
MAX_OPCODES = 15_000_000


class Stateful(ABC):
    """An object whose state a pickle sets after creating it."""

    @abstractmethod
    def fill(self, state: Any) -> None:
        """Set the state from the pickle."""


class Unpickler:
    """The pickle machine: a stack with marks, and a memo.

    Args:
        view: the pickle.
        names: the replacements of classes and functions, by their names in the pickle.
        persistent: function that returns the object of a persistent id; None refuses them.
        most: maximum number of opcodes.
    """

    def __init__(
        self,
        view: memoryview,
        names: Mapping[tuple[str, str], Any],
        persistent: Callable[[Any], Any] | None = None,
        most: int | None = None,
    ) -> None:
        self.view, self.position, self.names = view, 0, names
        self.persistent, self.most = persistent, most or MAX_OPCODES
        self.made = 0  # bytes created by calls
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The object in the pickle.

        Raises:
            Malformed: the pickle creates or calls anything other than arrays and plain values.
        """
        for _ in range(self.most):
            opcode = self.read(1)[0]
            if opcode == pickle.STOP[0]:
                return self.stack.pop()
            if opcode not in HANDLERS:
                raise Malformed(f"it makes objects other than arrays (opcode {chr(opcode)!r})")
            HANDLERS[opcode](self)
        raise Malformed(f"it consists of more than {self.most:,} parts")

    def read(self, size: int) -> memoryview:
        """The next `size` bytes."""
        begin, self.position = self.position, self.position + size
        if self.position > len(self.view) or size < 0:
            raise EOFError
        return self.view[begin : self.position]

    def unsigned(self, size: int) -> int:
        """The next `size` bytes as an unsigned integer."""
        return int.from_bytes(self.read(size), "little")

    def line(self) -> str:
        """The text up to the next line feed."""
        window = bytes(self.view[self.position : self.position + 200])
        return str(self.read(window.index(b"\n") + 1)[:-1], "ascii")

    def long_line(self) -> memoryview:
        """The bytes up to the next line feed, of any number."""
        end = self.view.obj.find(b"\n", self.position)  # pyright: ignore[reportAttributeAccessIssue]
        if end < 0:
            raise EOFError
        return self.read(end + 1 - self.position)[:-1]

    def marked(self) -> list[Any]:
        """Pop the items above the last mark, and the mark."""
        begin = self.marks.pop()
        items = self.stack[begin:]
        del self.stack[begin:]
        return items

    def push_tuple(self, size: int) -> None:
        """Replace the topmost `size` items by a tuple of them."""
        items = tuple(self.stack[-size:])
        self.stack[-size:] = [items]

    def push_dict(self, items: list[Any]) -> None:
        """Push a dict of alternating keys and values."""
        self.stack.append({})
        self.update(items)

    def extend(self, items: list[Any]) -> None:
        """Append items to the list on top."""
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        """Add alternating keys and values to the dict on top."""
        # Hashing nested tuples with shared items takes exponential time.
        if not all(isinstance(key, str | int | bytes) for key in items[::2]):
            raise Malformed("a dict has a key that is neither text nor a number")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def last(self, count: int) -> list[Any]:
        """Pop the topmost `count` items."""
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def push_global(self, module: str, name: str) -> None:
        """Push the replacement of a name, if it is allowed."""
        module = module.replace("numpy._core.", "numpy.core.")
        if (module, name) not in self.names:
            raise Malformed(
                f"it names `{module}.{name}`"[:120] + ", but only arrays, lists, dicts, texts and "
                "numbers are expected; it was refused, and nothing in it was run"
            )
        self.stack.append(self.names[module, name])

    def reduce(self) -> None:
        """Call the function below the top with the tuple on top as arguments."""
        function, arguments = self.last(2)
        result = function(*arguments)
        if isinstance(result, bytes):  # may be repeated to fill memory
            self.made += len(result)
            if self.made > len(self.view):
                raise Malformed("it makes more data than it holds")
        self.stack.append(result)

    def push_persistent(self) -> None:
        """Replace the persistent id on top by its object."""
        if self.persistent is None:
            raise Malformed("it makes objects other than arrays (opcode 'Q')")
        (identifier,) = self.last(1)
        self.stack.append(self.persistent(identifier))

    def build(self) -> None:
        """Set the state of the object below the top from the top."""
        (state,) = self.last(1)
        if not isinstance(self.stack[-1], Stateful):
            raise Malformed("it sets the state of something other than an array")
        self.stack[-1].fill(state)


Handler = Callable[[Unpickler], Any]


def _constant(value: Any) -> Handler:
    return lambda reader: reader.stack.append(value)


def _number(form: str) -> Handler:
    packed = struct.Struct(form)
    return lambda reader: reader.stack.extend(packed.unpack(reader.read(packed.size)))


def _sized(width: int, made: Callable[[memoryview], Any]) -> Handler:
    """Handler that pushes a value made from bytes, whose count comes first in `width` bytes."""
    return lambda reader: reader.stack.append(made(reader.read(reader.unsigned(width))))


def _remember(width: int) -> Handler:
    return lambda reader: reader.memo.update({reader.unsigned(width): reader.stack[-1]})


def _recall(width: int) -> Handler:
    return lambda reader: reader.stack.append(reader.memo[reader.unsigned(width)])


def _text(raw: memoryview) -> str:
    return str(raw, "utf-8", "surrogatepass")


def _old_text(raw: memoryview) -> str:
    return str(raw, "latin1")


def _integer(raw: memoryview) -> int:
    if len(raw) > 9:  # an unsigned 64-bit number and its sign
        raise Malformed(f"it holds an integer of {len(raw)} bytes")
    return int.from_bytes(raw, "little", signed=True)


def _quoted(raw: memoryview) -> str:
    """A text in quotation marks, with escapes, as Python 2 writes it; a byte is a character."""
    if len(raw) < 2 or raw[0] != raw[-1] or raw[0] not in b"'\"":
        raise Malformed("it holds a text without quotation marks")
    return str(codecs.escape_decode(raw[1:-1])[0], "latin1")


def _whole(line: str) -> int:
    """An integer, or a truth value, in digits."""
    return line == "01" if line in ("00", "01") else int(line.rstrip("L"))


HANDLERS: dict[int, Handler] = {
    opcode[0]: handler
    for opcode, handler in {
        pickle.PROTO: lambda reader: reader.read(1),
        pickle.FRAME: lambda reader: reader.read(8),
        pickle.MARK: lambda reader: reader.marks.append(len(reader.stack)),
        pickle.NONE: _constant(None),
        pickle.NEWTRUE: _constant(True),
        pickle.NEWFALSE: _constant(False),
        pickle.EMPTY_TUPLE: _constant(()),
        pickle.BININT: _number("<i"),
        pickle.BININT1: _number("<B"),
        pickle.BININT2: _number("<H"),
        pickle.BINFLOAT: _number(">d"),
        pickle.LONG1: _sized(1, _integer),
        pickle.LONG4: _sized(4, _integer),
        pickle.SHORT_BINSTRING: _sized(1, _old_text),
        pickle.BINSTRING: _sized(4, _old_text),
        pickle.SHORT_BINUNICODE: _sized(1, _text),
        pickle.BINUNICODE: _sized(4, _text),
        pickle.BINUNICODE8: _sized(8, _text),
        pickle.SHORT_BINBYTES: _sized(1, bytes),
        pickle.BINBYTES: _sized(4, memoryview),
        pickle.BINBYTES8: _sized(8, memoryview),
        pickle.BYTEARRAY8: _sized(8, memoryview),
        pickle.STRING: lambda reader: reader.stack.append(_quoted(reader.long_line())),
        pickle.UNICODE: lambda reader: reader.stack.append(
            str(reader.long_line(), "raw-unicode-escape")
        ),
        pickle.INT: lambda reader: reader.stack.append(_whole(reader.line())),
        pickle.LONG: lambda reader: reader.stack.append(_whole(reader.line())),
        pickle.FLOAT: lambda reader: reader.stack.append(float(reader.line())),
        pickle.LIST: lambda reader: reader.stack.append(reader.marked()),
        pickle.DICT: lambda reader: reader.push_dict(reader.marked()),
        pickle.EMPTY_LIST: lambda reader: reader.stack.append([]),
        pickle.EMPTY_DICT: lambda reader: reader.stack.append({}),
        pickle.TUPLE: lambda reader: reader.stack.append(tuple(reader.marked())),
        pickle.TUPLE1: lambda reader: reader.push_tuple(1),
        pickle.TUPLE2: lambda reader: reader.push_tuple(2),
        pickle.TUPLE3: lambda reader: reader.push_tuple(3),
        pickle.APPEND: lambda reader: reader.extend(reader.last(1)),
        pickle.APPENDS: lambda reader: reader.extend(reader.marked()),
        pickle.SETITEM: lambda reader: reader.update(reader.last(2)),
        pickle.SETITEMS: lambda reader: reader.update(reader.marked()),
        pickle.GLOBAL: lambda reader: reader.push_global(reader.line(), reader.line()),
        pickle.STACK_GLOBAL: lambda reader: reader.push_global(*reader.last(2)),
        pickle.REDUCE: Unpickler.reduce,
        pickle.NEWOBJ: Unpickler.reduce,  # calls a class, which is replaced like a function
        pickle.BUILD: Unpickler.build,
        pickle.BINPERSID: Unpickler.push_persistent,
        pickle.MEMOIZE: lambda reader: reader.memo.update({len(reader.memo): reader.stack[-1]}),
        pickle.PUT: lambda reader: reader.memo.update({int(reader.line()): reader.stack[-1]}),
        pickle.GET: lambda reader: reader.stack.append(reader.memo[int(reader.line())]),
        pickle.BINPUT: _remember(1),
        pickle.LONG_BINPUT: _remember(4),
        pickle.BINGET: _recall(1),
        pickle.LONG_BINGET: _recall(4),
    }.items()
}
