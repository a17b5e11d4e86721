import msgpack
import pytest

from tests.protocol.examples import every_message
from tmrld.errors import ProtocolError, Refused
from tmrld.protocol.codec import KINDS, encode
from tmrld.protocol.conversation import Conversation, Side, check_subprotocol, choose_subprotocol
from tmrld.protocol.messages import TABLE, Ack, Grant, Hello, Welcome

HELLO = Hello("worker", "gamer", "0.1.0")
WELCOME = Welcome("hub", "0.1.0", 0.0)


def opened(role: str) -> tuple[Conversation, Conversation]:
    peer, relay = Conversation("peer", role, "gamer"), Conversation("relay", role, "gamer")
    relay.receive(peer.send(Hello(role, "gamer", "0.1.0")))
    peer.receive(relay.send(WELCOME))
    return peer, relay


def test_a_session_opens_with_hello_and_welcome() -> None:
    peer, relay = Conversation("peer", "worker", "gamer"), Conversation("relay", "worker", "gamer")
    assert relay.receive(peer.send(HELLO)) == HELLO
    assert not peer.open
    assert not relay.open
    assert peer.receive(relay.send(WELCOME)) == WELCOME
    assert peer.open
    assert relay.open
    assert relay.hello == HELLO
    assert peer.welcome == WELCOME


@pytest.mark.parametrize("role", ["worker", "trainer"])
def test_each_end_says_what_the_table_allows_it_and_nothing_else(role: str) -> None:
    rows = {row.kind: row for row in TABLE}
    for message in every_message():
        kind = KINDS[type(message)]
        if kind in ("hello", "welcome"):
            continue
        peer, relay = opened(role)
        for speaker, listener, allowed in (
            (peer, relay, role in rows[kind].to_relay),
            (relay, peer, role in rows[kind].from_relay),
        ):
            if allowed:
                assert listener.receive(speaker.send(message)) == message
            else:
                with pytest.raises(ValueError, match=f"does not say {kind}"):
                    speaker.send(message)
                with pytest.raises(ProtocolError, match=f"does not say {kind}"):
                    listener.receive(encode(message))


def test_who_says_what_to_whom_is_in_the_sentence() -> None:
    peer, relay = opened("worker")
    with pytest.raises(ProtocolError, match=r"^a worker does not say grant to the relay$") as raised:
        relay.receive(encode(Grant("oval", 5)))
    assert raised.value.code == 1002
    with pytest.raises(ProtocolError, match=r"^the relay does not say grant to a worker$"):
        peer.receive(encode(Grant("oval", 5)))


@pytest.mark.parametrize("side", ["peer", "relay"])
def test_nothing_comes_before_the_opening(side: Side) -> None:
    conversation = Conversation(side, "worker", "gamer")
    with pytest.raises(ProtocolError, match="ack before hello: a session opens with hello"):
        conversation.receive(encode(Ack("1f", [1])))
    with pytest.raises(ValueError, match="ack before hello"):
        conversation.send(Ack("1f", [1]))


def test_the_opening_comes_once() -> None:
    peer, relay = opened("worker")
    with pytest.raises(ProtocolError, match="hello came a second time"):
        relay.receive(encode(HELLO))
    with pytest.raises(ValueError, match="hello was said already"):
        peer.send(HELLO)


def test_a_refused_message_does_not_move_the_session() -> None:
    relay = Conversation("relay", "worker", "gamer")
    with pytest.raises(ProtocolError):
        relay.receive(msgpack.packb(["hello", {}, b""]))
    assert relay.receive(encode(HELLO)) == HELLO


@pytest.mark.parametrize(
    ("hello", "sentence"),
    [
        (Hello("trainer", "gamer", "0.1.0"), "hello.role is 'trainer', but the token is that of a worker"),
        (Hello("worker", "rival", "0.1.0"), "hello.name is 'rival', but the token was made for 'gamer'"),
    ],
)
def test_a_peer_is_who_its_token_says(hello: Hello, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence) as raised:
        Conversation("relay", "worker", "gamer").receive(encode(hello))
    assert raised.value.code == 1008


def test_only_workers_and_trainers_are_peers() -> None:
    with pytest.raises(ValueError, match="role is 'viewer'"):
        Conversation("relay", "viewer", "x")


@pytest.mark.parametrize(
    ("offered", "sentence"),
    [
        (["tmrld.v2"], "this relay speaks tmrld.v1, worker gamer offers tmrld.v2: upgrade the relay"),
        (["tmrld.v3", "tmrld.v2"], "this relay speaks tmrld.v1, worker gamer offers tmrld.v3 and tmrld.v2: upgrade the relay"),
        (["chat"], "worker gamer offers chat, which is no version of this protocol: upgrade the worker"),
        ([], "worker gamer offers nothing, which is no version of this protocol: upgrade the worker"),
    ],
)
def test_a_stranger_learns_which_side_to_upgrade(offered: list[str], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        choose_subprotocol(offered, "worker", "gamer")


def test_an_older_peer_is_told_to_upgrade() -> None:
    with pytest.raises(
        Refused, match=r"this relay speaks tmrld.v5 and tmrld.v4, worker gamer offers tmrld.v3: upgrade the worker"
    ):
        choose_subprotocol(["tmrld.v3"], "worker", "gamer", ["tmrld.v5", "tmrld.v4"])


@pytest.mark.parametrize(
    ("offered", "spoken", "common"),
    [
        (["tmrld.v1"], ["tmrld.v2", "tmrld.v1"], "tmrld.v1"),  # a newer relay, an older peer
        (["tmrld.v2", "tmrld.v1"], ["tmrld.v1"], "tmrld.v1"),
        (["tmrld.v2", "tmrld.v10", "tmrld.v9"], ["tmrld.v9", "tmrld.v10"], "tmrld.v10"),  # as numbers, in any order
    ],
)
def test_the_highest_version_that_both_know_is_spoken(offered: list[str], spoken: list[str], common: str) -> None:
    assert choose_subprotocol(offered, "worker", "gamer", spoken) == common


def test_a_server_that_chose_nothing_is_no_relay() -> None:
    check_subprotocol("tmrld.v1", "relay.example:443")
    with pytest.raises(Refused, match=r"relay.example:443 answers with no protocol, expected tmrld.v1"):
        check_subprotocol(None, "relay.example:443")
