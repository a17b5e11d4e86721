"""The port on which replays are asked for: looked at without a call, for a call saves one."""

from __future__ import annotations

from collections.abc import Iterator

from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.installation import INSTALL, LOAD
from tmrld.doctor.patient import Evidence
from tmrld.doctor.telemetry import is_here, who_has

AREA = "replays"


class Replays(Evidence):
    """``wanted`` is `trackmania.save_replays`; ``listener`` is who listens there, and ``known`` whether that can be told."""

    wanted: bool
    host: str
    port: int
    known: bool = False
    listener: str = ""


def gather_replays(host: str, port: int, *, wanted: bool) -> Replays:
    """Look who listens, if replays are wanted."""
    if not wanted or not is_here(host):
        return Replays(wanted=wanted, host=host, port=port)
    return Replays(wanted=wanted, host=host, port=port, known=True, listener=who_has(port)[0])


CODES = frozenset({"replay-port-closed", "replay-port-untried"})


def judge_replays(seen: Replays) -> Iterator[Diagnosis]:
    """Nothing where no replays are wanted."""
    where = f"{seen.host}:{seen.port}"
    if not seen.wanted:
        return
    if not seen.known:
        yield note(
            AREA,
            "port",
            f"whether a plugin listens at {where} is not seen from here, and a call would save a replay",
            "drive an episode, and look whether the game saves one",
            code="replay-port-untried",
        )
    elif not seen.listener:
        yield wrong(
            AREA,
            "port",
            f"trackmania.save_replays is on, and nothing listens at {where}",
            f"`{INSTALL}`, then {LOAD}; or set trackmania.save_replays = false",
            code="replay-port-closed",
        )
    else:
        yield ok(AREA, "port", f"{seen.listener} listens at {where} for who wants a replay")
