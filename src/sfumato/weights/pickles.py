"""Pickles read as data: a small machine of our own for their language, in which nothing can be called.

A pickle is a program for a machine with a stack. Python's machine imports whatever the program names and calls it,
which is how a file of weights can run code. Here a name is a key of a table that the reader of a format gives, and
stands for one of that reader's functions; any other name ends the reading. There is no import, no `getattr`, no
`__setstate__`, no extension registry. `pickletools` of the standard library cuts the bytes into instructions.
"""

import io
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sfumato.errors import InputError

MOST_INSTRUCTIONS = 2_000_000
"""A generator's file has some 100,000; every one can make an object of tens of bytes out of one byte."""
PLAIN = (str, int, float, bool, bytes, type(None))
"""What may be a key or the member of a set: to hash deep tuples takes the machine's own stack."""

Maker = Callable[..., object]


@dataclass(eq=False, slots=True)
class Name:
    """A name that the file uses and the format allows."""

    text: str
    make: Maker


@dataclass(eq=False, slots=True)
class Record:
    """An object of a foreign class: its class's name, what it was made with, and the state it was given."""

    kind: str
    given: tuple[object, ...] = ()
    state: object = None


def record(kind: str) -> Maker:
    """A maker of records of one kind."""
    return lambda *given: Record(kind, given)


def read_pickle(
    file: io.BytesIO, names: Mapping[str, Maker], title: str, persistent: Callable[[Any], object] | None = None
) -> Any:
    """The value of the pickle at `file`'s position, which is then behind it.

    Args:
        file: the bytes, in memory: sizes that the pickle states beyond them cost nothing.
        names: {module.name: maker of a stand-in}; called with what the pickle would call the name with.
        title: what to call the file in errors.
        persistent: the value of a persistent id; without it none is allowed.

    Raises:
        InputError: a name or an instruction that is not allowed, a damaged or endless pickle, something else.
    """
    start = file.tell()
    try:
        return _Machine(names, title, persistent).run(file)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        what = "damaged or cut short" if file.getvalue()[start : start + 1] == b"\x80" else "not a pickle"
        raise InputError(f"{title}: {what} ({_short(error)})") from None


class _Machine:
    """Stack, marks and memory of one pickle."""

    def __init__(self, names: Mapping[str, Maker], title: str, persistent: Callable[[Any], object] | None) -> None:
        self.names, self.title, self.persistent = names, title, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memory: dict[int, Any] = {}

    def run(self, file: io.BytesIO) -> Any:
        for count, (code, argument, _) in enumerate(pickletools.genops(file)):
            if count >= MOST_INSTRUCTIONS:
                raise InputError(f"{self.title}: refused, a pickle of more than {MOST_INSTRUCTIONS:,} instructions")
            if code.name == "STOP":
                return self.stack.pop()
            if code.name in CONSTANTS:
                self.stack.append(CONSTANTS[code.name])
            elif code.name in LITERALS:
                self.stack.append(argument)
            else:
                self.do(code.name, argument)
        raise ValueError("no end")

    def do(self, code: str, argument: Any) -> None:
        """One instruction that does more than to push a constant."""
        stack = self.stack
        match code:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.below.append(stack)
                self.stack = []
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memory[argument] = stack[-1]
            case "MEMOIZE":
                self.memory[len(self.memory)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memory[argument])
            case "POP" if stack:
                stack.pop()
            case "POP" | "POP_MARK":
                self.marked()
            case "DUP":
                stack.append(stack[-1])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_SET":
                stack.append(set())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(code[-1])
                taken = [stack.pop() for _ in range(size)]
                stack.append(tuple(reversed(taken)))
            case "TUPLE" | "LIST" | "FROZENSET" | "DICT":
                self.gathered(code, self.marked())
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if code == "APPEND" else self.marked()
                self.top(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(), stack.pop()][::-1] if code == "SETITEM" else self.marked()
                self.top(dict).update(_pairs(items))
            case "ADDITEMS":
                items = self.marked()
                self.top(set).update(map(_key, items))
            case "GLOBAL":
                stack.append(self.name(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                if type(name) is not str or type(module) is not str:
                    raise InputError(f"{self.title}: refused, it names something by what is no text")
                stack.append(self.name(f"{module}.{name}"))
            case "REDUCE" | "NEWOBJ":
                given, made = stack.pop(), stack.pop()
                if type(made) is not Name or type(given) is not tuple:
                    raise InputError(f"{self.title}: refused, it calls something that is no name")
                stack.append(made.make(*given))
            case "BUILD":
                state, built = stack.pop(), stack[-1]
                if type(built) is Record:
                    built.state = state
                elif type(built) is not dict:  # attributes of an ordered dictionary are nothing that we need
                    raise InputError(f"{self.title}: refused, it sets the state of something that has none")
            case "PERSID" | "BINPERSID" if self.persistent is not None:
                stack.append(self.persistent(argument if code == "PERSID" else stack.pop()))
            case _:
                raise InputError(
                    f"{self.title}: refused, its instruction {code} is not one that tensors and numbers need"
                )

    def name(self, text: str) -> Name:
        """The name's stand-in; Python 2's module is Python 3's."""
        if text.startswith("__builtin__."):
            text = "builtins." + text.removeprefix("__builtin__.")
        if text not in self.names:
            shown = ascii(text if len(text) <= 100 else text[:100] + "...")
            raise InputError(
                f"{self.title}: refused, it asks for {shown}, which is not on the short list of names that tensors and "
                "numbers need (nothing of it was run)"
            )
        return Name(text, self.names[text])

    def marked(self) -> list[Any]:
        """What lies above the last mark, which goes."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def gathered(self, code: str, items: list[Any]) -> None:
        """A container of all that was above the mark."""
        made: Any = {"TUPLE": tuple, "LIST": list, "DICT": _pairs, "FROZENSET": lambda x: frozenset(map(_key, x))}
        self.stack.append(made[code](items))

    def top(self, kind: type) -> Any:
        """The container on top of the stack, one of this machine's own."""
        if type(self.stack[-1]) is not kind:
            raise InputError(f"{self.title}: refused, it fills something that is no {kind.__name__}")
        return self.stack[-1]


CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
"""Instructions that push what stands in the file."""


def _key(value: Any) -> Any:
    if type(value) not in PLAIN:
        raise ValueError("a key that is neither text nor a number")
    return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("a key without a value")
    return {_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}


def _short(error: Exception) -> str:
    """The first line of what went wrong, without what a file could have put there."""
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return ascii(text[:80]).strip("'\"")
