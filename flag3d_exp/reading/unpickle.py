"""A reader of pickles that knows few opcodes and only the names it is given: nothing is run.

It reads what protocols 2 to 5 write for numbers, texts, lists, tuples and dicts, and the calls by
which NumPy's arrays are made; whoever gives the names says what is called in their place. Long byte
strings are views of the file.
"""

import pickle
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from flag3d_exp.reading import Malformed

# FLAG3D's 28,800 recordings take 3 million, NTU RGB+D's 114,480 take 11 million. A limit, because
# small objects take a hundred times their size in the file.
MAX_OPCODES = 15_000_000


class Stateful(ABC):
    """An object that a pickle may fill after making it."""

    @abstractmethod
    def fill(self, state: Any) -> None:
        """Take the state that the pickle gives."""


class Unpickler:
    """The machine that a pickle is a program for: a stack, marks on it, and numbered memories.

    Args:
        view: the pickle.
        names: what to push for the names of classes and functions.
        persistent: what to push for a persistent id; None to refuse them.
        most: opcodes.
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
        self.made = 0  # bytes that calls have made
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """What the pickle makes.

        Raises:
            Malformed: it would make or call something else than arrays and plain values.
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
        """The next `size` bytes as a number."""
        return int.from_bytes(self.read(size), "little")

    def line(self) -> str:
        """The text up to the next line feed."""
        window = bytes(self.view[self.position : self.position + 200])
        return str(self.read(window.index(b"\n") + 1)[:-1], "ascii")

    def marked(self) -> list[Any]:
        """What lies above the last mark, which is taken off."""
        begin = self.marks.pop()
        items = self.stack[begin:]
        del self.stack[begin:]
        return items

    def push_tuple(self, size: int) -> None:
        """Make a tuple of the topmost `size` items."""
        items = tuple(self.stack[-size:])
        self.stack[-size:] = [items]

    def extend(self, items: list[Any]) -> None:
        """Add items to the list on top."""
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        """Add keys and values, taking turns, to the dict on top."""
        # Hashing tuples that share their parts takes exponential time.
        if not all(isinstance(key, str | int | bytes) for key in items[::2]):
            raise Malformed("a dict has a key that is neither text nor a number")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def last(self, count: int) -> list[Any]:
        """The topmost `count` items, which are taken off."""
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def push_global(self, module: str, name: str) -> None:
        """Push what stands in for a name, if any does."""
        module = module.replace("numpy._core.", "numpy.core.")
        if (module, name) not in self.names:
            raise Malformed(
                f"it names `{module}.{name}`"[:120] + ", but only arrays, lists, dicts, texts and "
                "numbers are expected; it was refused, and nothing in it was run"
            )
        self.stack.append(self.names[module, name])

    def reduce(self) -> None:
        """Call the stand-in below the top with the tuple on top."""
        function, arguments = self.last(2)
        result = function(*arguments)
        if isinstance(result, bytes):  # of a text, which the pickle may name again and again
            self.made += len(result)
            if self.made > len(self.view):
                raise Malformed("it makes more data than it holds")
        self.stack.append(result)

    def push_persistent(self) -> None:
        """Push what stands in for the persistent id on top."""
        if self.persistent is None:
            raise Malformed("it makes objects other than arrays (opcode 'Q')")
        (identifier,) = self.last(1)
        self.stack.append(self.persistent(identifier))

    def build(self) -> None:
        """Fill the object below the top from the state on top."""
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
    """Pushes what is made of the bytes whose number comes first, in `width` bytes."""
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
        pickle.BUILD: Unpickler.build,
        pickle.BINPERSID: Unpickler.push_persistent,
        pickle.MEMOIZE: lambda reader: reader.memo.update({len(reader.memo): reader.stack[-1]}),
        pickle.BINPUT: _remember(1),
        pickle.LONG_BINPUT: _remember(4),
        pickle.BINGET: _recall(1),
        pickle.LONG_BINGET: _recall(4),
    }.items()
}
