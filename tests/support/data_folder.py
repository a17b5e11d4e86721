"""A small data folder that holds every kind of file that a daemon of any role keeps, and the list of these kinds."""

from __future__ import annotations

import fnmatch
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.storage.samples import as_record, records
from tmrld.fetching import FetchedFiles
from tmrld.protocol.messages import ChunkMessage, FileMessage
from tmrld.rl.options import AlgorithmOptions
from tmrld.security.invites import Invites
from tmrld.security.sessions import Sessions
from tmrld.security.tls import ensure_identity
from tmrld.security.tokens import TokenStore, admin_token
from tmrld.storage.database import Database
from tmrld.storage.files import make_folder, sha256, write_atomic, write_manifest
from tmrld.storage.layout import Layout, open_data_folder
from tmrld.storage.metrics import Metric
from tmrld.storage.relay_schema import MIGRATIONS
from tmrld.storage.runs import RunStore
from tmrld.storage.sample_cache import Copy, SampleCache
from tmrld.storage.sample_log import SampleLog
from tmrld.storage.shelf import KINDS, Shelf
from tmrld.trainer.checkpoints import Checkpoint, CheckpointFolder, Journal, JournalEntry, pack
from tmrld.trainer.options import TrainingOptions
from tmrld.trainer.revisions import Revisions
from tmrld.trainer.trainer import MADE_KIND
from tmrld.worker.outbox import Outbox

RUN = "oval"
CREATED = 1722.0625
SEGMENT_BYTES = 700
FETCHED = b"a line that the shelf had"


@dataclass(frozen=True)
class Kind:
    """Files whose path below the data folder fits ``pattern`` (`fnmatch`).

    ``content`` names what of the folder is read from them ("": nothing that the program reads again), see `test_stored_files`.
    """

    pattern: str
    content: str = ""


KINDS_OF_FILES = (
    Kind("folder.json", "folder"),
    Kind("holder.json", "folder"),
    Kind("lock"),  # held, never read
    Kind("control.token", "control token"),
    Kind("logs/tmrld.log*"),  # for people
    Kind("relay/relay.key.pem", "identity"),
    Kind("relay/relay.cert.pem", "identity"),
    Kind("relay/tokens.db", "tokens"),
    Kind("relay/relay.db", "runs"),
    Kind("relay/relay.db.seal", "runs"),
    Kind("relay/relay.db.schema-*", "earlier runs"),
    Kind("relay/runs/*/log/*.segment", "log"),
    Kind("relay/runs/*/log/index.db", "log"),
    Kind("relay/runs/*/log/index.db.seal", "log"),
    Kind("relay/runs/*/log/pruned.json", "log"),
    Kind("relay/runs/*/log/pruned.damaged"),  # put aside
    Kind("relay/runs/*/weights/*.safetensors", "weights"),
    Kind("relay/runs/*/checkpoints/*.checkpoint", "checkpoints"),
    Kind("relay/deleted/*/*/*"),  # of a run that was being deleted when a process was killed
    Kind("trainer/runs/*/cache/*.segment", "cache"),
    Kind("trainer/runs/*/cache/index.db", "cache"),
    Kind("trainer/runs/*/cache/index.db.seal", "cache"),
    Kind("trainer/runs/*/checkpoints/*.checkpoint", "trainer's checkpoints"),
    Kind("trainer/runs/*/checkpoints/*.damaged"),  # put aside
    Kind("trainer/runs/*/journal", "journal"),
    Kind("trainer/runs/*/revisions/*.json", "revisions"),
    Kind("trainer/runs/*/made", "made"),
    Kind("trainer/runs/*/profiles/*"),  # for people
    Kind("trainer/files/*/*/*", "trainer's files"),
    Kind("worker/files/*/*/*", "worker's files"),
    Kind("files/*/*/*", "own files"),
    Kind("worker/spool/*.segment", "spool"),
    Kind("worker/spool/index.db", "spool"),
    Kind("worker/spool/index.db.seal", "spool"),
    Kind("worker/spool/pruned.json", "spool"),
    Kind("worker/spool/made", "worker's runs"),
    Kind("worker/spool/pruned.damaged"),  # put aside
    Kind("shelf/lock"),  # held, never read
    Kind("shelf/*/*/item.json", "shelf"),
    Kind("shelf/*/*/*.npy", "shelf"),
    Kind("shelf/*/*/*.safetensors", "shelf"),
    Kind("shelf/*/*/*.demonstrations", "shelf"),
    Kind("*.db-wal"),  # there while a database is open, and after a crash; what is lost with a damaged one is told (test_files)
    Kind("*.db-shm"),  # made anew by SQLite
    Kind("*.new"),  # half written when a process was killed
)


