"""A replay is asked for by a connection that is ended at once."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tmrld.envs.trackmania import replays
from tmrld.envs.trackmania.replays import save
from tmrld.errors import GameError

PATIENCE_S = 30.0


def test_the_request_is_a_connection_without_a_word() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plugin:
        plugin.settimeout(PATIENCE_S)
        for _ in range(2):
            save("127.0.0.1", plugin.getsockname()[1])
            line, _ = plugin.accept()
            with line:
                line.settimeout(PATIENCE_S)
                assert line.recv(1) == b""


def test_a_plugin_that_does_not_listen_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plugin:
        port = plugin.getsockname()[1]
    with pytest.raises(GameError, match=f"nothing answers at 127.0.0.1:{port}: load the plugin tmrld"):
        save("127.0.0.1", port)


def test_a_plugin_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as plugin, contextlib.ExitStack() as waiting:
        for _ in range(4):  # more than may wait: who calls now is not answered at all
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(plugin.getsockname())
        with pytest.raises(GameError, match=r"nothing answers at .*: load the plugin tmrld") as said:
            save("127.0.0.1", plugin.getsockname()[1])
        assert isinstance(said.value.__cause__, TimeoutError)


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(GameError, match=r"there is no host 'no\.\.such\.\.host'"):
        save("no..such..host", 10000)
