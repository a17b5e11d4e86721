from hypothesis import given
from hypothesis import strategies as st

from tmrld.engines.backoff import Backoff


def test_the_wait_doubles_up_to_its_cap() -> None:
    backoff = Backoff(first_s=0.5, cap_s=30.0, healthy_s=60.0)
    assert [backoff.after(1.0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_long_life_makes_up_for_earlier_crashes() -> None:
    backoff = Backoff(first_s=0.5, cap_s=30.0, healthy_s=60.0)
    assert [backoff.after(lifetime) for lifetime in (1.0, 59.9, 60.0, 1.0)] == [0.5, 1.0, 0.5, 1.0]
    assert backoff.crashes == 2


@given(st.lists(st.floats(0, 59), max_size=2000))
def test_crashes_in_a_row_never_wait_less_nor_longer_than_the_cap(lifetimes: list[float]) -> None:
    backoff = Backoff(first_s=0.5, cap_s=30.0, healthy_s=60.0)
    waits = [backoff.after(lifetime) for lifetime in lifetimes]
    assert waits == sorted(waits)
    assert all(0.5 <= wait <= 30.0 for wait in waits)
