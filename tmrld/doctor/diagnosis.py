"""What the doctor says: one diagnosis for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "note", "wrong"]
"""ok: as it should be; note: works, but should be known; wrong: keeps something from working that these settings ask for."""
STATES: tuple[State, ...] = ("ok", "note", "wrong")


@dataclass(frozen=True)
class Diagnosis:
    """What one look found.

    ``area`` groups what belongs together, as in "network"; ``check`` names the look in a word or three, as in "free space".
    ``text`` is a sentence with the value that was found and what was expected; ``mend`` says what to do, down to the command, and is
    "" where there is nothing to do.  ``code`` names the cause for good, as in "plugin-port-closed"; "" where all is well.
    """

    area: str
    check: str
    state: State
    text: str
    mend: str = ""
    code: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def ok(area: str, check: str, text: str) -> Diagnosis:
    """All is well."""
    return Diagnosis(area, check, "ok", text)


def note(area: str, check: str, text: str, mend: str = "", *, code: str) -> Diagnosis:
    """It works, but should be known."""
    return Diagnosis(area, check, "note", text, mend, code)


def wrong(area: str, check: str, text: str, mend: str, *, code: str) -> Diagnosis:
    """Something does not work; ``mend`` says what to do."""
    return Diagnosis(area, check, "wrong", text, mend, code)


def worst(found: Iterable[Diagnosis]) -> State:
    """The worst state among them; "ok" where there are none."""
    return max((each.state for each in found), key=STATES.index, default="ok")
