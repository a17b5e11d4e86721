"""Roads: their centre line, width and height, the crossings, and the ground that is painted from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmrld.envs.sim import painting
from tmrld.envs.sim.bends import bend
from tmrld.envs.sim.car import GRAVITY, GRIP, TOP_SPEEDS
from tmrld.envs.sim.figures import figures, sketch
from tmrld.envs.sim.generator import generated
from tmrld.envs.sim.ground import BORDER, GRASS_LIGHT, TILE
from tmrld.envs.sim.painting import ground_of
from tmrld.envs.sim.track import BORDER_M, BRIDGE_M, Arc, Gate, Pose, Straight, Track
from tmrld.envs.sim.tracks import BLUE, BUNDLED, DEFAULT, GREEN, HELD_OUT, LONG, SHORT, WHITE, named
from tmrld.errors import WorldError

TRACKS = list(BUNDLED.values())
EIGHT = Track("eight", (Straight(80), Arc(40, 270), Straight(120)), width=12.0)
"""Crosses itself at a right angle, 40 m and 268 m after the start."""


def test_the_benchmarks_tracks_are_worth_learning() -> None:
    for track in (DEFAULT, LONG):
        bends = [segment for segment in track.segments if isinstance(segment, Arc)]
        limits = [math.sqrt(GRIP * GRAVITY * bend.radius) for bend in bends]

        assert track.length >= 600
        assert sum(bend.degrees > 30 for bend in bends) >= 3
        assert sum(bend.degrees < -30 for bend in bends) >= 3
        assert len(bends) >= 8
        assert sum(limit < TOP_SPEEDS[-1] / 2 for limit in limits) >= 2


def test_each_track_is_what_its_description_says() -> None:
    found = {name: figures(track) for name, track in BUNDLED.items()}

    assert 250 < found["short"].length_m < 350
    assert 1900 < found["long"].length_m < 2100
    assert (found["white"].tightest_radius_m, found["white"].crossings) == (75.0, 0)
    assert (found["green"].narrowest_m, found["green"].widest_m) == (13.0, 16.0)
    assert found["blue"].crossings == 2
    assert found["default"].corners == 8


@pytest.mark.parametrize("track", TRACKS, ids=list(BUNDLED))
def test_the_line_runs_from_start_to_finish_in_tenths_of_a_metre(track: Track) -> None:
    gaps = np.linalg.norm(np.diff(track.line[:, [0, 2]], axis=0), axis=1)

    assert track.line[0].tolist() == [0, 0, 0]
    assert gaps == pytest.approx(np.full(len(gaps), 0.1), abs=0.001)
    assert len(gaps) == round(track.length * 10)
    finish = track.pose(track.length)
    assert track.line[-1] == pytest.approx([finish.x, track.height(track.length), finish.z])


@pytest.mark.parametrize("track", [*TRACKS, EIGHT], ids=lambda track: track.name)
def test_two_legs_of_a_track_never_touch_but_at_its_bridges(track: Track) -> None:
    s = np.arange(0.0, track.length, 2.0)
    x, z, _ = track.centre(s)
    apart = np.hypot(x[:, None] - x, z[:, None] - z)
    apart[np.abs(s[:, None] - s) < 60] = np.inf
    for crossing in track.crossings:
        below, above = np.abs(s - crossing.below) < 40, np.abs(s - crossing.above) < 40
        apart[below[:, None] & above] = np.inf
        apart[above[:, None] & below] = np.inf

    half = track.half_width(s)
    assert (apart > half[:, None] + half + 2 * BORDER_M).all()


@pytest.mark.parametrize("track", [*TRACKS, EIGHT], ids=lambda track: track.name)
def test_many_places_at_once_are_those_of_one_by_one(track: Track) -> None:
    s = np.linspace(-20.0, track.length + 40.0, 97)
    poses = [track.pose(place) for place in s.tolist()]

    assert np.stack(track.centre(s)) == pytest.approx(np.array([(pose.x, pose.z, pose.heading) for pose in poses]).T)
    assert track.half_width(s).tolist() == [track.half_width(place) for place in s.tolist()]
    assert track.curvature(s).tolist() == [track.curvature(place) for place in s.tolist()]
    assert track.height(s).tolist() == [track.height(place) for place in s.tolist()]
    assert track.deck(s).tolist() == [track.deck(place) for place in s.tolist()]


def test_the_width_changes_steadily_between_its_places() -> None:
    assert [GREEN.half_width(s) for s in (-10.0, 90.0, 115.0, 140.0, 300.0, 2000.0)] == [8.0, 8.0, 7.25, 6.5, 6.5, 6.5]
    assert GREEN.gates[-1].half_width == 6.5 + BORDER_M + 2.0
    assert {gate.half_width for gate in DEFAULT.gates} == {8.0 + BORDER_M + 2.0}


def test_curvature_is_positive_to_the_right() -> None:
    assert [DEFAULT.curvature(s) for s in (-5.0, 30.0, 70.0, 140.0, 1000.0)] == [0.0, 0.0, 1 / 40, -1 / 36, 0.0]


def test_a_crossing_is_found_where_it_is() -> None:
    (crossing,) = EIGHT.crossings

    assert crossing.below == pytest.approx(40.0)
    assert crossing.above == pytest.approx(80 + 60 * math.pi + 40)
    assert crossing.angle == pytest.approx(math.pi / 2)
    assert EIGHT.decks == 2
    assert DEFAULT.crossings == ()
    assert DEFAULT.decks == 1


def test_what_comes_later_is_the_bridge() -> None:
    (crossing,) = EIGHT.crossings

    assert EIGHT.height(crossing.below) == 0.0
    assert EIGHT.height(crossing.above) == BRIDGE_M
    assert EIGHT.height(crossing.above - 40) == pytest.approx(EIGHT.height(crossing.above + 40))
    assert 0.0 < EIGHT.height(crossing.above + 40) < BRIDGE_M
    assert EIGHT.line[:, 1].max() == BRIDGE_M


def test_ramps_are_gentle() -> None:
    for track in (EIGHT, BLUE):
        heights = track.height(np.arange(0.0, track.length, 0.5))

        assert np.abs(np.diff(heights)).max() < 0.2 * 0.5
        assert np.abs(np.diff(heights, 2)).max() < 0.01


def test_the_deck_is_that_of_the_crossing_ahead() -> None:
    (crossing,) = EIGHT.crossings
    places = (-10.0, crossing.below, crossing.below + 20, crossing.above - 50, crossing.above, EIGHT.length + 50)

    assert [EIGHT.deck(s) for s in places] == [0, 0, 1, 1, 1, 1]
    assert not DEFAULT.deck(np.arange(0.0, 600.0)).any()


@given(radius=st.floats(10, 200), degrees=st.floats(1, 300), side=st.sampled_from([-1, 1]), easement=st.floats(0, 60))
def test_a_corner_turns_as_asked_and_tightens_in_small_steps(radius: float, degrees: float, side: int, easement: float) -> None:
    corner = bend(radius, side * degrees, easement)
    curvatures = [0.0, *(arc.curvature for arc in corner), 0.0]

    assert sum(arc.degrees for arc in corner) == pytest.approx(side * degrees)
    assert max(np.abs(curvatures)) == pytest.approx(1 / radius)
    if easement:
        assert np.abs(np.diff(curvatures)).max() <= 0.26 / radius


# Painting


@given(
    track=st.sampled_from([DEFAULT, EIGHT, BLUE, GREEN]),
    share=st.floats(0, 1),
    aside=st.floats(-1.5, 1.5),
)
@settings(max_examples=300, deadline=None)
def test_the_road_is_painted_where_it_is(track: Track, share: float, aside: float) -> None:
    s = -track.run_in + 1.0 + share * (track.length + track.run_in + track.run_out - 2.0)
    half = track.half_width(s)
    off = aside * (half + BORDER_M)
    ground = ground_of(track, track.deck(s))
    spot = track.pose(s).right(off)
    row, column = int((spot.z - ground.z0) * 10), int((spot.x - ground.x0) * 10)
    colour = ground.cells[row, column]

    if abs(off) < half - 0.1:
        assert colour not in (BORDER, 0, 1)
    elif half + 0.1 < abs(off) < half + BORDER_M - 0.1:
        assert colour == BORDER
    elif abs(off) > half + BORDER_M + 0.1 and all(not passage.start - 60 < s < passage.end + 60 for passage in track.passages):
        assert colour <= GRASS_LIGHT
    assert ground.on_road(spot.x, spot.z) is bool(colour > GRASS_LIGHT)


@pytest.mark.parametrize("road", [(DEFAULT, 0), (BLUE, 0), (BLUE, 1), (GREEN, 0)], ids=lambda road: f"{road[0].name}-{road[1]}")
def test_tiles_with_border_are_known(road: tuple[Track, int]) -> None:
    ground = ground_of(*road)
    rows, columns = ground.tiles.shape
    border = (ground.cells == BORDER).reshape(rows, TILE, columns, TILE).any(axis=(1, 3))

    assert (ground.tiles >= border).all()
    assert (ground.tiles != border).sum() < 300  # what a bridge or its underpass hides


def test_a_track_without_crossings_has_one_ground() -> None:
    assert ground_of(DEFAULT, 1) is ground_of(DEFAULT, 0)


def test_grounds_are_kept_while_they_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = [Track(f"straight {index}", (Straight(100),)) for index in range(3)]
    size = ground_of(tracks[0]).cells.nbytes
    monkeypatch.setattr(painting, "KEPT_BYTES", 2 * size)
    first, second = ground_of(tracks[0]), ground_of(tracks[1])

    assert ground_of(tracks[0]) is first
    ground_of(tracks[2])  # in place of the one that was not asked for the longest
    assert ground_of(tracks[0]) is first
    assert ground_of(tracks[1]) is not second


def test_a_road_that_leads_too_far_is_refused() -> None:
    with pytest.raises(WorldError, match="let its road turn back"):
        ground_of(Track("to the horizon", (Arc(20_000, 90),)))


def test_the_decks_differ_at_the_crossing_alone() -> None:
    below, above = ground_of(EIGHT, 0), ground_of(EIGHT, 1)
    rows, columns = np.nonzero(below.cells != above.cells)
    place = EIGHT.pose(EIGHT.crossings[0].below)

    assert len(rows) > 1000
    assert np.abs(rows * 0.1 + below.z0 - place.z).max() < 10
    assert np.abs(columns * 0.1 + below.x0 - place.x).max() < 10


# Gates and names


def test_a_gate_counts_when_it_is_crossed_forwards_within_its_width() -> None:
    gate = Gate(Pose(10.0, 20.0, math.pi / 2), 5.0, 100.0)  # facing along x

    assert gate.crossed(8.0, 20.0, 12.0, 20.0) == 0.5
    assert gate.crossed(9.0, 23.0, 13.0, 23.0) == pytest.approx(0.25)
    assert gate.crossed(12.0, 20.0, 8.0, 20.0) is None
    assert gate.crossed(8.0, 26.0, 12.0, 26.0) is None
    assert gate.crossed(8.0, 20.0, 9.0, 20.0) is None


def test_names_say_which_track() -> None:
    assert named("long") is LONG
    assert named("short") is SHORT
    assert named("white", seed=3) is WHITE
    assert named("easy-300-17") == generated("easy", 300, 17)
    assert named("easy-300-17", seed=5).name == "easy-300-17"
    assert named("easy-300-any", seed=17).name == f"easy-300-{HELD_OUT + 17}"
    assert named("easy-300-any").name == f"easy-300-{HELD_OUT}"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("defualt", "did you mean 'default'"),
        ("medium-650", "did you mean 'medium-650-any'"),
        ("nordschleife", "it brings short, default, long"),
        ("meduim-650-3", "did you mean 'medium'"),
        ("easy-100-3", "its length must be from 200 to 20,000 m"),
        ("easy-20001-any", "its length must be from 200 to 20,000 m"),
        ("easy-650--3", "as in medium-650-17"),
    ],
)
def test_a_track_that_cannot_be_is_answered_with_what_can(name: str, sentence: str) -> None:
    with pytest.raises(WorldError, match=sentence):
        named(name)


def test_a_sketch_shows_start_finish_and_bridges() -> None:
    drawn = sketch(EIGHT, 60, 20).splitlines()

    assert max(len(line) for line in drawn) <= 60
    assert len(drawn) <= 20
    assert [sum(line.count(sign) for line in drawn) for sign in "SF+"] == [1, 1, 1]


def test_a_straight_road_has_figures_too() -> None:
    found = figures(Track("drag strip", (Straight(400),)))

    assert (found.corners, found.tightest_radius_m, found.crossings) == (0, None, 0)
    assert sketch(Track("drag strip", (Straight(400),)), 20, 10).count("#") > 5
