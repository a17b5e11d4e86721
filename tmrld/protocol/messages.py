"""Every message that peers exchange: the reference text of the protocol ``tmrld.v1``.

On the wire a message is one msgpack value ``[kind, header, payload]``: a string, a map, and bytes (empty for most kinds).
Each message is a frozen dataclass here; its fields are the header, except a field named ``payload``, which is the third
element.  `TABLE` gives each kind its name, who may send it, and how large it may be: a new message is one dataclass and one
row.
Daemon and engine speak the same messages over a pipe.

How a session goes
------------------
A peer dials, proves who it is (a bearer token in the opening request, inside TLS), and says `Hello`.  The relay answers
`Welcome` and then `Assign`: the run to work for (or none), its configuration and state, again whenever one of them changes.

*Worker*: `Describe` (the spaces) → `TrackLine` → `ChunkMessage` … ← `Ack` (stored for good) ← `Allowance` (how much may be collected)
← `WeightsMessage` (only the newest ever waits).

*Trainer*: ← `Spaces` → `Resume` (from which update and offset) ← `Resumed` (the lineage) ← `Stored` … → `Consumed` (moves the
window of flow control) → `Grant` (credits for the whole run) → `WeightsMessage`, `CheckpointMessage`, `Metrics`.
After a broken line a running trainer says `Consume` instead of `Resume`.

Both send `Status` and `LogLines`, and answer a `Command` with a `Result`.  A file of the relay's shelf that its assignment names, and
that it does not have, a node fetches before it begins: `FetchFile` ← `FileMessage`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Plain = dict[str, Any]
"""JSON-like values: None, bool, int, float, str, bytes, lists and maps of these; nested at most 16 deep."""

PROTOCOL = "tmrld.v1"
"""The WebSocket subprotocol.  A change that old peers cannot read gets a new number."""
SPOKEN = (PROTOCOL,)
"""Every version that this program can speak, the newest first: peers offer all, the relay takes the highest that it knows."""


@dataclass(frozen=True)
class Hello:
    """First words of a peer.  ``role`` is "worker" or "trainer"; ``name`` must be one that the holder of its token has or had."""

    role: str
    name: str
    version: str
    capabilities: list[str] = field(default_factory=list)
    machine: Plain = field(default_factory=dict)


@dataclass(frozen=True)
class Welcome:
    """The relay's answer: who it is, and its clock (seconds since 1970) for display only.

    ``name`` is what the relay calls this peer: its hello may say a name from before it was renamed there.
    """

    relay: str
    version: str
    time: float
    name: str = ""


@dataclass(frozen=True)
class Assign:
    """What this node is to work on now; replaces the assignment before.  ``run`` is "" for nothing.

    ``config`` is the run's configuration at ``revision``; ``state`` is "running", "paused" or "stopped".
    For a worker: ``evaluates`` says that it is the one that drives evaluation episodes.
    For a trainer: ``checkpoint_update`` and ``checkpoint_lineage`` name the newest checkpoint that the relay holds (-1: none).
    A lineage beyond that in which the trainer is at work says that the run was led back to it: the trainer goes on from there.
    ``created`` is when the run was made: another run of the same name has another.
    ``files`` are those of the relay's shelf that the node needs, ``[kind, name, sha256, size_bytes]`` each.
    ``reason`` says why there is nothing for a trainer to do, where another one does it; "" otherwise.
    """

    run: str
    config: Plain
    revision: int
    state: str
    evaluates: bool = False
    checkpoint_update: int = -1
    checkpoint_lineage: int = -1
    created: float = 0.0
    files: list[Any] = field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True)
class Describe:
    """Worker: the spaces of its environment (`EnvSpec.to_plain`), and the incarnation under which it will send chunks.

    The first worker of a run fixes the spaces for all.
    """

    run: str
    incarnation: str
    spec: Plain


@dataclass(frozen=True)
class Spaces:
    """Relay to trainer: the run's spaces, as soon as they are known."""

    run: str
    spec: Plain


@dataclass(frozen=True)
class ChunkMessage:
    """Worker: a `payloads.Chunk` under way.  The relay reads the header, stores the whole, never opens the payload.

    ``columns`` and ``state`` list ``[name, dtype, shape]``; the payload is their bytes in that order, C-contiguous, little
    endian, zstd-compressed when ``compression`` is "zstd"; ``raw_bytes`` is the size after decompression.  In one that came in, the
    payload is a view of what it came in.
    ``summary`` is None until the episode ends, then the fields of `payloads.EpisodeSummary` with the trajectory as
    little-endian float32 bytes.
    """

    run: str
    worker: str
    incarnation: str
    number: int
    episode: str
    first_step: int
    steps: int
    lead: int
    track: str
    purpose: str
    ended: str
    seed: int | None
    columns: list[Any]
    state: list[Any]
    summary: Plain | None
    compression: str
    raw_bytes: int
    payload: bytes | memoryview


