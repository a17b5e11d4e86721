"""How an algorithm is found by its name."""

from __future__ import annotations

import pytest

from tests.rl.experience import point_spec
from tmrld.errors import BadInput
from tmrld.rl.algorithm import Algorithm, make_algorithm
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.sac import SAC


class Own(SAC):
    """An algorithm of somebody's own."""


def make(name: str) -> Algorithm:
    return make_algorithm(AlgorithmOptions(name=name), NetworkOptions(hidden=(4,)), point_spec(), seed=0)


def test_sac_is_known_by_its_name() -> None:
    assert isinstance(make("sac"), SAC)


def test_an_own_algorithm_is_named_by_module_and_attribute() -> None:
    assert isinstance(make(f"{__name__}:Own"), Own)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("no_such_module:Thing", "cannot be imported"),
        (f"{__name__}:Ovn", "did you mean 'Own'"),
    ],
)
def test_a_name_that_leads_nowhere_is_explained(name: str, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        make(name)


class Unfinished:
    """Has the constructor and nothing else."""

    def __init__(self, *args: object) -> None:
        self.options = args[0]
        self.updates = 0


def test_a_class_without_the_methods_is_told_which() -> None:
    with pytest.raises(BadInput, match="lacks update, stats, policy_tensors, state, restore, set_options"):
        make(f"{__name__}:Unfinished")
