"""Flags that stand for settings."""

from __future__ import annotations

import argparse

import pytest

from tmrld.commands.flags import PROFILE_UPDATES, add_profile_flag, add_settings_flags, load_settings


@pytest.mark.parametrize(
    ("flags", "updates"),
    [
        ([], 0),
        (["--profile"], PROFILE_UPDATES),
        (["--profile", "3"], 3),
        (["--profile", "3", "--set", "trainer.profile_updates=4"], 4),
    ],
)
def test_profile_asks_for_a_trace_of_so_many_updates(flags: list[str], updates: int) -> None:
    parser = argparse.ArgumentParser()
    add_settings_flags(parser)
    add_profile_flag(parser)
    assert load_settings(parser.parse_args(flags)).trainer.profile_updates == updates


def test_a_trace_of_no_updates_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_profile_flag(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--profile", "0"])
    assert "0 is less than 1" in capsys.readouterr().err
