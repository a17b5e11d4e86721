"""One record of a sample log as bytes.  Pure: no file, no clock.

::

    magic 4 | content bytes 4 | facts bytes 4 | offset 8 | CRC-32 4 | facts (msgpack list) | body
              little endian; the CRC covers everything but the magic and itself

The facts are what the index is made of, so that it can be rebuilt from the log alone; the body is never opened.  The same record
has the same bytes wherever it is written, so a copy of a log has the same offsets (`sample_cache`).  The offset inside keeps
bytes of a body that look like a record from being taken for one when a damaged place is skipped.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgpack

from tmrld.errors import BadInput, Damaged

MAGIC = b"\xf1TMR"
_HEAD = struct.Struct("<4sIIQI")
_CHECKED = slice(4, 20)  # of the head: all but the magic and the CRC
HEAD_BYTES = _HEAD.size
MAX_CONTENT_BYTES = 128 * 2**20
"""Twice what a chunk message may have; a longer length field can only be damage."""
MAX_FACTS_BYTES = 4096
_MAX_NUMBER = 2**63 - 1  # what SQLite can hold


Key = tuple[str, str, int]
"""(worker, incarnation, number): what identifies a record for ever."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the log knows of a record: who made it, what identifies it for ever, and what it counts for.

    (``worker``, ``incarnation``, ``number``) is unique in a log; ``steps`` is the number of transitions in it.
    """

    worker: str
    incarnation: str
    number: int
    steps: int
    purpose: str
    episode: str

    @property
    def key(self) -> Key:
        """What identifies the record."""
        return self.worker, self.incarnation, self.number


@dataclass(frozen=True, slots=True)
class Record(Facts):
    """Facts, and the body that is to be stored."""

    body: bytes | memoryview


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it was read: it takes the offsets from ``offset`` up to ``next_offset``."""

    offset: int
    next_offset: int
    facts: Facts
    body: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a log, ``bytes`` long, that cannot be read, and why."""

    offset: int
    bytes: int
    reason: str


def packed_facts(facts: Facts) -> bytes:
    """The facts as they are stored.  Raises BadInput when they are too long or a number is out of range."""
    if not 0 <= facts.number <= _MAX_NUMBER or not 0 <= facts.steps <= _MAX_NUMBER:
        raise BadInput(f"number {facts.number} and steps {facts.steps} must lie between 0 and {_MAX_NUMBER}.")
    packed: bytes = msgpack.packb(
        [facts.worker, facts.incarnation, facts.number, facts.steps, facts.purpose, facts.episode], use_bin_type=True
    )
    if len(packed) > MAX_FACTS_BYTES:
        raise BadInput(f"The names in a record take {len(packed)} bytes; at most {MAX_FACTS_BYTES} are allowed.")
    return packed


def packed_record(offset: int, facts: bytes, body: bytes | memoryview) -> bytes:
    """The record to be written at ``offset``; ``facts`` come from `packed_facts`.  Raises BadInput when it is too long."""
    content_bytes = len(facts) + len(body)
    if content_bytes > MAX_CONTENT_BYTES:
        raise BadInput(f"A record of {content_bytes} bytes is too long: at most {MAX_CONTENT_BYTES} are allowed.")
    head = _HEAD.pack(MAGIC, content_bytes, len(facts), offset, 0)
    crc = zlib.crc32(body, zlib.crc32(facts, zlib.crc32(head[_CHECKED])))
    return b"".join((_HEAD.pack(MAGIC, content_bytes, len(facts), offset, crc), facts, body))


def unpacked_record(block: memoryview, at: int, offset: int) -> StoredRecord:
    """The record that begins at ``block[at]`` and was written at ``offset``.  Raises Damaged, saying what is wrong."""
    if len(block) - at < HEAD_BYTES:
        raise Damaged("cut short within the head of a record")
    head = block[at : at + HEAD_BYTES]
    magic, content_bytes, facts_bytes, written_at, crc = _HEAD.unpack(head)
    if magic != MAGIC:
        raise Damaged("no record begins here")
    if written_at != offset:
        raise Damaged(f"this record was written at offset {written_at}")
    if content_bytes > MAX_CONTENT_BYTES or facts_bytes > min(content_bytes, MAX_FACTS_BYTES):
        raise Damaged("impossible length")
    content = block[at + HEAD_BYTES : at + HEAD_BYTES + content_bytes]
    if len(content) < content_bytes:
        raise Damaged("cut short within a record")
    if zlib.crc32(content, zlib.crc32(head[_CHECKED])) != crc:
        raise Damaged("the checksum does not match")
    facts = _unpacked_facts(content[:facts_bytes])
    return StoredRecord(offset, offset + HEAD_BYTES + content_bytes, facts, bytes(content[facts_bytes:]))


def _unpacked_facts(packed: memoryview) -> Facts:
    try:
        worker, incarnation, number, steps, purpose, episode = msgpack.unpackb(packed, raw=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Damaged("the facts of the record cannot be read") from error
    return Facts(str(worker), str(incarnation), int(number), int(steps), str(purpose), str(episode))


def scanned(block: bytes, offset: int) -> Iterator[StoredRecord | Damage]:
    """All records of a block whose first byte has that offset, and between them what is damaged; together they cover the block.

    After a damaged place it goes on at the next whole record.
    """
    view = memoryview(block)
    at, damaged_from, reason = 0, -1, ""
    while 0 <= at < len(block):
        try:
            record = unpacked_record(view, at, offset + at)
        except Damaged as error:
            if damaged_from < 0:
                damaged_from, reason = at, str(error)
            at = block.find(MAGIC, at + 1)
            continue
        if damaged_from >= 0:
            yield Damage(offset + damaged_from, at - damaged_from, reason)
            damaged_from = -1
        yield record
        at = record.next_offset - offset
    if damaged_from >= 0:
        yield Damage(offset + damaged_from, len(block) - damaged_from, reason)
