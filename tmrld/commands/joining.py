"""`tmrld join`: a new machine becomes a node of a relay; everything that it needs to know is in the invite."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from tmrld.errors import BadInput, Conflict, FolderInUse, StorageError
from tmrld.machine import machine_name
from tmrld.settings import CONFIG_VARIABLE, DEFAULT_FILE

if TYPE_CHECKING:
    from tmrld.peers.joining import Joined
    from tmrld.security.invites import Invite

NEEDS = {"worker": "gymnasium", "trainer": "torch"}
"""A package that a role cannot do without."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The arguments of `tmrld join`."""
    parser.add_argument("invite", metavar="INVITE", help="the line that `tmrld invite` has printed on the relay's machine")
    parser.add_argument("--no-start", action="store_true", help="only write the settings file, and say how to start")
    parser.add_argument("--data", metavar="FOLDER", help="data folder of the new node (default: one named after it)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file to write (default: tmrld.toml here)")
    parser.add_argument("--proxy", metavar="URL", default="", help="HTTP proxy to go through, http://HOST:PORT")


def run(options: argparse.Namespace) -> Path:
    """Join, and write the settings file; returns its path.

    Whatever can be in the way is looked at before the invite is used.  Raises BadInput, Conflict, StorageError, and `LinkError`s.
    """
    from tmrld.peers.joining import join
    from tmrld.security.files import write_private
    from tmrld.security.invites import Invite

    invite = Invite.parse(options.invite)
    path = _config_path(options.config)
    _check_role(invite.role)
    if options.data:
        _check_free(Path(options.data).expanduser().absolute())
    joined = asyncio.run(join(invite, machine_name(), options.proxy))
    data = Path(options.data) if options.data else default_data(joined.name)
    text = settings_text(joined, invite, data.expanduser().absolute(), options.proxy)
    try:
        write_private(path, text.encode())
    except OSError as error:
        raise StorageError(f"joined as {joined.name}, but the settings cannot be written to {path}: {error}") from error
    print(f"joined the relay {joined.relay} as {joined.role} {joined.name}; the settings are in {path}", flush=True)
    if options.no_start:
        print(how_to_start(joined.name, path))
    return path


def _config_path(given: Path | None) -> Path:
    """Where the settings go.  Raises Conflict for a file that is there, StorageError for a folder that is not."""
    path = (given or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)).expanduser().absolute()
    if path.exists():
        raise Conflict(
            f"there are settings in {path} already, and one file is one node's: give another one with --config, or move that one away"
        )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise StorageError(f"the settings cannot be written to {path}: its folder is not there, or may not be written to")
    return path


def _check_free(data: Path) -> None:
    """Raises StorageError for a data folder that is a file, or that a daemon uses: each node has one of its own."""
    from tmrld.storage.layout import Layout, holder_of

    if data.exists() and not data.is_dir():
        raise StorageError(f"{data} is a file, where a folder is needed: choose another one with --data")
    if holder_of(Layout(data)) is not None:
        raise FolderInUse(
            f"the data folder {data} is in use by another tmrld, and each node has one of its own: choose another one with --data"
        )


def _check_role(role: str) -> None:
    package = NEEDS[role]
    if importlib.util.find_spec(package) is None:
        raise BadInput(f"a {role} needs {package}, which is not installed here: pip install 'tmrld[{role}]', then join again")


def default_data(name: str) -> Path:
    """A data folder of this node's own: several nodes of one machine must not share theirs."""
    return Path(platformdirs.user_data_dir("tmrld", appauthor=False)) / "nodes" / name


def settings_text(joined: Joined, invite: Invite, data: Path, proxy: str) -> str:
    """The settings file of a node that has joined."""
    peers = {"relay": f"wss://{invite.address}", "pin": invite.pin, "token": joined.token}
    if proxy:
        peers["proxy"] = proxy
    lines = [
        "# Written by `tmrld join`.  The token below is this node's own: whoever has it can take its place.",
        f"roles = {_toml([joined.role])}",
        f"name = {_toml(joined.name)}",
        f"data = {_toml(str(data))}",
        "",
        "[peers]",
        *(f"{key} = {_toml(value)}" for key, value in peers.items()),
    ]
    return "\n".join(lines) + "\n"


def _toml(value: str | list[str]) -> str:
    """TOML writes text and lists as JSON does."""
    return json.dumps(value, ensure_ascii=False)


def how_to_start(name: str, config: Path) -> str:
    """What to do to start this node now, and with the machine."""
    command = [sys.executable, "-m", "tmrld", "serve", "--config", str(config)]
    if sys.platform == "win32":
        line = subprocess.list2cmdline(command)
        return (
            f"to start it now:\n  {line}\nto start it whenever you sign in:\n"
            f'  schtasks /Create /SC ONLOGON /TN "tmrld {name}" /TR "{line.replace(chr(34), chr(92) + chr(34))}"'
        )
    line = shlex.join(command)
    if sys.platform != "linux":
        return f"to start it now, or as a login item:\n  {line}"
    return f"""to start it now:
  {line}
to run it as a service of yours, write this to ~/.config/systemd/user/tmrld-{name}.service
  [Unit]
  Description=tmrld {name}
  [Service]
  ExecStart={line}
  Restart=on-failure
  RestartSec=5
  RestartPreventExitStatus=2
  [Install]
  WantedBy=default.target
and then
  systemctl --user enable --now tmrld-{name}; loginctl enable-linger"""
