"""As much of torch as a trainer's engine touches whose algorithm learns nothing: the real one takes seconds to import, every time."""

from __future__ import annotations

from types import SimpleNamespace


class Tensor:
    """There are none."""


class device:  # noqa: N801 - as torch has it
    """Where they would be."""

    def __init__(self, name: str) -> None:
        self.type = name


def set_num_threads(_threads: int) -> None:
    """There is nothing that computes."""


def set_flush_denormal(_on: bool) -> bool:
    """There is nothing that computes."""
    return True


cuda = SimpleNamespace(is_available=lambda: False)
backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False))
