"""Who may reach a relay, and what follows when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tmrld.access import REVOKED, Access, Address, reachable
from tmrld.errors import BadInput, Conflict, NotFound, Refused
from tmrld.security.invites import Invite
from tmrld.security.tokens import TokenStore, hash_token

PIN = "sha256:" + "ab" * 32


class Links:
    """A relay role that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.known: set[str] = set()
        self.names: dict[str, str] = {}

    def cut(self, name: str, token_hash: str, reason: str) -> None:
        self.told.append(("cut", name, token_hash, reason))

    def rename(self, name: str, new: str) -> None:
        self.told.append(("rename", name, new))

    def named(self, name: str, token_hash: str) -> None:
        self.names[name] = token_hash

    def met(self, name: str, role: str) -> None:
        self.known.add(name)

    def forget(self, name: str) -> bool:
        found = name in self.known
        self.known.discard(name)
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TokenStore]:
    store = TokenStore(tmp_path / "tokens.db")
    yield store
    store.close()


@pytest.fixture
def links() -> Links:
    return Links()


@pytest.fixture
def access(store: TokenStore, links: Links) -> Access:
    return Access(store, links, lambda: Address("0.0.0.0", 7401, "relay.example", PIN), ["local-worker"])


def test_a_machine_joins_is_renamed_and_revoked(access: Access, links: Links, store: TokenStore) -> None:
    async def story() -> None:
        made = await access.invite("worker", None, 60)
        invite = Invite.parse(made.invite)
        assert (invite.address, invite.pin, made.warning) == ("relay.example:7401", PIN, None)
        assert access.enrol(invite.secret, "gamer", hash_token("mine")).name == "gamer"
        assert links.known == {"gamer"}
        with pytest.raises(Refused):
            access.enrol(invite.secret, "other", hash_token("other"))
        await access.rename_node("gamer", "lab")
        await access.revoke_node("lab")
        assert links.told == [("rename", "gamer", "lab"), ("cut", "lab", hash_token("mine"), REVOKED)]
        assert store.check("mine") is None

    asyncio.run(story())


def test_what_another_process_changes_is_noticed(access: Access, links: Links, store: TokenStore, tmp_path: Path) -> None:
    async def story() -> None:
        token = store.issue("gamer", "worker")
        watching = asyncio.create_task(access.run())
        await asyncio.sleep(0)
        beside = TokenStore(tmp_path / "tokens.db")
        change = access.next_change()
        beside.issue("gamer", "worker", replace=True)
        async with asyncio.timeout(20):
            await change.wait()
        beside.close()
        watching.cancel()
        assert links.told == [("cut", "gamer", hash_token(token), REVOKED)]

    asyncio.run(story())


def test_whose_a_name_is_from_now_on_is_told(access: Access, links: Links, store: TokenStore) -> None:
    async def story() -> None:
        first = await access.issue_token("gpu", "worker")
        await access.rename_node("gpu", "gpu2")
        second = await access.issue_token("gpu", "worker")
        assert links.names == {"gpu2": hash_token(first), "gpu": hash_token(second)}

    asyncio.run(story())


def test_a_node_without_a_token_can_be_forgotten(access: Access, links: Links) -> None:
    async def story() -> None:
        links.known.add("old")
        await access.revoke_node("old")
        with pytest.raises(NotFound, match="no node 'old'"):
            await access.revoke_node("old")

    asyncio.run(story())


def test_the_relays_own_worker_stays(access: Access, store: TokenStore) -> None:
    async def story() -> None:
        store.issue("local-worker", "worker")
        for change in (
            access.revoke_node("local-worker"),
            access.revoke_token("local-worker"),
            access.rename_node("local-worker", "x"),
        ):
            with pytest.raises(Conflict, match="part of the relay's own daemon"):
                await change

    asyncio.run(story())


def test_people_are_no_nodes(access: Access, store: TokenStore) -> None:
    store.issue("ann", "admin")
    with pytest.raises(NotFound):
        asyncio.run(access.revoke_node("ann"))
    assert [record.name for record in store.list()] == ["ann"]


@pytest.mark.parametrize(
    ("host", "public", "wanted", "expected", "warned"),
    [
        ("0.0.0.0", "relay.example", None, "relay.example:7401", False),
        ("0.0.0.0", "relay.example:99", None, "relay.example:99", False),
        ("127.0.0.1", "", "[2001:db8::1]:80", "[2001:db8::1]:80", False),
        ("127.0.0.1", "", None, "127.0.0.1:7401", True),
        ("::1", "", None, "[::1]:7401", True),
        ("10.0.0.2", "", None, "10.0.0.2:7401", False),
    ],
)
def test_an_invite_says_where_the_relay_is(host: str, public: str, wanted: str | None, expected: str, warned: bool) -> None:
    where, warning = reachable(Address(host, 7401, public, PIN), wanted)
    assert (where, warning is not None) == (expected, warned)


@pytest.mark.parametrize("wanted", ["a b", "http://x", "x:y", "x:99999", "me@x", "x/y", ":80"])
def test_what_is_no_address_is_told_so(wanted: str) -> None:
    with pytest.raises(BadInput, match="no address of a relay"):
        reachable(Address("0.0.0.0", 7401, "", PIN), wanted)
