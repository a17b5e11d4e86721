"""What keeps people from driving: what they saw, and the code of the diagnosis that tells them why.

What players of TMRL asked about, mostly.  `Known.never` says instead why something cannot happen here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A trouble: what people see (``symptom``), and the ``codes`` of the diagnoses that explain it, or why it is ``never`` seen."""

    symptom: str
    codes: tuple[str, ...] = ()
    never: str = ""


# Of the machine and the network

MACHINE: tuple[Known, ...] = ()

# Of the game, its window, the plugin and the controls

GAME: tuple[Known, ...] = ()

KNOWN: tuple[Known, ...] = (*MACHINE, *GAME)