def kind_of(path: Path, root: Path) -> Kind:
    """The first kind that a file fits.  Raises AssertionError for a file that fits none: list it, and say who notices damage."""
    name = path.relative_to(root).as_posix()
    for kind in KINDS_OF_FILES:
        if fnmatch.fnmatchcase(name, kind.pattern) and kind.pattern.count("/") == (
            name.count("/") if "/" in kind.pattern else 0
        ):
            return kind
    for kind in KINDS_OF_FILES:
        if "/" not in kind.pattern and kind.pattern.startswith("*") and fnmatch.fnmatchcase(path.name, kind.pattern):
            return kind
    raise AssertionError(f"{name} is in the data folder, but in no list of what can lie there: add it to {__name__}")


def files_of(root: Path) -> list[Path]:
    """Every file of a data folder."""
    return sorted(path for path in root.rglob("*") if path.is_file())


def a_chunk(number: int) -> ChunkMessage:
    """What waits in a worker's spool."""
    return ChunkMessage(
        RUN, "gamer", "", 0, "e", 0, 1, 1, "oval", "train", "", None, [], [], None, "", 0, f"chunk {number} ".encode() * 20
    )


def make_data_folder(root: Path) -> Layout:
    """Fill an empty folder, as daemons that were stopped in order leave it."""
    with open_data_folder(root) as folder:
        layout = folder.layout
        _fill_relay(layout)
        _fill_trainer(layout)
        _fill_worker(layout)
        shelf = Shelf(layout.shelf)
        for kind in KINDS:
            shelf.put(kind, "mine", f"a file of the {kind}".encode(), {"points": 7})
        for files in (layout.trainer_files, layout.worker_files, layout.own_files):
            FetchedFiles(files).keep(FileMessage("tracks", "monza", sha256(FETCHED), FETCHED))
        write_atomic(make_folder(layout.logs) / "tmrld.log", b"a line for people\n")
    return layout


def _fill_relay(layout: Layout) -> None:
    ensure_identity(layout.relay)
    with closing(TokenStore(layout.tokens_db, lambda: 1000.0)) as tokens:
        tokens.issue("gamer", "worker")
        admin_token(layout.control_token, tokens)
        Sessions(tokens, lambda: 1000.0).begin("ab" * 32)
        Invites(tokens, lambda: 1000.0).make("trainer", "gpu", 60.0)
    older = len(MIGRATIONS) - 1
    with closing(Database(layout.relay_db, MIGRATIONS[:older])):
        pass
    with closing(RunStore(layout)) as store:
        store.create(RUN, {"gamma": 0.99}, "me", CREATED)
        store.set_state(RUN, "running")
        for update in range(1, 4):
            store.metrics.add(RUN, [Metric(0, update, 10 * update, 2000.0, {"loss": 1 / update})])
            store.weights.add(RUN, update, update, 0, f"policy {update}".encode() * 20, 2000.0)
            store.checkpoints.add(RUN, update, 0, 900 * update, 0, f"checkpoint {update}".encode() * 20, 2000.0)
        store.create("gone", {}, "me", CREATED)
        store.weights.add("gone", 1, 1, 0, b"policy", 2000.0)
        store.delete("gone")
    with closing(SampleLog(layout.run_log(RUN), segment_bytes=SEGMENT_BYTES)) as log:
        log.append(records(40))
        log.prune(1500)


def _fill_trainer(layout: Layout) -> None:
    with (
        closing(SampleCache(layout.trainer_cache(RUN), segment_bytes=SEGMENT_BYTES)) as cache,
        closing(SampleLog(layout.run_log(RUN), segment_bytes=SEGMENT_BYTES)) as log,
    ):
        cache.mirror([Copy(stored.offset, stored.next_offset, as_record(stored)) for stored in log.read(0, 10**6)])
    folder = CheckpointFolder(layout.trainer_checkpoints(RUN))
    for update in (1, 2):
        checkpoint = Checkpoint(RUN, update, 0, 1, 900 * update, 0, {}, {"counters": {"updates": update}})
        folder.save(update, 0, pack(checkpoint))
    with closing(Journal(layout.trainer_journal(RUN))) as journal:
        for update in range(20):
            journal.append(JournalEntry(update, 50 * update))
    Revisions(layout.trainer_revisions(RUN)).keep(1, AlgorithmOptions(), TrainingOptions())
    write_manifest(layout.trainer_made(RUN), MADE_KIND, 1, {"created": CREATED})
    write_atomic(make_folder(layout.trainer_profiles(RUN)) / "update-7.txt", b"a table for people\n")


def _fill_worker(layout: Layout) -> None:
    outbox = Outbox(SampleLog(layout.spool, segment_bytes=SEGMENT_BYTES), 0, layout.worker_made)
    outbox.belongs(RUN, CREATED)
    for number in range(12):
        outbox.put(a_chunk(number))
    outbox.acknowledge(outbox.incarnation, [0, 1, 2, 3])
    outbox.close()


def copied(layout: Layout, root: Path) -> Layout:
    """The same folder in another place."""
    shutil.copytree(layout.root, root)
    return Layout(root)
