from tmrld.security.crowd import Crowd, Place


class Bouncer:
    """Lets people in by name; ``within`` are those who were called in."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.within: list[str] = []

    def arrive(self, name: str, source: str | None = "a") -> Place | None:
        return self._crowd.arrive(source, lambda: self.within.append(name))


def test_who_comes_when_all_places_are_taken_waits_until_somebody_leaves() -> None:
    crowd = Crowd(most=2, most_of_source=2)
    bouncer = Bouncer(crowd)
    first, _, third, _ = [bouncer.arrive(name) for name in ("first", "second", "third", "fourth")]
    assert (bouncer.within, len(crowd), crowd.waiting) == (["first", "second"], 2, 2)
    assert first is not None
    first.leave()
    first.leave()
    assert (bouncer.within, len(crowd), crowd.waiting) == (["first", "second", "third"], 2, 1)
    assert third is not None
    assert third.within


def test_a_source_that_has_all_its_places_keeps_only_itself_waiting() -> None:
    bouncer = Bouncer(Crowd(most=10, most_of_source=2))
    for name in ("a1", "a2", "a3", "a4"):
        bouncer.arrive(name, "a")
    bouncer.arrive("b1", "b")
    assert bouncer.within == ["a1", "a2", "b1"]


def test_who_leaves_the_line_is_not_called_in() -> None:
    crowd = Crowd(most=1, most_of_source=1)
    bouncer = Bouncer(crowd)
    first, second, _ = [bouncer.arrive(name) for name in ("first", "second", "third")]
    assert first is not None
    assert second is not None
    second.leave()
    first.leave()
    assert bouncer.within == ["first", "third"]


def test_the_line_has_an_end_and_one_source_only_half_of_it() -> None:
    crowd = Crowd(most=1, most_of_source=1, most_waiting=4)
    bouncer = Bouncer(crowd)
    assert [bouncer.arrive("x", "a") is not None for _ in range(5)] == [True, True, True, False, False]
    assert [bouncer.arrive("x", "b") is not None for _ in range(3)] == [True, True, False]
    assert crowd.waiting == 4


def test_some_have_no_limit_of_their_own() -> None:
    crowd = Crowd(most=5, most_of_source=1)
    bouncer = Bouncer(crowd)
    for _ in range(6):
        bouncer.arrive("through the proxy", None)
    assert (len(crowd), crowd.waiting) == (5, 1)


def test_nothing_is_left_of_those_who_have_gone() -> None:
    crowd = Crowd(most=3, most_of_source=2, most_waiting=100)
    places = [crowd.arrive(str(number % 5), lambda: None) for number in range(50)]
    for place in places:
        assert place is not None
        place.leave()
    assert (len(crowd), crowd.waiting) == (0, 0)
    assert (crowd._within_of, crowd._waiting_of) == ({}, {})
