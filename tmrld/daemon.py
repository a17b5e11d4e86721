"""The composition root: settings → objects → running tasks, started and stopped in order.

::

    async with Daemon(settings) as daemon:   # started; raises TmrldError when something is in the way
        await daemon.wait()                  # until `stop`, or until something fails for good

What is started last is stopped first: engines, then links, then the API, then the relay and its files.
Roles are imported when they are asked for: a relay never loads torch or Gymnasium.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import logging
import platform
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from tmrld import __version__, logs
from tmrld.configuration import checked
from tmrld.errors import SettingsError
from tmrld.events import Feed
from tmrld.machine import machine_facts, machine_name
from tmrld.peers.dialer import Dialer
from tmrld.peers.link import Link
from tmrld.protocol.messages import Hello, LogLines, Welcome
from tmrld.security.tls import client_context, ensure_identity, server_context
from tmrld.settings import Settings, first_run_config, ignored_settings
from tmrld.storage.layout import Layout, open_data_folder

if TYPE_CHECKING:
    from tmrld.node import Node
    from tmrld.storage.runs import RunStore

log = logging.getLogger(__name__)


IGNORED = (
    "no run is made from these settings, since there are runs already, which keep their own. `tmrld run config set NAME KEY=VALUE` "
    "changes one, `tmrld run new NAME` makes another, --data FOLDER begins anew"
)


class _PeerRole(Protocol):
    """What a worker and a trainer have in common."""

    async def serve(self, link: Link) -> None: ...

    async def close(self) -> None: ...

    def tell_lines(self, message: LogLines) -> None: ...


@dataclass(frozen=True)
class _Access:
    """How this daemon's worker or trainer reaches its relay: an address, what to trust, and a name and token of its own."""

    url: str
    pin: str
    ca_file: str
    proxy: str
    name: str
    token: str


