"""What the header of a message must look like, made once per dataclass from its annotations.

A `Form` holds one check per field.  A check returns nothing; it raises `Misfit`, which the codec turns into `ProtocolError` for
what came in and `BadInput` for what was to go out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from types import NoneType
from typing import Any, get_type_hints

from tmrld.protocol.messages import MAX_TRACK_NAME, Plain

INVALID, TOO_BIG = 1007, 1009
"""Close codes (RFC 6455, section 7.4.1): a value that does not fit its type; a size over its limit."""

MAX_DEPTH = 16
"""How deep lists and maps may be nested in a field."""
MAX_ELEMENTS = 8192
"""Of one list or map.  msgpack allots a list when it reads its length, and goes 1024 lists deep: so a few bytes can claim 64 MiB
at most."""

_INT64 = 2**63
_LEAST = {"seed": -_INT64, "number": 0, "first_step": 0, "steps": 0, "lead": 1, "raw_bytes": 0}
"""Smallest value of an integer field by its name; of all others it is -1, which stands for "none"."""
_MOST = {"steps": 2**31 - 1, "lead": 2**31 - 1}
"""Largest value of an integer field by its name; of all others it is that of 64 bits.  Steps are summed up for years."""
_LONGEST = {"track": MAX_TRACK_NAME}
"""Most characters of a text field by its name, where it is kept for ever, and nothing else bounds it."""
_JSON = frozenset({"machine", "values", "config", "spec", "beams", "action", "lines", "files", "columns", "state"})
"""Fields that are shown to people, or stored as text: no bytes in them."""

Check = Callable[[Any], None]


class Misfit(Exception):
    """A value is not as it has to be.  ``path`` leads to it from the outside in; ``code`` is the close code to use."""

    def __init__(self, says: str, code: int = INVALID) -> None:
        self.path: list[str] = []
        self.says = says
        self.code = code

    def __str__(self) -> str:
        return f"{'.'.join(self.path)} {self.says}"

    def under(self, *path: str) -> Misfit:
        """This misfit, seen from further out."""
        self.path[:0] = path
        return self


def unlike(expected: str, value: object, code: int = INVALID) -> Misfit:
    """The usual misfit: names the value, shortened, and what was expected instead."""
    shown = repr(value)
    if len(shown) > 40:
        shown = f"{shown[:36]}… ({type(value).__name__})"
    return Misfit(f"is {shown}, expected {expected}", code)


class Form:
    """What the fields of one dataclass must look like on the wire: exactly these, each of its type.

    ``leave_out`` names fields that travel in another way.
    """

    def __init__(self, dataclass: type[Any], leave_out: frozenset[str] = frozenset()) -> None:
        hints = get_type_hints(dataclass)
        names = [field.name for field in fields(dataclass) if field.name not in leave_out]
        self._checks = tuple((name, _check_for(name, hints[name])) for name in names)
        self._names = frozenset(names)

    def check(self, header: Any) -> None:
        """Raises `Misfit` with the path from the field inwards."""
        if not isinstance(header, dict):
            raise unlike("a map", header).under("header")
        if header.keys() != self._names:
            for name in self._names - header.keys():
                raise Misfit("is missing").under(name)
            for name in header.keys() - self._names:
                raise Misfit("is no field of it").under(str(name)[:40])
        for name, check in self._checks:
            try:
                check(header[name])
            except Misfit as misfit:
                raise misfit.under(name) from None


def _check_integer(least: int, most: int = _INT64 - 1) -> Check:
    expected = f"an integer of at least {least}" if least > -_INT64 else "an integer of 64 bits"
    if most < _INT64 - 1:
        expected += f" and at most {most}"

    def check(value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise unlike(expected, value)

    return check


def _check_instance(expected: str, *types: type) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise unlike(expected, value)

    return check


def _check_text(most: int) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, str) or len(value) > most:
            raise unlike(f"text of at most {most} characters", value)

    return check


def _check_number(value: Any) -> None:
    if isinstance(value, int):
        _check_integer(-_INT64)(value)
    elif not isinstance(value, float):
        raise unlike("a number", value)


def _check_optional(inner: Check) -> Check:
    def check(value: Any) -> None:
        if value is not None:
            inner(value)

    return check


_LEAVES: frozenset[type] = frozenset({str, bytes, bool, float, NoneType})
_TEXT_LEAVES: frozenset[type] = _LEAVES - {bytes}


def _check_plain(value: Any, leaves: frozenset[type] = _LEAVES, depth: int = 1) -> None:
    """JSON-like all the way down: no value of another library's types, no integer over 64 bits, not too deep."""
    if type(value) in leaves:
        return
    if isinstance(value, dict):
        _check_size(value, depth)
        for key, element in value.items():
            if not isinstance(key, str):
                raise unlike("text as a key", key)
            kind = type(element)
            if kind not in leaves and not (kind is int and -_INT64 <= element < _INT64):
                _check_element(element, key, leaves, depth)
    elif isinstance(value, list | tuple):
        _check_size(value, depth)
        for index, element in enumerate(value):
            kind = type(element)
            if kind not in leaves and not (kind is int and -_INT64 <= element < _INT64):  # seen at once, as most are
                _check_element(element, index, leaves, depth)
    elif isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            raise unlike("an integer of 64 bits", value)
    elif not isinstance(value, str | float) and not (isinstance(value, bytes) and bytes in leaves):
        raise unlike(f"None, bool, int, float, str,{' bytes,' if bytes in leaves else ''} a list or a map", value)


