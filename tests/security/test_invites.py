import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmrld.errors import BadInput, Conflict, NotFound, Refused
from tmrld.security.invites import Invite, Invites
from tmrld.security.tokens import Grant, TokenStore, hash_token

PIN = "sha256:" + "ab" * 32
SECRET = "A" * 43


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Iterator[TokenStore]:
    store = TokenStore(tmp_path / "tokens.db", clock)
    yield store
    store.close()


@pytest.fixture
def invites(tokens: TokenStore, clock: Clock) -> Invites:
    return Invites(tokens, clock)


# The line


@pytest.mark.parametrize("role", ["worker", "trainer"])
@pytest.mark.parametrize("address", ["relay.example:7401", "[2001:db8::1]:7401", "10.0.0.2:1"])
def test_an_invite_is_read_as_it_was_written(role: str, address: str) -> None:
    invite = Invite(address, role, PIN, SECRET)
    assert Invite.parse(invite.text()) == invite
    assert Invite.parse("\n".join(invite.text())) == invite
    assert SECRET not in repr(invite)


@given(st.data())
def test_every_slip_of_one_character_is_noticed(data: st.DataObject) -> None:
    text = Invite("relay.example:7401", "worker", PIN, SECRET).text()
    place = data.draw(st.integers(len("tmrld1."), len(text) - 2))  # the last may hold bits that mean nothing
    letter = data.draw(st.sampled_from("abcXYZ019-_ü."))
    changed = text[:place] + letter + text[place + 1 :]
    if changed != text:
        with pytest.raises(BadInput, match="mistyped"):
            Invite.parse(changed)


@given(st.text())
def test_what_is_no_invite_is_told_so(text: str) -> None:
    with pytest.raises(BadInput, match=r"no invite|mistyped"):
        Invite.parse(text)
    with pytest.raises(BadInput, match="mistyped"):
        Invite.parse("tmrld1." + text)


# Using it


def test_an_invite_lets_one_machine_in_with_a_credential_of_its_own(invites: Invites, tokens: TokenStore) -> None:
    record, secret = invites.make("worker", None, 60)
    assert (record.role, record.name, record.expires, record.used_by) == ("worker", None, 1060.0, None)
    assert invites.use(secret, "gamer", hash_token("mine")) == Grant("gamer", "worker")
    assert tokens.check("mine") == Grant("gamer", "worker")
    assert [each.used_by for each in invites.list()] == ["gamer"]
    with pytest.raises(Refused, match="used already, by gamer"):
        invites.use(secret, "thief", hash_token("another"))
    assert tokens.check("another") is None


def test_who_is_given_an_old_name_has_it_alone(invites: Invites, tokens: TokenStore) -> None:
    former = tokens.issue("gamer", "worker")
    tokens.rename("gamer", "lab")
    _, secret = invites.make("worker", None, 60)
    assert invites.use(secret, "gamer", hash_token("mine")).name == "gamer"
    assert tokens.check(former) == Grant("lab", "worker")


def test_the_machine_whose_answer_was_lost_may_ask_again(invites: Invites, tokens: TokenStore) -> None:
    _, secret = invites.make("worker", None, 60)
    invites.use(secret, "gamer", hash_token("mine"))
    assert invites.use(secret, "gamer", hash_token("mine")) == Grant("gamer", "worker")
    tokens.revoke("gamer")
    with pytest.raises(Refused, match="used already"):
        invites.use(secret, "gamer", hash_token("mine"))


def test_of_many_that_come_at_once_one_gets_in(invites: Invites, tokens: TokenStore) -> None:
    _, secret = invites.make("worker", None, 60)
    start = threading.Barrier(8)
    let_in: list[str] = []

    def come(number: int) -> None:
        start.wait()
        with contextlib.suppress(Refused):
            let_in.append(invites.use(secret, f"m{number}", hash_token(f"t{number}")).name)

    machines = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join()
    assert [record.name for record in tokens.list()] == let_in
    assert len(let_in) == 1


@pytest.mark.parametrize(("later_s", "words"), [(60, "less than a minute"), (60 + 90, "1 minute"), (60 + 7300, "2 hours")])
def test_an_invite_runs_out(later_s: float, words: str, invites: Invites, clock: Clock) -> None:
    _, secret = invites.make("worker", None, 60)
    clock.now += later_s
    with pytest.raises(Refused, match=f"ran out {words} ago"):
        invites.use(secret, "gamer", hash_token("mine"))


def test_a_revoked_invite_is_unknown(invites: Invites) -> None:
    record, secret = invites.make("worker", None, 60)
    invites.revoke(record.id)
    with pytest.raises(Refused, match="does not know the invite"):
        invites.use(secret, "gamer", hash_token("mine"))
    with pytest.raises(NotFound, match="no invite"):
        invites.revoke(record.id)


def test_a_machine_is_called_as_the_invite_says_or_else_as_it_likes(invites: Invites) -> None:
    def joins(name: str | None, number: int) -> str:
        _, secret = invites.make("worker", name, 60)
        return invites.use(secret, "gamer", hash_token(f"{number}")).name

    assert [joins(None, number) for number in range(4)] == ["gamer", "gamer-worker", "gamer-2", "gamer-3"]
    assert joins("lab", 9) == "lab"


def test_a_name_is_one_machines(invites: Invites) -> None:
    _, first = invites.make("worker", "lab", 60)
    _, second = invites.make("worker", "lab", 60)
    invites.use(first, "x", hash_token("1"))
    with pytest.raises(Refused, match="for lab, and there is one of that name already"):
        invites.use(second, "x", hash_token("2"))
    with pytest.raises(Conflict, match="there is a 'lab' already"):
        invites.make("trainer", "lab", 60)


def test_an_invite_is_for_a_node(invites: Invites) -> None:
    with pytest.raises(BadInput, match="worker or trainer"):
        invites.make("admin", None, 60)
    with pytest.raises(BadInput, match="cannot be a name"):
        invites.make("worker", "../lab", 60)


def test_nobody_is_called_what_the_relay_is_called(tokens: TokenStore, invites: Invites) -> None:
    _, secret = invites.make("worker", None, 60.0)
    assert invites.use(secret, "relay", hash_token("x")).name == "relay-worker"
    with pytest.raises(BadInput, match="what the relay itself is called"):
        invites.make("worker", "relay", 60.0)
    with pytest.raises(BadInput, match="what the relay itself is called"):
        tokens.issue("relay", "worker")
    with pytest.raises(BadInput, match="what the relay itself is called"):
        tokens.rename("relay-worker", "relay")
