"""Who is seated where."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tmrld.relay.roster import Roster, Seat


def roster_of(*nodes: str) -> Roster[str]:
    """Members are called as their nodes; a "t" at the beginning makes a trainer."""
    roster: Roster[str] = Roster()
    for node in nodes:
        roster.admit(node, "trainer" if node.startswith("t") else "worker", node)
    return roster


def runs(roster: Roster[str], *active: str) -> dict[str, str]:
    return {member: seat.run for member, seat in roster.seats(active)}


def evaluators(roster: Roster[str], *active: str) -> list[str]:
    return [member for member, seat in roster.seats(active) if seat.evaluates]


def test_nobody_works_while_no_run_is_active() -> None:
    assert roster_of("t1", "w1").seats([]) == [("t1", Seat()), ("w1", Seat())]


def test_the_only_run_gets_everybody_but_a_second_trainer_which_waits() -> None:
    assert runs(roster_of("t1", "w1", "t2", "w2"), "a") == {"t1": "a", "w1": "a", "t2": "", "w2": "a"}


def test_the_trainer_that_waits_takes_over_when_the_first_one_leaves() -> None:
    roster = roster_of("t1", "t2")
    assert runs(roster, "a") == {"t1": "a", "t2": ""}
    roster.leave("t1")
    assert runs(roster, "a") == {"t2": "a"}


def test_each_run_has_a_trainer_as_long_as_there_are_enough_and_the_oldest_run_comes_first() -> None:
    assert runs(roster_of("t1", "t2"), "a", "b", "c") == {"t1": "a", "t2": "b"}


def test_a_trainer_keeps_its_run_when_an_older_one_ends() -> None:
    roster = roster_of("t1", "t2")
    assert runs(roster, "a", "b") == {"t1": "a", "t2": "b"}
    assert runs(roster, "b") == {"t1": "", "t2": "b"}
    assert runs(roster, "b", "c") == {"t1": "c", "t2": "b"}


def test_workers_are_shared_out_evenly() -> None:
    assert runs(roster_of("w1", "w2", "w3", "w4", "w5"), "a", "b") == {"w1": "a", "w2": "b", "w3": "a", "w4": "b", "w5": "a"}


def test_a_worker_that_leaves_moves_as_few_of_the_others_as_possible() -> None:
    roster = roster_of("w1", "w2", "w3", "w4")
    before = runs(roster, "a", "b")
    roster.leave("w1")
    assert runs(roster, "a", "b") == {worker: run for worker, run in before.items() if worker != "w1"}
    roster.leave("w3")
    assert sorted(runs(roster, "a", "b").values()) == ["a", "b"]


def test_a_new_run_gets_its_share_of_the_workers() -> None:
    roster = roster_of("w1", "w2", "w3")
    assert runs(roster, "a") == {"w1": "a", "w2": "a", "w3": "a"}
    assert runs(roster, "a", "b") == {"w1": "a", "w2": "a", "w3": "b"}


def test_the_first_worker_of_each_run_drives_its_evaluation_and_no_trainer_does() -> None:
    roster = roster_of("t1", "w1", "w2", "w3")
    assert evaluators(roster, "a", "b") == ["w1", "w2"]
    assert evaluators(roster) == []


def test_evaluation_passes_on_when_its_worker_leaves() -> None:
    roster = roster_of("w1", "w2")
    assert evaluators(roster, "a") == ["w1"]
    roster.leave("w1")
    assert evaluators(roster, "a") == ["w2"]


def test_a_node_that_comes_back_replaces_its_old_link_and_keeps_its_seat() -> None:
    roster = roster_of("t1", "t2")
    assert runs(roster, "a") == {"t1": "a", "t2": ""}
    assert roster.admit("t1", "trainer", "t1 again") == "t1"
    assert runs(roster, "a") == {"t1 again": "a", "t2": ""}
    assert roster.leave("t1") is False
    assert roster.leave("t1 again") is True


def test_a_worker_and_a_trainer_may_have_the_same_name() -> None:
    roster: Roster[str] = Roster()
    assert roster.admit("pc", "worker", "its worker") is None
    assert roster.admit("pc", "trainer", "its trainer") is None
    assert roster.members() == ["its worker", "its trainer"]


NODES = st.sampled_from(["t1", "t2", "t3", "w1", "w2", "w3", "w4", "w5"])


@given(st.lists(st.one_of(NODES, st.sets(st.sampled_from("abcd"))), max_size=30))
def test_whatever_comes_and_goes_seats_are_fair(events: list[str | set[str]]) -> None:
    """A node comes, or leaves if it is there; or other runs are active."""
    roster: Roster[str] = Roster()
    active: list[str] = []
    for event in events:
        if isinstance(event, set):
            active = sorted(event)
        elif not roster.leave(event):
            roster.admit(event, "trainer" if event.startswith("t") else "worker", event)
        seats = dict(roster.seats(active))
        assert list(roster.seats(active)) == list(seats.items()), "asking twice changes nothing"
        trainers = [seat.run for node, seat in seats.items() if node.startswith("t")]
        workers = [seat.run for node, seat in seats.items() if node.startswith("w")]
        assert sorted(filter(None, trainers)) == sorted(set(filter(None, trainers)))
        assert len(list(filter(None, trainers))) == min(len(trainers), len(active))
        counts = [workers.count(run) for run in active]
        assert sum(counts) == (len(workers) if active else 0)
        assert max(counts, default=0) - min(counts, default=0) <= 1
        assert sum(seat.evaluates for seat in seats.values()) == sum(count > 0 for count in counts)


# Nodes that a person has assigned


def seated(roster: Roster[str], assigned: dict[str, str], *active: str) -> dict[str, str]:
    return {member: seat.run for member, seat in roster.seats(active, assigned)}


def test_an_assigned_worker_stays_with_its_run_however_the_others_are_shared_out() -> None:
    roster = roster_of("w1", "w2", "w3")
    assert seated(roster, {"w1": "a", "w2": "a", "w3": "a"}, "a", "b") == {"w1": "a", "w2": "a", "w3": "a"}
    assert seated(roster, {"w1": "a"}, "a", "b") == {"w1": "a", "w2": "a", "w3": "b"}


def test_an_assigned_node_waits_while_its_run_is_not_active() -> None:
    assert seated(roster_of("t1", "w1", "w2"), {"t1": "b", "w1": "b"}, "a") == {"t1": "", "w1": "", "w2": "a"}


def test_an_assigned_trainer_takes_the_place_of_one_that_is_not() -> None:
    roster = roster_of("t1", "t2")
    assert seated(roster, {}, "a", "b") == {"t1": "a", "t2": "b"}
    assert seated(roster, {"t2": "a"}, "a", "b") == {"t1": "b", "t2": "a"}
    assert seated(roster, {"t1": "a", "t2": "a"}, "a", "b") == {"t1": "a", "t2": ""}


def test_a_node_that_is_left_to_the_relay_again_keeps_its_seat() -> None:
    roster = roster_of("t1", "t2")
    seated(roster, {"t2": "a"}, "a", "b")
    assert seated(roster, {}, "a", "b") == {"t1": "b", "t2": "a"}


def test_trainers_without_a_seat_say_what_they_could_do() -> None:
    roster = roster_of("t1", "t2", "t3", "w1")
    assigned = {"t2": "b"}
    seated(roster, assigned, "a")
    assert roster.idle_trainers(assigned) == ["b", None]


@given(st.dictionaries(NODES, st.sampled_from("abc")), st.lists(st.tuples(NODES, st.sets(st.sampled_from("abc"))), max_size=20))
def test_assigned_nodes_are_where_they_should_be_and_the_rest_is_fair(
    assigned: dict[str, str], events: list[tuple[str, set[str]]]
) -> None:
    roster: Roster[str] = Roster()
    for node, runs_now in events:
        active = sorted(runs_now)
        if not roster.leave(node):
            roster.admit(node, "trainer" if node.startswith("t") else "worker", node)
        seats = seated(roster, assigned, *active)
        assert seated(roster, assigned, *active) == seats, "asking twice changes nothing"
        trained = [run for node, run in seats.items() if node.startswith("t") and run]
        assert len(trained) == len(set(trained))
        for node, run in seats.items():
            if node in assigned:
                assert run in ("", assigned[node])
                assert node.startswith("t") or run or assigned[node] not in active
        idle = [node for node, run in seats.items() if node.startswith("t") and not run and node not in assigned]
        assert not idle or set(trained) == set(active)