@dataclass(frozen=True)
class Ack:
    """Relay: these chunks of one incarnation are stored and survive power loss; forget them."""

    incarnation: str
    numbers: list[int]


@dataclass(frozen=True)
class Allowance:
    """Relay: how many training transitions this incarnation may have produced in all.

    The number is absolute, so that repeating or losing a message does no harm.
    """

    run: str
    incarnation: str
    transitions: int


@dataclass(frozen=True)
class Grant:
    """Trainer: how many training transitions the run may have collected in all (update-to-data ratio plus slack)."""

    run: str
    transitions: int


@dataclass(frozen=True)
class WeightsMessage:
    """Trainer to relay to workers: a version of the policy; ``payload`` is a safetensors file with its manifest inside.

    ``evaluate`` asks for that many evaluation episodes with this version.  Versions of a run only grow.
    """

    run: str
    version: int
    update: int
    lineage: int
    evaluate: int
    payload: bytes


@dataclass(frozen=True)
class FetchCheckpoint:
    """Trainer: send me this checkpoint of the run."""

    run: str
    update: int


@dataclass(frozen=True)
class CheckpointMessage:
    """Trainer to relay, to be kept; relay to trainer, in answer to `FetchCheckpoint`.

    ``offset`` is how far the sample log had been consumed, ``window`` the offset of the oldest chunk that the replay memory
    still held: pruning may not pass the window of a kept checkpoint.
    """

    run: str
    update: int
    lineage: int
    offset: int
    window: int
    payload: bytes


@dataclass(frozen=True)
class FetchFile:
    """Any node: send me this file, which my assignment names."""

    kind: str
    name: str
    sha256: str


@dataclass(frozen=True)
class FileMessage:
    """Relay: a file of its shelf, in answer to `FetchFile`.

    An empty ``sha256`` says that it cannot be had now: another assignment follows when it can.
    """

    kind: str
    name: str
    sha256: str
    payload: bytes


@dataclass(frozen=True)
class Resume:
    """Trainer: I start the run at this update, from this offset of the sample log; 0 and 0 from the beginning.

    ``lineage`` is that of the checkpoint that I start from; -1 if there is none.
    ``offset`` is where the relay shall start to send; ``credit_bytes`` how much may be under way unconsumed.
    """

    run: str
    update: int
    offset: int
    credit_bytes: int
    lineage: int = -1


@dataclass(frozen=True)
class Resumed:
    """Relay: the lineage to stamp on weights and metrics.  A new one if the run had already gone beyond that update.

    ``version`` is the newest weights version stored; new ones must be larger.
    """

    run: str
    lineage: int
    version: int


@dataclass(frozen=True)
class Consume:
    """Trainer, after a broken line: go on sending from this offset."""

    run: str
    offset: int
    credit_bytes: int


@dataclass(frozen=True)
class Stored:
    """Relay to trainer: committed records of the sample log, in its order (`codec.seal_stored`).

    ``records`` has of each ``[offset, next_offset, bytes]``: where it begins, where the one after it will, and the size of its body.
    ``payload`` has their bodies one after another, each a `ChunkMessage` as it came over the wire.  ``next_offset`` is that of the
    last one.
    """

    run: str
    next_offset: int
    records: list[Any]
    payload: bytes | memoryview


@dataclass(frozen=True)
class Consumed:
    """Trainer: everything before ``offset`` is in my replay memory or will never be; send more."""

    run: str
    offset: int


@dataclass(frozen=True)
class Metrics:
    """Trainer: numbers at a point of the training.  ``values`` maps names to floats; NaN and inf are allowed."""

    run: str
    lineage: int
    update: int
    transitions: int
    values: Plain


@dataclass(frozen=True)
class Status:
    """What a node or engine is doing, for people: ``state`` is one word, ``detail`` a sentence, ``values`` numbers."""

    run: str
    state: str
    detail: str = ""
    values: Plain = field(default_factory=dict)


@dataclass(frozen=True)
class LogLines:
    """Log lines for the relay's tail: each ``[monotonic seconds, level, logger, text]``."""

    source: str
    lines: list[Any]


@dataclass(frozen=True)
class TrackLine:
    """Worker, after `Describe`: the line of the track that it drives on, for maps.

    ``width_m`` is the width of the road (None: unknown).  The payload holds the line's points from start to finish as
    little-endian float32, x and z in metres by turns, at most `MAX_TRACK_POINTS` of them.
    """

    run: str
    track: str
    width_m: float | None
    payload: bytes


