"""The stand-in's keys and gamepads: from numbers and bytes to pedals, wheel and presses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.envs.standin.evdev import (
    ABS_RZ,
    ABS_X,
    ABS_Z,
    BTN_EAST,
    BTN_SOUTH,
    EV_ABS,
    EV_KEY,
    EV_SYN,
    EVENT,
    SYN_DROPPED,
    SYN_REPORT,
    Axis,
    Decoder,
    EvdevPad,
)
from tmrld.envs.standin.inputs import NOTHING_HELD, Held, Keys, Press, strongest
from tmrld.errors import BadInput

UP, DOWN, LEFT, RIGHT = 82, 81, 80, 79
W, A, S, D = 26, 4, 22, 7


def event(kind: int, code: int, value: int) -> bytes:
    return EVENT.pack(1_700_000_000, 123_456, kind, code, value)


REPORT = event(EV_SYN, SYN_REPORT, 0)


def pad(gas: int = 0, brake: int = 0, steer: int = 0, **buttons: int) -> bytes:
    """A report as vgamepad writes one: everything, changed or not."""
    named = {"a": BTN_SOUTH, "b": BTN_EAST}
    keys = b"".join(event(EV_KEY, code, buttons.get(name, 0)) for name, code in named.items())
    return keys + event(EV_ABS, ABS_X, steer) + event(EV_ABS, ABS_Z, brake) + event(EV_ABS, ABS_RZ, gas) + REPORT


# Keys


@pytest.mark.parametrize("keys", [(UP, DOWN, LEFT, RIGHT), (W, S, A, D)], ids=["arrows", "WASD"])
def test_both_sets_of_keys_drive(keys: tuple[int, int, int, int]) -> None:
    up, down, left, right = keys
    for pressed, held in [
        ((up,), Held(gas=1.0)),
        ((down,), Held(brake=1.0)),
        ((up, left), Held(gas=1.0, steer=-1.0)),
        ((down, right), Held(brake=1.0, steer=1.0)),
        ((left, right), NOTHING_HELD),
    ]:
        board = Keys()
        for key in pressed:
            assert board.press(key) is None
        assert board.held == held
        for key in pressed:
            board.release(key)
        assert board.held == NOTHING_HELD


def test_a_key_counts_as_down_while_either_of_its_pair_is() -> None:
    board = Keys()
    board.press(UP)
    board.press(W)
    board.release(UP)
    assert board.held == Held(gas=1.0)


@pytest.mark.parametrize(
    ("key", "press"),
    [(42, Press.GIVE_UP), (76, Press.GIVE_UP), (40, Press.CONFIRM), (88, Press.CONFIRM), (41, Press.MENU), (44, None)],
    ids=["BackSpace", "Delete", "Enter", "Enter of the number block", "Escape", "space"],
)
def test_a_key_that_is_held_down_presses_once(key: int, press: Press | None) -> None:
    board = Keys()
    assert [board.press(key), board.press(key)] == [press, None]
    board.release(key)
    assert board.press(key) is press
    assert board.held == NOTHING_HELD


def test_a_keyboard_that_belongs_to_another_window_holds_nothing() -> None:
    board = Keys()
    board.press(UP)
    board.release_all()
    assert board.held == NOTHING_HELD
    board.release(UP)  # may come late
    assert board.held == NOTHING_HELD


def test_devices_add_up_to_the_strongest() -> None:
    assert strongest() == NOTHING_HELD
    assert strongest(Held(0.2, 0.0, -0.7), Held(0.1, 0.5, 0.3)) == Held(0.2, 0.5, -0.7)


# The stream of a gamepad


def test_triggers_and_stick_drive() -> None:
    decoder = Decoder()
    assert decoder.held == NOTHING_HELD
    assert decoder.feed(pad(gas=255, brake=51, steer=-16384)) == []
    assert astuple(decoder.held) == pytest.approx((1.0, 0.2, -0.5), abs=1e-4)


@pytest.mark.parametrize(("steer", "expected"), [(-32768, -1.0), (-32767, -1.0), (0, 0.0), (32767, 1.0)])
def test_the_stick_has_both_ends_and_a_middle(steer: int, expected: float) -> None:
    decoder = Decoder()
    decoder.feed(pad(steer=steer))
    assert decoder.held.steer == expected


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(-1.0, 1.0))
def test_what_vgamepad_makes_of_an_action_comes_out_again(gas: float, brake: float, steer: float) -> None:
    decoder = Decoder()
    decoder.feed(pad(round(gas * 255), round(brake * 255), round(steer * 32767)))
    held = decoder.held
    assert (held.gas, held.brake) == pytest.approx((gas, brake), abs=0.51 / 255)
    assert held.steer == pytest.approx(steer, abs=0.51 / 32767)


def test_nothing_holds_before_its_report_is_complete() -> None:
    decoder = Decoder()
    whole = pad(gas=255, b=1)
    assert decoder.feed(whole[: -EVENT.size]) == []
    assert decoder.held == NOTHING_HELD
    assert decoder.feed(REPORT) == [Press.GIVE_UP]
    assert decoder.held == Held(gas=1.0)


@given(st.data())
def test_the_stream_may_be_cut_anywhere(data: st.DataObject) -> None:
    stream = pad(gas=255) + pad(gas=255, b=1) + pad(gas=128, steer=32767) + pad(a=1) + pad(brake=255)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    decoder = Decoder()
    presses = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        presses += decoder.feed(stream[begin:end])
    assert presses == [Press.GIVE_UP, Press.CONFIRM]
    assert decoder.held == Held(brake=1.0)


def test_a_button_that_stays_down_is_pressed_once() -> None:
    decoder = Decoder()
    assert decoder.feed(pad(b=1) + pad(b=1) + event(EV_KEY, BTN_EAST, 2) + REPORT) == [Press.GIVE_UP]
    assert decoder.feed(pad(b=0)) == []
    assert decoder.feed(pad(b=1)) == [Press.GIVE_UP]


def test_other_axes_buttons_and_kinds_of_events_mean_nothing() -> None:
    decoder = Decoder()
    others = [event(EV_ABS, 16, 1), event(EV_ABS, 4, 32767), event(EV_KEY, 307, 1), event(4, 4, 9), event(21, 0, 1)]
    assert decoder.feed(b"".join(others) + REPORT) == []
    assert decoder.held == NOTHING_HELD


def test_a_pad_that_announces_other_ranges_is_read_by_them() -> None:
    axes = {ABS_X: Axis(0, 255, 128), ABS_Z: Axis(0, 1023), ABS_RZ: Axis(0, 1023, 1023)}
    decoder = Decoder(axes)
    assert decoder.held == Held(gas=1.0)  # it was pressed already
    decoder.feed(pad(gas=0, brake=1023, steer=255))
    assert decoder.held == Held(brake=1.0, steer=1.0)
    decoder.feed(pad(steer=0))
    assert decoder.held.steer == -1.0
    decoder.feed(pad(gas=5000, steer=-900))  # nonsense is cut off
    assert decoder.held == Held(gas=1.0, steer=-1.0)


def test_after_events_were_lost_nothing_is_believed() -> None:
    decoder = Decoder()
    decoder.feed(pad(gas=255))
    assert decoder.feed(event(EV_SYN, SYN_DROPPED, 0) + pad(brake=255, b=1)) == []
    assert decoder.lost
    assert decoder.feed(pad(brake=255, b=1)) == []
    assert decoder.held == Held(gas=1.0)


# Its file


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pad"
    os.mkfifo(path)
    return path


@pytest.fixture
def reader(fifo: Path) -> Iterator[EvdevPad]:
    pad = EvdevPad(fifo)
    yield pad
    pad.close()


def test_a_fifo_is_a_gamepad(fifo: Path, reader: EvdevPad) -> None:
    assert (reader.presses(), reader.held) == ([], NOTHING_HELD)  # nobody writes yet
    with fifo.open("wb", buffering=0) as writer:
        assert (reader.presses(), reader.held) == ([], NOTHING_HELD)
        writer.write(pad(gas=255, a=1))
        assert (reader.presses(), reader.held) == ([Press.CONFIRM], Held(gas=1.0))
        assert (reader.presses(), reader.held) == ([], Held(gas=1.0))


def test_more_than_is_read_at_once_is_read_in_one_call(fifo: Path, reader: EvdevPad) -> None:
    with fifo.open("wb", buffering=0) as writer:
        writer.write(b"".join(pad(gas=value, b=value % 2) for value in range(256)))
        assert reader.presses() == [Press.GIVE_UP] * 128
        assert reader.held == Held(gas=1.0)


def test_a_writer_that_goes_away_lets_go_of_everything_and_another_may_come(fifo: Path, reader: EvdevPad) -> None:
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pad(gas=255) + pad(gas=255)[:30])
        reader.presses()
    assert (reader.presses(), reader.held) == ([], NOTHING_HELD)
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pad(brake=255))
        assert (reader.presses(), reader.held) == ([], Held(brake=1.0))


def test_a_fifo_in_which_events_were_lost_is_opened_anew(fifo: Path, reader: EvdevPad) -> None:
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pad(gas=255) + event(EV_SYN, SYN_DROPPED, 0))
        reader.presses()
        assert reader.held == NOTHING_HELD
    reader.presses()
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pad(brake=255))
        reader.presses()
        assert reader.held == Held(brake=1.0)


def test_a_pad_that_is_unplugged_may_come_back(fifo: Path, tmp_path: Path) -> None:
    reader = EvdevPad(fifo)
    reader.close()
    fifo.rename(tmp_path / "away")
    assert (reader.presses(), reader.held) == ([], NOTHING_HELD)
    (tmp_path / "away").rename(fifo)
    reader.presses()
    with fifo.open("wb", buffering=0) as writer:
        writer.write(pad(gas=255))
        reader.presses()
        assert reader.held == Held(gas=1.0)
    reader.close()
    reader.close()


@pytest.mark.parametrize("name", ["missing", "file", "."])
def test_what_is_no_gamepad_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match=r"the gamepad .* cannot be read \(.+\): expected a device that you may read"):
        EvdevPad(tmp_path / name)
