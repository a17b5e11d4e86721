"""The guard lets go, whatever becomes of whoever drives: real processes that are killed, stopped and confused."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import psutil
import pytest

from tests.support import uinput
from tests.support.display import virtual_display
from tests.support.processes import await_end
from tests.support.uinput import ABS_RZ, Pad
from tests.support.x11 import Game, Person, keys_down, now
from tmrld.envs.trackmania import guarded
from tmrld.envs.trackmania.guarded import GuardedControls
from tmrld.errors import GameError

if sys.platform == "win32":
    pytest.skip("these tests stop and kill processes as POSIX does", allow_module_level=True)

STEP_S = 0.05
UNHURRIED_S = 60.0
"""A time step so long that none is missed."""
AT_ONCE_S = 1.0
"""What is let go of "at once" is so within this, on however busy a machine."""
TRIES = 5
"""Most of so many keep what is promised, `STEP_S` after a kill."""
DRIVEN = {"Up", "Down", "Left"}
"""What `tests.support.driver` holds."""
NOTHING = set[str]()


def await_that(condition: Callable[[], bool], within_s: float = 20.0) -> float:
    """Return when it holds, with how long that took in seconds; fails the test when it does not in the end."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
        time.sleep(0.001)
    return time.monotonic() - began


def guards(of: int | None = None) -> list[psutil.Process]:
    """The guards that this process has started, or another one."""
    return [child for child in psutil.Process(of).children() if guarded.GUARD in child.cmdline()]


@pytest.fixture
def title() -> str:
    """One that no other window of the display has."""
    return f"Trackmania of test {time.monotonic_ns()}"


@pytest.fixture
def game(display: str, title: str) -> Iterator[Game]:
    """The game's window, which has the focus.  The guard of the test before may still be letting go."""
    await_that(lambda: keys_down() == NOTHING)
    game = Game(title)
    yield game
    game.close()


@pytest.fixture
def pad(tmp_path: Path, uinput_library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pad]:
    """What a virtual gamepad tells."""
    pad = Pad(tmp_path / "pad")
    for name, value in uinput.environment(uinput_library, tmp_path / "pad").items():
        monkeypatch.setenv(name, value)
    yield pad
    pad.close()


@pytest.fixture
def person(display: str) -> Iterator[Person]:
    """Somebody at the keyboard."""
    with Person() as person:
        yield person


@pytest.fixture
def make(game: Game, title: str) -> Iterator[Callable[..., GuardedControls]]:
    """Makes controls that are closed in the end: ``make("keyboard", step_s=…, hand_back_s=…)``."""
    made = []

    def make(controls: str, step_s: float = UNHURRIED_S, hand_back_s: float = 5.0) -> GuardedControls:
        made.append(GuardedControls(controls, title, step_s, hand_back_s, plug_in_s=0.0))
        return made[-1]

    yield make
    for controls in made:
        controls.close()


@pytest.fixture
def drive(game: Game, title: str) -> Iterator[Callable[[str, str], subprocess.Popen[str]]]:
    """Starts a program that drives: ``drive("steadily", "keyboard")``; returns when it does."""
    started = []

    def drive(manner: str, controls: str) -> subprocess.Popen[str]:
        step_s = STEP_S if manner == "steadily" else UNHURRIED_S
        command = [sys.executable, "-m", "tests.support.driver", manner, controls, title, str(step_s)]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        started.append(driver)
        assert driver.stdout is not None
        assert driver.stdout.readline() == "holding\n"
        return driver

    yield drive
    for driver in started:
        driver.kill()
        with driver:  # closes the pipes, and waits
            pass


# Whoever drives is gone


def test_a_driver_that_is_killed_leaves_no_key_pressed(drive: Callable[[str, str], subprocess.Popen[str]], game: Game) -> None:
    took = []
    for _ in range(TRIES):
        driver = drive("once", "keyboard")
        await_that(lambda: keys_down() == DRIVEN)
        (guard,) = guards(driver.pid)
        game.told()
        killed_at = now()
        os.killpg(driver.pid, signal.SIGKILL)  # as the daemon does with an engine and all that it started
        await_end(guard.pid, 10)
        assert keys_down() == NOTHING
        took.append(max(when for sign, _, when in game.told() if sign == "-") - killed_at)
    assert max(took) < AT_ONCE_S
    assert median(took) <= STEP_S, took


