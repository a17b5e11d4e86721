"""One session between a relay and a peer as a state machine: bytes in → messages, messages → bytes out.

How it goes is data.  A session opens with a fixed script: the peer says hello, the relay answers welcome.  From then on each end
may say whatever `messages.TABLE` allows it, in any order:

=========  =======================  ==========================================
side       opening                  then
=========  =======================  ==========================================
``peer``   send hello, hear         sends ``to_relay`` of its role, hears
           welcome                  ``from_relay`` of its role
``relay``  hear hello, send         the mirror image, with the role of the
           welcome                  peer that it talks to
=========  =======================  ==========================================

A move of the other end that is not legal raises `ProtocolError`, and the session is over; one of our own raises `ValueError`,
because this program is wrong.  There is no socket, no clock and no task in here: `peers.link` drives it.

Before all this the two ends agree on a version of the protocol by `choose_subprotocol`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from tmrld.errors import ProtocolError, Refused
from tmrld.protocol.codec import KINDS, decode, encode
from tmrld.protocol.messages import SPOKEN, TABLE, Hello, Message, Welcome

Side = Literal["relay", "peer"]

ROLES = ("worker", "trainer")
"""What a peer can be."""

NOT_ALLOWED = 1008
"""Close code for a peer that is not who it has to be (RFC 6455, section 7.4.1)."""

_HEAR, _SAY = "hear", "say"

_OPENING: dict[Side, tuple[tuple[str, str], ...]] = {
    "peer": ((_SAY, "hello"), (_HEAR, "welcome")),
    "relay": ((_HEAR, "hello"), (_SAY, "welcome")),
}
_OPENING_KINDS = frozenset({"hello", "welcome"})
_TO_RELAY = {role: frozenset(row.kind for row in TABLE if role in row.to_relay) - _OPENING_KINDS for role in ROLES}
_FROM_RELAY = {role: frozenset(row.kind for row in TABLE if role in row.from_relay) - _OPENING_KINDS for role in ROLES}


class Conversation:
    """The session of one link, seen from one ``side``.  ``role`` and ``name`` are those of the peer, on both sides.

    On the relay's side they come from the peer's token, and its hello has to repeat them; instead of the name it may say one of
    the ``former`` ones.
    """

    def __init__(self, side: Side, role: str, name: str, former: Sequence[str] = ()) -> None:
        if role not in ROLES:
            raise ValueError(f"role is {role!r}, expected one of {ROLES}")
        self.side: Side = side
        self.role = role
        self.name = name
        self.former = tuple(former)
        self.hello: Hello | None = None
        self.welcome: Welcome | None = None
        self._moves_made = 0
        self._may = {
            _SAY: (_TO_RELAY if side == "peer" else _FROM_RELAY)[role],
            _HEAR: (_FROM_RELAY if side == "peer" else _TO_RELAY)[role],
        }

    @property
    def open(self) -> bool:
        """Whether hello and welcome are both said."""
        return self._moves_made == len(_OPENING[self.side])

    def send(self, message: Message) -> bytes:
        """The bytes to send for this message.

        Raises `ValueError` if it is not this end's turn to say that, `BadInput` if the message cannot travel.
        """
        kind = KINDS[type(message)]
        problem = self._problem(_SAY, kind)
        if problem:
            raise ValueError(problem)
        data = encode(message)
        self._made(message)
        return data

    def receive(self, data: bytes | memoryview) -> Message:
        """The message that these bytes hold.  Raises `ProtocolError` if they hold none, or one that may not come now."""
        message = decode(data)
        problem = self._problem(_HEAR, KINDS[type(message)])
        if problem:
            raise ProtocolError(problem)
        if isinstance(message, Hello):
            self._check_identity(message)
        self._made(message)
        return message

    def _problem(self, move: str, kind: str) -> str:
        """Why this move is not legal now; "" if it is."""
        if self.open:
            if kind in self._may[move]:
                return ""
            if kind in _OPENING_KINDS:
                return f"{kind} came a second time" if move == _HEAR else f"{kind} was said already"
            ends = (f"a {self.role}", "the relay")
            speaker, listener = ends if (self.side == "peer") == (move == _SAY) else ends[::-1]
            return f"{speaker} does not say {kind} to {listener}"
        expected_move, expected_kind = _OPENING[self.side][self._moves_made]
        if (move, kind) == (expected_move, expected_kind):
            return ""
        return f"{kind} before {expected_kind}: a session opens with hello from the peer and welcome from the relay"

    def _check_identity(self, hello: Hello) -> None:
        if hello.role != self.role:
            raise ProtocolError(f"hello.role is {hello.role!r}, but the token is that of a {self.role}", NOT_ALLOWED)
        if hello.name not in (self.name, *self.former):
            raise ProtocolError(f"hello.name is {hello.name!r}, but the token was made for {self.name!r}", NOT_ALLOWED)

    def _made(self, message: Message) -> None:
        if self.open:
            return
        self._moves_made += 1
        if isinstance(message, Hello):
            self.hello = message
        elif isinstance(message, Welcome):
            self.welcome = message


def choose_subprotocol(offered: Sequence[str], role: str, name: str, spoken: Sequence[str] = SPOKEN) -> str:
    """The highest version that the peer offers and the relay speaks; raises `Refused`, which says which side to upgrade.

    The relay calls this with what a peer offers in its opening request, before the connection is made.
    """
    if common := set(offered) & set(spoken):
        return max(common, key=_version)
    versions = [version for version in map(_version, offered) if version]
    ours = f"this relay speaks {_listed(spoken)}, {role} {name}"
    if not versions:
        raise Refused(f"{ours} offers {_listed(offered)}, which is no version of this protocol: upgrade the {role}")
    older = "relay" if max(versions) > max(map(_version, spoken)) else role
    raise Refused(f"{ours} offers {_listed(offered)}: upgrade the {older}")


def check_subprotocol(chosen: str | None, relay: str, spoken: Sequence[str] = SPOKEN) -> None:
    """The peer's side: raises `Refused` unless ``relay`` (an address) answered with a version that was offered."""
    if chosen not in spoken:
        raise Refused(
            f"{relay} answers with {chosen or 'no protocol'}, expected {_listed(spoken)}: "
            "it is not a tmrld relay, or something between changes what is said"
        )


def _version(subprotocol: str) -> int:
    """The number in ``tmrld.v12``; 0 for anything else."""
    match = re.fullmatch(r"tmrld\.v([1-9][0-9]{0,5})", subprotocol)
    return int(match[1]) if match else 0


def _listed(offered: Sequence[str]) -> str:
    return " and ".join(text[:32] for text in offered[:4]) if offered else "nothing"
