"""Where log lines go."""

from __future__ import annotations

import asyncio
import errno
import io
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import pytest

from tmrld import logs
from tmrld.errors import StorageError


def test_lines_go_to_standard_error_from_the_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info")
    logging.getLogger("tmrld.relay").info("a worker came")
    logging.getLogger("tmrld.relay").debug("not this")
    logging.getLogger("another.library").info("nor this")
    logging.getLogger("another.library").warning("but this")
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.endswith("INFO    tmrld.relay: a worker came")
    assert second.endswith("WARNING another.library: but this")


def test_a_quiet_program_writes_to_the_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("warning", quiet=True)
    handler = logs.add_file(tmp_path / "logs")
    logging.getLogger("tmrld").error("größer als gedacht")
    logs.remove(handler)
    logging.getLogger("tmrld").error("after the end")
    assert capsys.readouterr().err == ""
    (line,) = (tmp_path / "logs" / "tmrld.log").read_text("utf-8").splitlines()
    assert line.endswith("ERROR   tmrld: größer als gedacht")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_log_files_are_for_their_owner_alone_also_after_the_next_one_was_begun(tmp_path: Path) -> None:
    handler = logs.add_file(tmp_path)
    assert isinstance(handler, RotatingFileHandler)
    handler.doRollover()
    logs.remove(handler)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {"tmrld.log": 0o600, "tmrld.log.1": 0o600}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "tmrld.log").mkdir()
    with pytest.raises(StorageError, match=r"Cannot write .*tmrld\.log"):
        logs.add_file(tmp_path)


def test_a_disk_that_is_full_costs_lines_of_the_file_and_is_told_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.BytesIO):
        def write(self, _data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    handler = logs.add_file(tmp_path)
    assert isinstance(handler, RotatingFileHandler)
    full = io.TextIOWrapper(Full(), write_through=True)
    file = handler.setStream(full)
    assert file is not None
    for _ in range(3):
        logging.getLogger("tmrld").error("what nobody reads")
    handler.setStream(file)
    full.detach()
    logging.getLogger("tmrld").error("there is room again")
    logs.remove(handler)
    (told,) = capsys.readouterr().err.splitlines()
    assert told == f"{tmp_path / 'tmrld.log'} lacks lines, because it cannot be written: [Errno 28] No space left on device"
    (line,) = (tmp_path / "tmrld.log").read_text().splitlines()
    assert line.endswith("there is room again")


def test_lines_are_told_in_the_loop_but_those_of_engines() -> None:
    async def scene() -> list[list[object]]:
        told: list[list[object]] = []
        logging.getLogger("tmrld").setLevel(logging.INFO)
        handler = logs.add_teller(told.append)
        logging.getLogger("tmrld.relay").info("a worker came")
        logging.getLogger(logs.ENGINE_LOGGER).info("worker: said under its own name")
        await asyncio.to_thread(logging.getLogger("tmrld.storage").warning, "from a %s", "thread")
        await asyncio.sleep(0)
        logs.remove(handler)
        logging.getLogger("tmrld.relay").info("not told any more")
        await asyncio.sleep(0)
        return told

    told = asyncio.run(scene())
    assert [line[1:] for line in told] == [
        ["INFO", "tmrld.relay", "a worker came"],
        ["WARNING", "tmrld.storage", "from a thread"],
    ]
