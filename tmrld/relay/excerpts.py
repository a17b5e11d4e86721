"""Excerpts of a run's sample log: episodes that were driven in training, as a file of demonstrations for other runs.

The log is read twice, from beginning to end: once to see what of the episodes is there and how large it is, and once to pack it.
So no more of it is in memory than the file that comes of it, and the episodes that were under way at the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tmrld.errors import BadInput, Conflict, ProtocolError
from tmrld.protocol.codec import decode
from tmrld.protocol.demonstrations import MAX_RAW_BYTES, packed
from tmrld.protocol.messages import MIB, ChunkMessage, Plain
from tmrld.storage.sample_log import SampleLog
from tmrld.storage.shelf import MAX_BYTES

log = logging.getLogger(__name__)

READ_BYTES = 4 * MIB
_SPARE = 0.9
"""Episodes differ: of as many as would just fit, this share is proposed."""

Progress = Callable[[float], None]
"""Is told which share of the work is done, from 0 to 1."""


@dataclass
class _Seen:
    """How much of an episode was read: ``steps`` of its first ones without a gap, in so many chunks."""

    chunks: int = 0
    steps: int = 0
    size: int = 0
    """In bytes, once decompressed."""
    ended: bool = False

    def add(self, chunk: ChunkMessage, body_bytes: int) -> None:
        """Take the next chunk; one that does not follow leaves the episode without an end."""
        if chunk.first_step == self.steps and not self.ended:
            self.chunks, self.steps = self.chunks + 1, self.steps + chunk.steps
            self.size += max(body_bytes, chunk.raw_bytes)
            self.ended = chunk.summary is not None


@dataclass(frozen=True)
class Excerpt:
    """A file of demonstrations, of so many of the episodes that were asked for; the others are not whole in the log any more."""

    data: bytes
    episodes: int
    missing: int


def excerpt(log: SampleLog, name: str, track: str, spec: Plain, episodes: Sequence[str], progress: Progress) -> Excerpt:
    """These training episodes of a log, each as it was driven.  Takes long: call it in a thread.

    Raises Conflict when none of them is whole in the log, BadInput, saying how many would do, when they are too large for a file.
    """
    seen = {episode: _Seen() for episode in episodes}
    for episode, chunk, body in _chunks(log, seen, lambda share: progress(share / 2)):
        seen[episode].add(chunk, len(body))
    whole = {episode: each for episode, each in seen.items() if each.ended}
    if not whole:
        raise Conflict(
            f"of the {len(seen):,} episodes that were chosen none is whole in the sample log any more: it keeps the newest "
            "(relay.sample_log_bytes); choose later ones"
        )
    size = sum(each.size for each in whole.values())
    if size > MAX_RAW_BYTES:
        fit = int(_SPARE * len(whole) * MAX_RAW_BYTES / size)
        raise _too_large(f"{size // MIB:,} MiB, and a file of them may have {MAX_RAW_BYTES // MIB:,}", len(whole), fit)
    data = _packed(log, name, track, spec, whole, lambda share: progress(0.5 + share / 2))
    return Excerpt(data, len(whole), len(seen) - len(whole))


def _packed(log: SampleLog, name: str, track: str, spec: Plain, whole: dict[str, _Seen], progress: Progress) -> bytes:
    limit = MAX_BYTES["demonstrations"]
    data, written = bytearray(), 0

    def bodies() -> Iterator[bytes]:
        nonlocal written
        for episode in _episodes(log, whole, progress):
            yield from episode
            written += 1

    for piece in packed(name, track, spec, sum(each.chunks for each in whole.values()), bodies()):
        data += piece
        if len(data) > limit:
            raise _too_large(
                f"more than {limit // MIB:,} MiB when they are compressed, which is what a file of them may have",
                len(whole),
                int(_SPARE * written),
            )
    if written < len(whole):
        raise Conflict("the oldest samples of the run were removed while they were read: try again")
    return bytes(data)


def _episodes(log: SampleLog, whole: dict[str, _Seen], progress: Progress) -> Iterator[list[bytes]]:
    """The chunks of each episode, when it is complete."""
    under_way: dict[str, list[bytes]] = {}
    for episode, _, body in _chunks(log, whole, progress):
        bodies = under_way.setdefault(episode, [])
        bodies.append(body)
        if len(bodies) == whole[episode].chunks:
            yield under_way.pop(episode)


def _chunks(log: SampleLog, wanted: dict[str, Any], progress: Progress) -> Iterator[tuple[str, ChunkMessage, bytes]]:
    """All training chunks of these episodes that can be read, in the log's order: episode, chunk, and the chunk as it is stored."""
    offset, end = log.begin, log.end
    begin = offset
    while offset < end and (records := log.read(offset, READ_BYTES)):
        for record in records:
            if record.facts.purpose == "train" and record.facts.episode in wanted:
                chunk = _opened(record.body)
                if chunk is not None:
                    yield record.facts.episode, chunk, record.body
        offset = records[-1].next_offset
        progress(min(1.0, (offset - begin) / (end - begin)))


def _opened(body: bytes) -> ChunkMessage | None:
    try:
        message = decode(body)
    except ProtocolError as error:
        log.warning("a chunk of the sample log is left out: %s", error)
        return None
    return message if isinstance(message, ChunkMessage) and message.purpose == "train" else None


def _too_large(what: str, episodes: int, fit: int) -> BadInput:
    advice = f"choose fewer, for example the last {fit:,} (--last {fit}), or those of the best laps (--best-laps {fit})"
    return BadInput(f"the {episodes:,} episodes have {what}: {advice if fit else 'a single one of them is too large'}")