def test_a_driver_that_is_killed_leaves_no_trigger_pressed(
    drive: Callable[[str, str], subprocess.Popen[str]], pad: Pad
) -> None:
    took = []
    for _ in range(TRIES):
        driver = drive("once", "gamepad")
        pad.await_that(lambda: pad.axes[ABS_RZ] == 255)
        before = len(pad.changes)
        killed_at = time.time()
        os.killpg(driver.pid, signal.SIGKILL)
        pad.await_that(lambda: not pad.plugged)
        assert pad.is_neutral  # it was told so, before it was unplugged
        took.append(max(when for when, *_ in pad.changes[before:]) - killed_at)
    assert max(took) < AT_ONCE_S
    assert median(took) <= STEP_S, took


def test_a_driver_that_fails_leaves_no_key_pressed(drive: Callable[[str, str], subprocess.Popen[str]]) -> None:
    driver = drive("fail", "keyboard")
    await_that(lambda: keys_down() == DRIVEN)
    driver.communicate()
    assert driver.returncode == 1
    assert await_that(lambda: keys_down() == NOTHING) < AT_ONCE_S


def test_a_driver_that_stands_still_lets_go_and_drives_again(drive: Callable[[str, str], subprocess.Popen[str]]) -> None:
    driver = drive("steadily", "keyboard")
    await_that(lambda: keys_down() == DRIVEN)
    driver.send_signal(signal.SIGSTOP)
    assert await_that(lambda: keys_down() == NOTHING) < AT_ONCE_S
    driver.send_signal(signal.SIGCONT)
    await_that(lambda: keys_down() == DRIVEN)
    assert driver.poll() is None  # that it stood still, and its guard's answers unread, is no error


def test_a_step_that_is_missed_lets_go_until_the_next(game: Game, make: Callable[..., GuardedControls]) -> None:
    controls = make("keyboard", step_s=STEP_S)
    told: list[tuple[str, str, float]] = []

    def reached(count: int) -> bool:
        told.extend(game.told())
        return len(told) == count

    took = []
    for _ in range(TRIES):
        controls.hold(1.0, 0.0, 0.0)
        await_that(lambda: reached(2))
        (press, _, pressed_at), (release, _, released_at) = told
        assert (press, release) == ("+", "-")
        took.append(released_at - pressed_at)
        told.clear()
    assert min(took) >= 2 * STEP_S - 0.01
    assert max(took) < AT_ONCE_S
    assert median(took) <= 3 * STEP_S, took


def test_nobody_is_hurried_as_long_as_commands_come(pad: Pad, make: Callable[..., GuardedControls]) -> None:
    controls = make("gamepad", step_s=0.5)
    for step in range(20):  # twice as long as the guard's patience, in all
        controls.hold(1.0, 0.0, step / 20)
        time.sleep(0.1)
    pad.look()
    assert [value for _, _, code, value in pad.changes if code == ABS_RZ] == [255]


def test_the_guard_is_run_soon_when_a_command_comes(make: Callable[..., GuardedControls]) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells what a thread has asked for")
    make("keyboard")
    (guard,) = guards()

    def asked() -> bool:  # the thread that reads, the one that obeys, and the one that watches the keyboard
        slacks = [Path(f"/proc/{thread.id}/timerslack_ns").read_text().strip() for thread in guard.threads()]
        return slacks == ["1", "1", "1"]

    await_that(asked)


def test_a_guard_that_is_terminated_lets_go(make: Callable[..., GuardedControls]) -> None:
    controls = make("keyboard")
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})
    (guard,) = guards()
    guard.send_signal(signal.SIGINT)  # Ctrl-C is for whoever drives
    controls.hold(1.0, 0.0, 1.0)
    await_that(lambda: keys_down() == {"Up", "Right"})
    guard.send_signal(signal.SIGTERM)
    assert await_that(lambda: keys_down() == NOTHING) < AT_ONCE_S


