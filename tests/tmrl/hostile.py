"""Pickles that do harm when they are loaded as usual, written as bytes: nothing here is ever run."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Calls:
    """Is pickled as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def harmful(hit: Path) -> dict[str, bytes]:
    """By what they do: make the file ``hit``, each in its own way, or ask for what could."""
    touch = f"touch {hit}"
    code = f"open({str(hit)!r}, 'w').close()"
    values: dict[str, Any] = {
        "os.system": Calls(os.system, touch),
        "builtins.eval": Calls(eval, code),
        "builtins.exec": Calls(exec, code),
        "subprocess": Calls(subprocess.check_call, ["touch", str(hit)]),
        "nested": {"weight": [1.0, (2.0, Calls(os.system, touch))]},
        "reduced twice": Calls(getattr, Calls(__import__, "os"), "system"),
        "open": Calls(open, str(hit), "w"),
    }
    found = {
        f"{name}, protocol {protocol}": pickle.dumps(value, protocol)
        for name, value in values.items()
        for protocol in (0, 2, 5)
    }
    line = touch.encode()
    return found | {
        "the old instruction INST": b"(S'" + line + b"'\nios\nsystem\n.",
        "the old instruction OBJ": b"(cos\nsystem\nS'" + line + b"'\no.",
        "a name with dots": b"\x80\x04\x8c\x05numpy\x8c\x13ctypeslib.os.system\x93\x8c" + bytes([len(line)]) + line + b"\x85R.",
        "a module of numpy's": b"\x80\x04\x8c\x0dnumpy.testing\x8c\x09runstring\x93\x8c\x011}\x86R.",
        "torch.load": b"\x80\x04\x8c\x05torch\x8c\x04load\x93\x8c\x011\x85R.",
        "an attribute of a stand-in": b"cnumpy\nndarray\n}S'_does'\ncos\nsystem\nsb.",
    }


def _shared(instructions: bytes, times: int) -> bytes:
    """Twice what was there before, again and again: a few bytes each; the last one has the number ``times``."""
    return b"\x80\x04)\x94" + b"".join(instructions % (number, number) + b"\x94" for number in range(times))


WRONG = {
    "nothing": b"",
    "text": b"hello",
    "a number": pickle.dumps(7),
    "cut short": pickle.dumps([[1.0, 2.0, 3.0]] * 50)[:-40],
    "an array cut short": b"cnumpy\nndarray\n.",
    "calls what is only handed on": b"cnumpy\nndarray\n(tR.",
    "numbers a value in the billions": b"\x80\x02]r\xff\xff\xff\x7f.",
    "tells a length beyond its end": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",
    "asks for what was registered": b"\x80\x02\x82\x01.",
    "refers to data outside": b"S'x'\nQ.",
    "alters a stand-in": b"cnumpy\nndarray\n}S'_does'\nI1\nsb.",
    "is endless when it is shown": _shared(b"](h%ch%ce", 60) + b"cnumpy\ndtype\nh<\x85R.",
    "is endless when it is hashed": _shared(b"h%ch%c\x86", 60) + b"}h<Ns.",
    "is endless, and numbers it later": _shared(b"h%ch%c\x86Nb", 60) + b"}h<Ns.",
    "is deep": b"(" * 50_000 + b"l" * 50_000 + b".",
}
"""Pickles that are not TMRL's, by what is wrong with them."""


def zipped(pickled: bytes, *, compression: int = zipfile.ZIP_STORED, **parts: bytes) -> bytes:
    """An archive as ``torch.save`` writes it, around this pickle; ``parts`` are storages by number (``_0`` …)."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", b"little")
        for name, data in parts.items():
            file.writestr(f"archive/data/{name.lstrip('_')}", data)
        file.writestr("archive/version", b"3\n")
    return archive.getvalue()
