"""Where a trainer computes: what is asked for, against what torch sees on this machine.  Imports torch only when it looks."""

from __future__ import annotations

from typing import NamedTuple

from tmrld.errors import BadInput

AUTO = "auto"


class Seen(NamedTuple):
    """What torch can compute on besides the processor: the cards that CUDA counts, by name, and Apple's GPU."""

    cards: tuple[str, ...] = ()
    mps: bool = False

    def __str__(self) -> str:
        found = [f"{_cuda(number)} ({card})" for number, card in enumerate(self.cards)]
        found += ["mps"] if self.mps else []
        return " and ".join(["cpu", *found]) if found else "no card, only the processor (cpu)"


def look() -> Seen:
    """Ask torch.  That starts CUDA, which takes a second."""
    import torch

    cards = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return Seen(tuple(torch.cuda.get_device_name(number) for number in cards), torch.backends.mps.is_available())


def choose(asked: str, seen: Seen) -> str:
    """The device that ``trainer.device`` means, as torch calls it: cpu, cuda, cuda:1 or mps.

    ``auto`` is the first card, or else Apple's GPU, or else the processor; what is asked for by name is that or nothing.  Raises
    BadInput that says what there is instead.
    """
    kind, _, number = asked.partition(":")
    if asked == AUTO:
        return "cuda" if seen.cards else "mps" if seen.mps else "cpu"
    if (kind == "cuda" and int(number or 0) >= len(seen.cards)) or (kind == "mps" and not seen.mps):
        another = {"cuda": "a build of torch for CUDA and the card's driver", "mps": "an Apple chip and macOS 14 or newer"}[
            kind
        ]
        raise BadInput(
            f"trainer.device is {asked!r}, and on this machine torch sees {seen}: set it to what there is, or to 'auto', or give "
            f"it {another} (`tmrld doctor` looks at that)"
        )
    return asked


def spoken(device: str, seen: Seen) -> str:
    """The chosen device in words."""
    kind, _, number = device.partition(":")
    names = {"cpu": "the processor", "mps": "Apple's GPU"}
    return names.get(kind) or f"{device} ({seen.cards[int(number or 0)]})"


def _cuda(number: int) -> str:
    return f"cuda:{number}"