# The guard is gone


def test_a_guard_that_was_killed_is_replaced_by_one_that_lets_go(make: Callable[..., GuardedControls]) -> None:
    controls = make("keyboard")
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})
    (guard,) = guards()
    guard.kill()
    await_end(guard.pid, 10)
    assert keys_down() == {"Up"}  # X11 does not notice
    with pytest.raises(GameError, match=r"was killed by SIGKILL; everything was let go of, and a new one has the controls"):
        controls.hold(1.0, 0.0, 0.0)
    assert keys_down() == NOTHING
    controls.hold(0.0, 1.0, 0.0)
    await_that(lambda: keys_down() == {"Down"})


def test_a_guard_that_is_stuck_holds_nobody_up_and_is_replaced(
    make: Callable[..., GuardedControls], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "ANSWER_S", 0.5)
    controls = make("keyboard", step_s=STEP_S)
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})
    (guard,) = guards()
    guard.suspend()
    held = 0
    with pytest.raises(GameError, match=r"has not answered for .* and was ended; everything was let go of"):  # noqa: PT012
        while True:
            controls.hold(1.0, 0.0, 0.0)
            held += 1
    assert held > guarded.UNANSWERED  # commands that could not be sent any more held nobody up, either
    assert keys_down() == NOTHING
    (fresh,) = guards()
    fresh.suspend()
    with pytest.raises(GameError, match=r"has not answered for .* and was ended"):
        controls.neutral()


def test_an_order_that_finds_no_room_is_carried_out_all_the_same(
    make: Callable[..., GuardedControls], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "ANSWER_S", 60.0)
    controls = make("keyboard")
    (guard,) = guards()
    guard.suspend()
    for _ in range(guarded.UNANSWERED + 10):
        controls.hold(1.0, 0.0, 0.0)
    resumed = threading.Timer(0.3, guard.resume)
    resumed.start()
    controls.neutral()
    assert keys_down() == NOTHING
    resumed.join()


def test_an_order_for_which_there_is_never_room_is_an_error(
    make: Callable[..., GuardedControls], monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = make("keyboard")
    (guard,) = guards()
    guard.suspend()
    for _ in range(guarded.UNANSWERED + 10):
        controls.hold(1.0, 0.0, 0.0)
    monkeypatch.setattr(guarded, "ANSWER_S", 0.5)
    with pytest.raises(GameError, match=r"has not answered for 0\.5 s and was ended; everything was let go of"):
        controls.reset_race()
    assert keys_down() == NOTHING


def test_a_guard_that_cannot_be_replaced_is_sought_again_later(
    make: Callable[..., GuardedControls], monkeypatch: pytest.MonkeyPatch, display: str
) -> None:
    controls = make("keyboard")
    (guard,) = guards()
    guard.kill()
    monkeypatch.setenv("DISPLAY", "")
    with pytest.raises(GameError, match=r"was killed by SIGKILL; a new one cannot be had: .*with DISPLAY set"):
        controls.neutral()
    assert not controls.user_drives
    with pytest.raises(GameError, match="with DISPLAY set"):
        controls.hold(1.0, 0.0, 0.0)
    monkeypatch.setenv("DISPLAY", display)
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})


def test_closing_lets_go_and_may_be_done_twice(make: Callable[..., GuardedControls]) -> None:
    controls = make("keyboard")
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})
    controls.close()
    assert keys_down() == NOTHING
    assert guards() == []
    controls.close()
    controls.hold(1.0, 0.0, 0.0)
    assert guards() == []


def test_the_guard_is_on_its_own(make: Callable[..., GuardedControls]) -> None:
    ours, theirs = os.pipe()
    try:
        os.set_inheritable(theirs, True)
        make("keyboard")
        (guard,) = guards()
        assert os.getsid(guard.pid) == os.getpgid(guard.pid) == guard.pid
        pipe = Path(f"/proc/self/fd/{theirs}").readlink()
        assert pipe not in [file.readlink() for file in Path(f"/proc/{guard.pid}/fd").iterdir()]
    finally:
        os.close(ours)
        os.close(theirs)


