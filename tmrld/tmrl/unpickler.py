"""TMRL's pickles, read without what makes pickles dangerous.  The one module of tmrld that may import pickle.

A pickle is a program: it names functions, and has them called.  Here a name gets nothing but a stand-in of ours, and only where the
caller has one for it: numpy's or torch's own functions are never reached, and anything else, `os.system` and `builtins.eval` like the
harmless, ends the reading before anything is called.  What the stand-ins are given they check themselves (`Admitted`, `plain_size`).

Before the first instruction runs, all of them are looked through: none may ask for more memory than the file itself has, and none may
build what a few bytes make endless, as tuples of tuples of the same tuples are for whoever hashes them.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from tmrld.errors import BadInput

Names = Mapping[tuple[str, str], "Admitted"]
"""What a pickle may name: (module, name) → what it gets for it."""

MAX_INSTRUCTIONS = 5_000_000
"""A line of a hundred kilometres as lists of numbers has fewer; more would be read for minutes."""

_NOT_USED = frozenset({"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"})
"""Instructions for what is registered or sent apart."""
_NOT_NEEDED = frozenset({"DUP", "POP", "POP_MARK", "EMPTY_SET", "ADDITEMS", "FROZENSET"})
"""Instructions for sets, and for values that contain themselves."""
_MAY_BE_SHARED = re.compile(
    "GLOBAL|STACK_GLOBAL|REDUCE|LIST|DICT|EMPTY_(LIST|DICT|TUPLE)|NONE|INT|BININT[12]?|LONG[14]?|(BIN)?FLOAT|(SHORT_)?BINBYTES"
    "|(SHORT_|BIN|SHORT_BIN)?(STRING|UNICODE)|(BINBYTES|BINUNICODE|BYTEARRAY)8"
)
"""Instructions that make a value which may be in several places: it is no tuple, and so no part of a key."""


class Admitted:
    """Stands in for a function or a class that a pickle may name.  Nothing in a pickle can alter it."""

    __slots__ = ("_does",)

    def __init__(self, does: Callable[..., Any]) -> None:
        self._does = does

    def __call__(self, *arguments: Any) -> Any:
        """What the pickle gets for calling it."""
        return self._does(*arguments)

    def __setstate__(self, _state: Any) -> None:
        """Pickle asks for this where it would change an object's attributes."""
        raise BadInput("it alters what it was given")


def no_call(*_arguments: Any) -> Any:
    """For what is only handed on: calling it is an error."""
    raise BadInput("it calls what is only to be handed on")


def loaded(data: bytes, what: str, names: Names, storage: Callable[[Any], Any] | None = None) -> Any:
    """The value in a pickle that names nothing but ``names``.

    ``what`` names it in errors, as in "the file reward.pkl"; ``storage`` is called for what lies outside of the pickle.  Raises
    BadInput, with the first name that is not admitted, and for everything else that is wrong with it.
    """
    unpickler = _Unpickler(data, what, names, storage)
    try:
        _look_through(data)
        return unpickler.load()
    except BadInput as error:
        if error.args[0].startswith(what):
            raise
        raise BadInput(f"{what} cannot be read: {error}.  Use the file as TMRL has written it") from None
    except Exception as error:  # of a damaged pickle, anything may come
        raise BadInput(f"{what} is no pickle that TMRL has written, or damaged ({error}): copy it again") from error


def plain_size(value: Any, highest: int) -> int:
    """``value``, if it is a whole number from 0 to ``highest``.  Raises BadInput."""
    if type(value) is not int or not 0 <= value <= highest:
        raise BadInput(f"it tells {shown(value)} where a number up to {highest:,} belongs")
    return value


def shown(value: Any) -> str:
    """A value of a pickle in a sentence, short, whatever is in it: a list of lists of the same lists may have no end."""
    return f"{reprlib.repr(value):.40}"


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, what: str, names: Names, storage: Callable[[Any], Any] | None) -> None:
        super().__init__(io.BytesIO(data))
        self._what = what
        self._names = names
        self._storage = storage

    def find_class(self, module: str, name: str, /) -> Any:
        """Our stand-in for a name.  Nothing is imported."""
        try:
            return self._names[module, name]
        except KeyError:
            raise BadInput(
                f"{self._what} asks for {f'{module}.{name}'!r:.100}, which is no part of what TMRL saves: reading on could run a "
                "program that somebody has hidden in it, so it was not read.  Delete it, unless you know where it came from"
            ) from None

    def persistent_load(self, pid: Any, /) -> Any:
        """What lies outside of the pickle."""
        if self._storage is None:
            raise BadInput("it refers to data outside of it")
        return self._storage(pid)


def _look_through(data: bytes) -> None:
    """Raise BadInput for instructions that would take far more memory than the file, or more time than anybody has.

    Lengths that reach beyond the end are noticed by `pickletools`, which raises ValueError.
    """
    made_by: dict[int, str] = {}
    before = ""
    for count, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        name = instruction.name
        if count >= MAX_INSTRUCTIONS:
            raise BadInput(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
        if name in _NOT_USED or name in _NOT_NEEDED:
            raise BadInput(f"it has the instruction {name}, which TMRL does not use")
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            number = len(made_by) if name == "MEMOIZE" else int(argument or 0)
            if number > len(data):
                raise BadInput("it numbers a value beyond any that it has")
            made_by[number] = before
        if name in ("GET", "BINGET", "LONG_BINGET") and not _MAY_BE_SHARED.fullmatch(made_by.get(int(argument or 0), "")):
            raise BadInput("it has the same tuple in several places")
        before = name