@dataclass(frozen=True)
class Preview:
    """Worker, while it is asked to by `Command` "preview": what is seen before one step, and what is done about it.

    The payload is a JPEG of ``width`` × ``height`` pixels; ``beams`` are lines in it, ``[x0, y0, x1, y1]``; ``action`` is what the
    policy chose, ``speed`` in m/s (None: unknown), ``step`` counts within the episode.
    """

    run: str
    width: int
    height: int
    beams: list[Any]
    action: list[Any]
    speed: float | None
    step: int
    payload: bytes


@dataclass(frozen=True)
class Command:
    """Relay to a node, or daemon to its engine: do this.  ``name``: "start", "stop", "restart", "checkpoint", "evaluate", …

    "preview" says with ``on`` whether to send `Preview`, and has no answer.
    """

    id: int
    name: str
    arguments: Plain = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The answer to a `Command`: ``error`` is "" when it was done."""

    id: int
    error: str = ""
    value: Plain = field(default_factory=dict)


Message = (
    Hello
    | Welcome
    | Assign
    | Describe
    | Spaces
    | ChunkMessage
    | Ack
    | Allowance
    | Grant
    | WeightsMessage
    | FetchCheckpoint
    | CheckpointMessage
    | FetchFile
    | FileMessage
    | Resume
    | Resumed
    | Consume
    | Stored
    | Consumed
    | Metrics
    | Status
    | LogLines
    | TrackLine
    | Preview
    | Command
    | Result
)

KIB = 1024
MIB = 1024 * KIB
MAX_HEADER_BYTES = 256 * KIB
"""A header holds a configuration or a trajectory at most."""
MAX_TRACK_POINTS = 1000
"""Of the line that a worker tells: enough for any map."""
MAX_TRACK_NAME = 256
"""Characters of the name of a track."""
MAX_MESSAGE_BYTES = 256 * MIB + MAX_HEADER_BYTES
"""No message is larger; the WebSocket refuses a longer one before it is read."""


@dataclass(frozen=True)
class Row:
    """One kind of message: its name on the wire, its type, which roles send it to the relay, which are sent it."""

    kind: str
    type: type[Any]
    to_relay: frozenset[str] = frozenset()
    from_relay: frozenset[str] = frozenset()
    max_payload_bytes: int = 0


_ANY = frozenset({"worker", "trainer"})
_WORKER = frozenset({"worker"})
_TRAINER = frozenset({"trainer"})

TABLE: tuple[Row, ...] = (
    Row("hello", Hello, to_relay=_ANY),
    Row("welcome", Welcome, from_relay=_ANY),
    Row("assign", Assign, from_relay=_ANY),
    Row("describe", Describe, to_relay=_WORKER),
    Row("spaces", Spaces, from_relay=_TRAINER),
    Row("chunk", ChunkMessage, to_relay=_WORKER, max_payload_bytes=64 * MIB),
    Row("ack", Ack, from_relay=_WORKER),
    Row("allowance", Allowance, from_relay=_WORKER),
    Row("grant", Grant, to_relay=_TRAINER),
    Row("weights", WeightsMessage, to_relay=_TRAINER, from_relay=_WORKER, max_payload_bytes=256 * MIB),
    Row("fetch_checkpoint", FetchCheckpoint, to_relay=_TRAINER),
    Row("checkpoint", CheckpointMessage, to_relay=_TRAINER, from_relay=_TRAINER, max_payload_bytes=256 * MIB),
    Row("fetch_file", FetchFile, to_relay=_ANY),
    Row("file", FileMessage, from_relay=_ANY, max_payload_bytes=256 * MIB),
    Row("resume", Resume, to_relay=_TRAINER),
    Row("resumed", Resumed, from_relay=_TRAINER),
    Row("consume", Consume, to_relay=_TRAINER),
    Row("stored", Stored, from_relay=_TRAINER, max_payload_bytes=64 * MIB + MAX_HEADER_BYTES + 64),
    Row("consumed", Consumed, to_relay=_TRAINER),
    Row("metrics", Metrics, to_relay=_TRAINER),
    Row("status", Status, to_relay=_ANY),
    Row("log", LogLines, to_relay=_ANY),
    Row("track", TrackLine, to_relay=_WORKER, max_payload_bytes=8 * MAX_TRACK_POINTS),
    Row("preview", Preview, to_relay=_WORKER, max_payload_bytes=MIB),
    Row("command", Command, from_relay=_ANY),
    Row("result", Result, to_relay=_ANY),
)