def test_without_controls_there_is_no_guard() -> None:
    controls = GuardedControls("none", "Trackmania", STEP_S, 5.0)
    controls.hold(1.0, 0.0, 0.0)
    controls.reset_race()
    controls.close_pop_up()
    controls.neutral()
    assert not controls.user_drives
    assert guards() == []
    controls.close()


# What is pressed


@pytest.mark.parametrize(("method", "key"), [("reset_race", "BackSpace"), ("close_pop_up", "Return")])
def test_a_key_reaches_the_game_and_is_released_when_the_call_returns(
    game: Game, make: Callable[..., GuardedControls], method: str, key: str
) -> None:
    controls = make("keyboard")
    controls.hold(1.0, 0.0, 0.0)
    getattr(controls, method)()
    assert keys_down() == NOTHING
    (_, gas_down, _), (_, gas_up, _), (press, name, pressed_at), (release, name_again, released_at) = game.told()
    assert (gas_down, gas_up, press, name, release, name_again) == ("Up", "Up", "+", key, "-", key)
    assert released_at - pressed_at >= 0.09


# A person takes over


def test_a_person_who_presses_a_key_drives_until_they_leave_it_alone(
    make: Callable[..., GuardedControls], person: Person
) -> None:
    controls = make("keyboard", hand_back_s=0.5)
    controls.hold(1.0, 0.0, -1.0)
    await_that(lambda: keys_down() == {"Up", "Left"})
    assert not controls.user_drives
    person.press("space")
    await_that(lambda: controls.user_drives)
    assert keys_down() == {"space"}
    controls.hold(1.0, 0.0, 1.0)
    controls.reset_race()  # is answered, and not done
    assert keys_down() == {"space"}
    time.sleep(1.0)
    assert controls.user_drives  # for it is still held
    released_at = time.monotonic()  # before it is, or what sees it at once counts from before this
    person.release("space")
    await_that(lambda: not controls.user_drives)
    assert time.monotonic() - released_at >= 0.5
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})


def test_the_key_that_the_policy_holds_may_be_the_persons_too(make: Callable[..., GuardedControls], person: Person) -> None:
    controls = make("keyboard", hand_back_s=0.5)
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})
    person.press("Up")
    await_that(lambda: controls.user_drives)
    person.release("Up")
    await_that(lambda: not controls.user_drives)


def test_a_person_whose_release_is_never_told_hands_back_all_the_same(
    make: Callable[..., GuardedControls], person: Person
) -> None:
    controls = make("keyboard", hand_back_s=0.5)
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})
    person.press("Up")  # the guard lets go of that very key, and no other release comes
    await_that(lambda: controls.user_drives)
    await_that(lambda: not controls.user_drives)
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})


@pytest.mark.parametrize("key", ["Up", "w", "a", "s", "d", "Return", "Delete", "Escape"])
def test_a_person_takes_the_gamepad_over_with_any_key_of_the_game(
    pad: Pad, make: Callable[..., GuardedControls], person: Person, key: str
) -> None:
    controls = make("gamepad")
    controls.hold(1.0, 0.0, -1.0)
    pad.await_that(lambda: pad.axes[ABS_RZ] == 255)
    person.press("q")
    person.release("q")  # is none
    controls.hold(1.0, 0.0, -0.5)
    assert not controls.user_drives
    person.press(key)
    await_that(lambda: controls.user_drives)
    pad.look()
    assert pad.is_neutral
    controls.hold(1.0, 0.0, 1.0)
    controls.reset_race()
    pad.look()
    assert pad.is_neutral


def test_our_own_keys_are_not_taken_for_a_persons(make: Callable[..., GuardedControls]) -> None:
    controls = make("keyboard")
    for step in range(100):
        controls.hold(step % 2, step % 3, step % 5 - 2)
    controls.reset_race()
    controls.close_pop_up()
    controls.hold(1.0, 0.0, 1.0)
    await_that(lambda: keys_down() == {"Up", "Right"})
    assert not controls.user_drives


