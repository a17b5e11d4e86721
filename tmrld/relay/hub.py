"""One run at the relay: its sample log, who works for it, what they may do, and the policy they drive with.

A chunk's way through here: `accept` puts it into a bounded queue (a full one stops reading from the worker's link) → the commit
loop appends a batch to the log with one fsync → acknowledgements go out, finished episodes are entered, trainers are woken.
A trainer is fed from the log, never from a queue: as much as its window allows, from the offset that it asked for.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from tmrld.errors import Conflict, DiskFull, LinkLost, StorageError
from tmrld.events import Feed
from tmrld.payloads import EnvSpec
from tmrld.peers.link import Link
from tmrld.protocol.codec import decode, encode
from tmrld.protocol.messages import (
    Ack,
    Allowance,
    Assign,
    CheckpointMessage,
    ChunkMessage,
    Consume,
    Grant,
    Message,
    Metrics,
    Resume,
    Resumed,
    Spaces,
    Stored,
    WeightsMessage,
)
from tmrld.relay.mailbox import Mailbox
from tmrld.relay.roster import Seat
from tmrld.storage.sample_log import Record, SampleLog

log = logging.getLogger(__name__)

COMMIT_CHUNKS = 1000
COMMIT_BYTES = 16 * 2**20
QUEUE_CHUNKS = 256
FEED_BYTES = 2**20
RETRY_FULL_DISK_S = 1.0


class Member:
    """A connected node: its link, what waits to be sent to it, and what it is asked to do."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name = link.peer.name
        self.role = link.peer.role
        self.mailbox = Mailbox()
        self.seat = Seat()
        self.status: dict[str, Any] = {}
        self.incarnation = ""
        self.feeding: _Feeding | None = None


@dataclass
class _Feeding:
    """How far a trainer has been sent the log, and how far it has consumed it."""

    sent: int
    consumed: int
    credit_bytes: int
    task: asyncio.Task[None] | None = None