class Daemon:
    """One daemon with the roles that its settings name.

    With the role relay and no token in ``peers``, its own worker and trainer dial its own listener, with tokens made anew at
    each start.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.roles:
            raise SettingsError("no role is set: use `tmrld up`, or `tmrld serve --role relay` (or trainer, or worker)")
        if "relay" not in settings.roles and len(settings.roles) > 1:
            raise SettingsError(
                "a trainer and a worker away from their relay each have a token of their own: start two daemons, one per role, "
                "each with a data folder of its own"
            )
        self.settings = settings
        self.name = settings.name or machine_name()
        self.feed = Feed()
        self.node: Node | None = None
        """The running node as the control API sees it; None without the role relay."""
        self.addresses: dict[str, str] = {}
        """Where it listens: "page" (signs a browser in, once and soon), "peers" (wss://…), "control" (http://…), and the relay's
        "pin"."""
        self.notice = ""
        """What whoever starts it should know; "" for nothing."""
        self._stack = AsyncExitStack()
        self._members: list[_PeerRole] = []
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def stop(self) -> None:
        """Let `wait` return.  From a signal handler, call it through the loop's ``call_soon_threadsafe``."""
        self._ended.set()

    async def wait(self) -> None:
        """Until `stop`; raises what made a part of this daemon fail for good."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def _start(self) -> None:
        folder = self._stack.enter_context(await asyncio.to_thread(open_data_folder, self.settings.data))
        layout = folder.layout
        self._stack.callback(logs.remove, logs.add_file(layout.logs, self.settings.log_bytes))
        local = await self._start_relay(layout) if "relay" in self.settings.roles else None
        if local is not None:
            await asyncio.to_thread(folder.tell_control, self.addresses["control"])
        if "trainer" in self.settings.roles:
            self._start_peer("trainer", self._make_trainer(layout), self._access("trainer", local))
        if "worker" in self.settings.roles:
            access = self._access("worker", local)
            self._start_peer("worker", await self._make_worker(layout, access.name), access)
        self._stack.push_async_callback(self._close_members)
        gc.collect()
        gc.freeze()  # to look for garbage among all that stays anyway would hold everything up for tens of milliseconds

    @property
    def _peer_roles(self) -> list[str]:
        return [role for role in self.settings.roles if role != "relay"]

    # The relay and its control API

    async def _start_relay(self, layout: Layout) -> Callable[[str], _Access]:
        """Returns what makes the access of this daemon's own worker or trainer."""
        from tmrld.access import Access, Address
        from tmrld.control.server import ControlServer
        from tmrld.node import Node
        from tmrld.peers.listener import Listener
        from tmrld.relay.log_tails import OWN
        from tmrld.relay.relay import Relay
        from tmrld.security.tokens import TokenStore, admin_token, hash_token
        from tmrld.shelving import accepted
        from tmrld.storage.runs import RunStore
        from tmrld.storage.shelf import Shelf

        options = self.settings.relay
        identity = await asyncio.to_thread(ensure_identity, layout.relay, (options.host, platform.node()))
        tokens = TokenStore(layout.tokens_db)
        self._stack.callback(tokens.close)
        store = await asyncio.to_thread(
            lambda: RunStore(
                layout,
                keep_weights=options.keep_weights,
                keep_checkpoints=options.keep_checkpoints,
                weights_bytes=options.weights_bytes,
                checkpoints_bytes=options.checkpoints_bytes,
            )
        )
        self._stack.callback(store.close)
        relay = Relay(layout, store, options, self.feed, checked)
        teller = logs.add_teller(lambda line: relay.take_lines(OWN, "daemon", [line]))
        self._stack.callback(logs.remove, teller)
        ready = asyncio.Event()
        self._spawn("relay", relay.run(ready.set))
        await self._until(ready)
        name = self.settings.run.name
        if not store.all():
            await relay.create_run(name, first_run_config(self.settings), author=self.name, start="now")
        elif ignored := ignored_settings(self.settings, _configuration(store, name)):
            self.notice = f"{', '.join(ignored)}: {IGNORED}"
            log.warning("%s", self.notice)
        own = {} if self.settings.peers.token.get_secret_value() else {role: f"local-{role}" for role in self._peer_roles}
        own_tokens = {role: tokens.issue(name, role, replace=True) for role, name in own.items()}
        access = Access(
            tokens, relay, lambda: Address(options.host, listener.port, options.address, identity.pin), own.values()
        )
        listener = Listener(
            options.host,
            options.port,
            server_context(identity.key, identity.certificate),
            lambda token, _address: tokens.check(token),
            lambda: Welcome(self.name, __version__, time.time()),
            relay.serve,
            enrol=access.enrol,
            outlook=lambda grant: relay.outlook(grant.name, grant.scope),
        )
        await listener.start()
        self._stack.push_async_callback(listener.close)
        self._spawn("access", access.run())
        self.node = Node(self.name, self.settings.roles, self.feed, store, Shelf(layout.shelf), relay, accepted)
        control = ControlServer(self.settings.control, self.node, access)
        await control.start()
        self._stack.push_async_callback(control.close)
        host = "127.0.0.1" if options.host in ("0.0.0.0", "::", "") else options.host  # noqa: S104 - compared, not bound
        url = f"wss://{host}:{listener.port}"
        admin = hash_token(await asyncio.to_thread(admin_token, layout.control_token, tokens))
        page = f"{control.url}/#code={access.codes.new(admin)}"
        self.addresses = {"page": page, "peers": url, "control": control.url, "pin": identity.pin}
        return lambda role: _Access(url, identity.pin, "", "", own[role], own_tokens[role])

    # Worker and trainer

    def _access(self, role: str, local: Callable[[str], _Access] | None) -> _Access:
        peers = self.settings.peers
        token = peers.token.get_secret_value()
        if local is not None and not token:
            return local(role)
        if not token:
            raise SettingsError(
                f"this {role} has no token: on the relay's machine run `tmrld token new --role {role} --name {self.name}`, "
                "and set peers.token (or TMRLD_PEERS__TOKEN) here"
            )
        if not peers.pin and not peers.ca_file:
            raise SettingsError(
                "nothing says which relay to trust: set peers.pin to the hash that the relay prints when it starts, "
                "or peers.ca_file to a file of certificates"
            )
        return _Access(peers.relay, peers.pin, peers.ca_file, peers.proxy, self.name, token)

    def _make_trainer(self, layout: Layout) -> _PeerRole:
        for package in ("torch", "numba"):
            if importlib.util.find_spec(package) is None:
                raise SettingsError(
                    f'a trainer needs {package}, which is not installed here: run `pip install "tmrld[trainer]"`'
                )
        from tmrld.trainer.trainer import TrainerRole

        options = self.settings.trainer
        return TrainerRole(layout, options.device, self.feed, self._doctor, options.profile_updates)

    async def _make_worker(self, layout: Layout, name: str) -> _PeerRole:
        from tmrld.storage.sample_log import SampleLog
        from tmrld.worker.outbox import Outbox
        from tmrld.worker.worker import WorkerRole

        options = self.settings.worker
        spool = await asyncio.to_thread(SampleLog, layout.spool, quota_bytes=options.spool_bytes)
        outbox = Outbox(spool, options.memory_bytes, layout.worker_made)
        return WorkerRole(
            name,
            outbox,
            self.feed,
            options.environments,
            files=layout.worker_files,
            on_relay_lost=options.on_relay_lost,
            doctor=self._doctor,
        )

    async def _doctor(self, environment: dict[str, Any]) -> dict[str, Any]:
        """Look what is wrong with this machine, in a process of its own."""
        from tmrld.doctor.apart import examined

        return await examined(self.settings, environment)

    def _start_peer(self, role: str, member: _PeerRole, access: _Access) -> None:
        context = client_context(access.pin or None, Path(access.ca_file) if access.ca_file else None)
        hello = Hello(role, access.name, __version__, machine=machine_facts())
        dialer = Dialer(access.url, access.token, hello, context, proxy=access.proxy or None)
        if self.node is None:  # a relay tells its daemon's lines itself
            teller = logs.add_teller(lambda line: member.tell_lines(LogLines("daemon", [line])))
            self._stack.callback(logs.remove, teller)
        self._spawn(role, dialer.run(member.serve))
        self._members.append(member)

    async def _close_members(self) -> None:
        """Stop the engines, all at once, while the links still stand: what they say last reaches the relay."""
        await asyncio.gather(*(member.close() for member in self._members))

    # Tasks

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a part in a task; its failure ends the daemon, the daemon's end cancels it."""
        task = asyncio.create_task(work, name=name)

        def ended(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and done.exception() is not None:
                self._failure = self._failure or done.exception()
                self._ended.set()

        async def cancel() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

        task.add_done_callback(ended)
        self._stack.push_async_callback(cancel)

    async def _until(self, ready: asyncio.Event) -> None:
        """Wait for a part to be ready, or raise what it failed with."""
        waits = [asyncio.create_task(ready.wait()), asyncio.create_task(self._ended.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self._failure is not None:
            raise self._failure


def _configuration(store: RunStore, name: str) -> dict[str, Any]:
    """That of a run, as far as there is one of this name."""
    known = any(run.name == name for run in store.all())
    return store.revision(name).config if known else {}