def test_keys_that_go_to_another_window_take_nothing_over(
    pad: Pad, make: Callable[..., GuardedControls], person: Person, game: Game
) -> None:
    controls = make("gamepad")
    other = Game("Something else")
    person.press("w")
    person.release("w")
    controls.hold(1.0, 0.0, 0.0)
    pad.await_that(lambda: pad.axes[ABS_RZ] == 255)
    controls.neutral()
    assert not controls.user_drives
    game.focus()
    person.press("w")
    await_that(lambda: controls.user_drives)
    other.close()


def test_without_a_display_the_gamepad_drives_and_says_that_nobody_can_take_over(
    pad: Pad, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DISPLAY", "")
    controls = GuardedControls("gamepad", "Trackmania", UNHURRIED_S, 5.0, plug_in_s=0.0)
    try:
        controls.hold(1.0, 0.0, 0.0)
        pad.await_that(lambda: pad.axes[ABS_RZ] == 255)
        (warning,) = caplog.messages
        assert warning.startswith("a key press of yours will not stop the policy, for it cannot be seen: ")
    finally:
        controls.close()


def test_when_the_display_goes_the_gamepad_drives_on_and_says_that_nobody_can_take_over(
    pad: Pad, display: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with virtual_display(200, 100) as name:
        monkeypatch.setenv("DISPLAY", name)
        controls = GuardedControls("gamepad", "Trackmania", UNHURRIED_S, 0.5, plug_in_s=0.0)
        with Person() as somebody:
            somebody.press("w")
            await_that(lambda: controls.user_drives)
            assert not caplog.messages
    try:
        await_that(lambda: bool(caplog.messages))
        assert caplog.messages[0].startswith("a key press of yours will no longer stop the policy, for it is no longer seen: ")
        await_that(lambda: not controls.user_drives)
        controls.hold(1.0, 0.0, 0.0)
        pad.await_that(lambda: pad.axes[ABS_RZ] == 255)
    finally:
        controls.close()


# The focus


def test_keys_are_held_back_while_another_window_has_the_focus(
    make: Callable[..., GuardedControls], game: Game, title: str, caplog: pytest.LogCaptureFixture
) -> None:
    controls = make("keyboard")
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})
    other = Game("Something else")
    for _ in range(3):
        controls.hold(1.0, 0.0, 0.0)
    controls.reset_race()
    assert keys_down() == NOTHING
    assert not any(sign == "+" for sign, _, _ in other.told())
    assert caplog.messages == [f"the window {title!r} does not have the focus: keys are held back until it has"]
    assert controls.user_drives
    game.focus()
    await_that(lambda: not controls.user_drives)
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: keys_down() == {"Up"})
    other.focus()
    controls.hold(1.0, 0.0, 0.0)
    await_that(lambda: len(caplog.messages) == 2)  # once for each loss
    assert caplog.records[1].levelno == logging.WARNING
    other.close()


def test_keys_are_held_back_until_there_is_a_window(display: str, title: str, caplog: pytest.LogCaptureFixture) -> None:
    controls = GuardedControls("keyboard", title, UNHURRIED_S, 5.0)
    try:
        controls.hold(1.0, 0.0, 0.0)
        controls.reset_race()
        assert keys_down() == NOTHING
        assert caplog.messages == [f"there is no window {title!r}: keys are held back until there is"]
        assert not controls.user_drives  # a game that is not there is nobody's
        game = Game(title)

        def drives() -> bool:
            controls.hold(1.0, 0.0, 0.0)
            return keys_down() == {"Up"}

        await_that(drives)
        game.close()
        controls.hold(1.0, 0.0, 0.0)
        await_that(lambda: keys_down() == NOTHING)  # the window went away
    finally:
        controls.close()


# Errors


def test_no_display_to_press_keys_on_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", "")
    with pytest.raises(GameError, match=r"^the X11 display cannot be reached .* with DISPLAY set$"):
        GuardedControls("keyboard", "Trackmania", STEP_S, 5.0)
    assert guards() == []


def test_a_guard_that_does_not_start_is_an_error_in_words(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "GUARD", "tests.no_such_guard")
    with pytest.raises(GameError, match=r"^the controls guard ended with exit code 1$"):
        GuardedControls("keyboard", "Trackmania", STEP_S, 5.0)