def _check_size(value: dict[Any, Any] | list[Any] | tuple[Any, ...], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Misfit(f"is nested deeper than {MAX_DEPTH} levels")
    if len(value) > MAX_ELEMENTS:
        raise Misfit(f"has {len(value)} elements, at most {MAX_ELEMENTS} are allowed", TOO_BIG)


def _check_element(value: Any, key: object, leaves: frozenset[type], depth: int) -> None:
    try:
        _check_plain(value, leaves, depth + 1)
    except Misfit as misfit:
        raise misfit.under(str(key)) from None


def _check_plain_map(leaves: frozenset[type]) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, dict):
            raise unlike("a map", value)
        _check_plain(value, leaves)

    return check


def _check_plain_list(leaves: frozenset[type]) -> Check:
    def check(value: Any) -> None:
        if not isinstance(value, list | tuple):
            raise unlike("a list", value)
        _check_plain(value, leaves)

    return check


def _check_list_of(item: Check) -> Check:
    whole = _check_plain_list(_LEAVES)

    def check(value: Any) -> None:
        whole(value)
        for index, element in enumerate(value):
            try:
                item(element)
            except Misfit as misfit:
                raise misfit.under(str(index)) from None

    return check


_CHECKS: dict[Any, Check] = {
    bool: _check_instance("true or false", bool),
    float: _check_number,
    str: _check_instance("text", str),
    Plain: _check_plain_map(_LEAVES),
    list[Any]: _check_plain_list(_LEAVES),
    list[int]: _check_list_of(_check_integer(-_INT64)),
    list[str]: _check_list_of(_check_instance("text", str)),
    Plain | None: _check_optional(_check_plain_map(_LEAVES)),
    float | None: _check_optional(_check_number),
}


def _check_for(name: str, annotation: Any) -> Check:
    integer = _check_integer(_LEAST.get(name, -1), _MOST.get(name, _INT64 - 1))
    if annotation is int:
        return integer
    if annotation == int | None:
        return _check_optional(integer)
    if annotation is str and name in _LONGEST:
        return _check_text(_LONGEST[name])
    if name in _JSON and annotation == Plain:
        return _check_plain_map(_TEXT_LEAVES)
    if name in _JSON and annotation == list[Any]:
        return _check_plain_list(_TEXT_LEAVES)
    return _CHECKS[annotation]
