"""Which device a trainer computes on."""

from __future__ import annotations

import pytest
import torch

from tmrld.errors import BadInput
from tmrld.trainer.device import Seen, choose, look, spoken

CARDS = Seen(cards=("RTX 4090", "RTX 3060"))
APPLE = Seen(mps=True)


@pytest.mark.parametrize(
    ("asked", "seen", "device", "words"),
    [
        ("auto", CARDS, "cuda", "cuda (RTX 4090)"),
        ("auto", CARDS._replace(mps=True), "cuda", "cuda (RTX 4090)"),
        ("auto", APPLE, "mps", "Apple's GPU"),
        ("auto", Seen(), "cpu", "the processor"),
        ("cpu", CARDS, "cpu", "the processor"),
        ("cuda", CARDS, "cuda", "cuda (RTX 4090)"),
        ("cuda:1", CARDS, "cuda:1", "cuda:1 (RTX 3060)"),
        ("mps", APPLE, "mps", "Apple's GPU"),
    ],
)
def test_a_device_that_is_there_is_chosen(asked: str, seen: Seen, device: str, words: str) -> None:
    assert choose(asked, seen) == device
    assert spoken(device, seen) == words


@pytest.mark.parametrize(
    ("asked", "seen", "there", "lacking"),
    [
        ("cuda", Seen(), r"this machine torch sees no card, only the processor \(cpu\): set", "a build of torch for CUDA"),
        ("cuda", APPLE, "torch sees cpu and mps: set", "a build of torch for CUDA"),
        ("cuda:2", CARDS, r"torch sees cpu and cuda:0 \(RTX 4090\) and cuda:1 \(RTX 3060\): set", "card's driver"),
        ("mps", CARDS, r"cuda:1 \(RTX 3060\): set", "macOS 14"),
    ],
)
def test_a_device_that_is_not_there_is_never_replaced_by_another(asked: str, seen: Seen, there: str, lacking: str) -> None:
    with pytest.raises(BadInput, match=f"trainer.device is '{asked}', and .*{there}.* or to 'auto', .*{lacking}"):
        choose(asked, seen)


def test_what_torch_sees_here_is_what_torch_says() -> None:
    seen = look()
    assert len(seen.cards) == (torch.cuda.device_count() if torch.cuda.is_available() else 0)
    assert seen.mps == torch.backends.mps.is_available()
