"""Bits flip and files are cut short: in every kind of file of a data folder that is noticed and said, and the rest stays usable.

What a kind of file holds is read as the program reads it.  Damage may be made good (a certificate, an index), be told while the rest
goes on (a record of the log), or be an error with a sentence; what is read is never anything but what was written.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.data_folder import (
    CREATED,
    FETCHED,
    KINDS_OF_FILES,
    RUN,
    SEGMENT_BYTES,
    Kind,
    copied,
    files_of,
    kind_of,
    make_data_folder,
)
from tmrld.errors import TmrldError
from tmrld.events import Feed
from tmrld.fetching import FetchedFiles
from tmrld.protocol.messages import Assign, FetchFile, FileMessage
from tmrld.security.tls import ensure_identity, server_context
from tmrld.security.tokens import TokenStore, admin_token
from tmrld.storage.database import Database
from tmrld.storage.files import sha256
from tmrld.storage.layout import Layout, holder_of, open_data_folder
from tmrld.storage.relay_schema import MIGRATIONS
from tmrld.storage.runs import RunStore
from tmrld.storage.sample_cache import SampleCache
from tmrld.storage.sample_log import SampleLog
from tmrld.storage.shelf import KINDS, Shelf
from tmrld.trainer.checkpoints import CheckpointFolder, Journal
from tmrld.trainer.revisions import Revisions
from tmrld.trainer.trainer import TrainerRole
from tmrld.worker.outbox import Outbox

Content = dict[Any, Any]
"""What was read, item by item: of a damaged file some may be missing, and none may differ."""


def folder(layout: Layout) -> Content:
    open_data_folder(layout.root).close()
    return {"held by": holder_of(layout)}


def control_token(layout: Layout) -> Content:
    with closing(TokenStore(layout.tokens_db)) as tokens:
        grant = tokens.check(admin_token(layout.control_token, tokens))
    return {"opens": grant.scope if grant else None}


def identity(layout: Layout) -> Content:
    found = ensure_identity(layout.relay)
    server_context(found.key, found.certificate)
    return {"pin": found.pin}


def tokens(layout: Layout) -> Content:
    with closing(TokenStore(layout.tokens_db)) as store:
        return {table: store.database.execute(f"SELECT * FROM {table}") for table in ("tokens", "sessions", "invites")}


def runs(layout: Layout) -> Content:
    with closing(RunStore(layout)) as store:
        return {
            "runs": store.all(),
            "config": store.revision(RUN),
            "curve": store.metrics.latest(RUN),
            "weights": store.weights.all(RUN),
            "checkpoints": store.checkpoints.all(RUN),
        }


def earlier_runs(layout: Layout) -> Content:
    older = len(MIGRATIONS) - 1
    copy = layout.relay_db.with_name(f"relay.db.schema-{older}")
    with closing(Database(copy, MIGRATIONS[:older])) as database, database.reading() as view:
        return {"runs": view.execute("SELECT * FROM runs").fetchall()}


def log(layout: Layout) -> Content:
    with closing(SampleLog(layout.run_log(RUN), segment_bytes=SEGMENT_BYTES)) as found:
        return _records(found)


def cache(layout: Layout) -> Content:
    with closing(SampleCache(layout.trainer_cache(RUN), segment_bytes=SEGMENT_BYTES)) as found:
        return _records(found)


def _records(found: SampleLog | SampleCache) -> Content:
    content, offset = {}, 0
    while block := found.read(offset, 10_000):
        content.update({record.facts.key: record.body for record in block})
        offset = block[-1].next_offset
    return content


def weights(layout: Layout) -> Content:
    with closing(RunStore(layout)) as store:
        return _each([1, 2, 3], lambda version: store.weights.load(RUN, version))


def checkpoints(layout: Layout) -> Content:
    with closing(RunStore(layout)) as store:
        return _each([1, 2, 3], lambda update: store.checkpoints.load(RUN, update)[1])


def trainers_checkpoints(layout: Layout) -> Content:
    newest = CheckpointFolder(layout.trainer_checkpoints(RUN)).newest()
    return {} if newest is None else {newest.update: newest.plain} if newest.update == 2 else {}


def journal(layout: Layout) -> Content:
    with closing(Journal(layout.trainer_journal(RUN))) as found:
        return {entry.update: entry for entry in found.after(0, 0)}


def revisions(layout: Layout) -> Content:
    return {1: Revisions(layout.trainer_revisions(RUN)).read(1)}


def made(layout: Layout) -> Content:
    """Of a folder whose run cannot be told, nothing may be used: it might be another run's."""
    trainer = TrainerRole(layout, "cpu", Feed())
    trainer._forget_namesake(Assign(RUN, {}, 1, "running", created=CREATED))
    return {"kept": True} if layout.trainer_journal(RUN).exists() else {}


def fetched(folder_of: Callable[[Layout], Path]) -> Callable[[Layout], Content]:
    def read(layout: Layout) -> Content:
        wanted = [["tracks", "monza", sha256(FETCHED), len(FETCHED)]]
        found = FetchedFiles(folder_of(layout))
        if found.missing(wanted) == FetchFile("tracks", "monza", sha256(FETCHED)):
            found.keep(FileMessage("tracks", "monza", sha256(FETCHED), FETCHED))
        assert found.missing(wanted) is None
        return {"monza": Path(found.paths(wanted)["tracks/monza"]).read_bytes()}

    return read


def spool(layout: Layout) -> Content:
    outbox = Outbox(SampleLog(layout.spool, segment_bytes=SEGMENT_BYTES), 0)
    content = {}
    while (chunk := outbox.next_unsent()) is not None:
        content[chunk.number] = chunk.payload
    outbox.close()
    return content


def workers_runs(layout: Layout) -> Content:
    with closing(Outbox(SampleLog(layout.spool, segment_bytes=SEGMENT_BYTES), 0, layout.worker_made)) as outbox:
        return {RUN: "known"} if outbox.belongs(RUN, CREATED + 1.0) else {}


def shelf(layout: Layout) -> Content:
    found = Shelf(layout.shelf)
    return _each(KINDS, lambda kind: (found.load(kind, "mine")[0].about, found.load(kind, "mine")[1]))


def _each(names: Any, read: Callable[[Any], object]) -> Content:
    """What can be read; what cannot is said, as it is for whoever asks for it."""
    content = {}
    for name in names:
        try:
            content[name] = read(name)
        except TmrldError as error:
            logging.getLogger("tmrld").error("%s", error)
    return content


READERS: dict[str, Callable[[Layout], Content]] = {
    "folder": folder,
    "control token": control_token,
    "identity": identity,
    "tokens": tokens,
    "runs": runs,
    "earlier runs": earlier_runs,
    "log": log,
    "weights": weights,
    "checkpoints": checkpoints,
    "cache": cache,
    "trainer's checkpoints": trainers_checkpoints,
    "journal": journal,
    "revisions": revisions,
    "made": made,
    "trainer's files": fetched(lambda layout: layout.trainer_files),
    "worker's files": fetched(lambda layout: layout.worker_files),
    "own files": fetched(lambda layout: layout.own_files),
    "spool": spool,
    "worker's runs": workers_runs,  # lets go of what is in the spool
    "shelf": shelf,
}
ENTRY_BYTES = 20
"""A journal that was cut short by whole entries looks like one that is younger: its updates are trained anew."""
TOGETHER = (
    {"weights", "runs"},
    {"checkpoints", "runs"},
    {"control token", "tokens"},
    *({"made", each} for each in ("cache", "trainer's checkpoints", "journal", "revisions")),  # fetched again from the relay
)
"""Contents of which one is found by way of the other, or made anew with it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_data_folder(tmp_path_factory.mktemp("whole") / "data")


@pytest.fixture(scope="module")
def written(whole: Layout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Content]:
    """All that the folder holds."""
    content = {name: read(copied(whole, tmp_path_factory.mktemp("read") / "data")) for name, read in READERS.items()}
    assert all(content.values())
    assert (len(content["log"]), len(content["spool"]), len(content["journal"])) > (20, 8, 19)
    return content


# The list


def test_every_file_of_the_folder_is_listed_and_every_listed_kind_is_in_it(whole: Layout) -> None:
    found = {kind_of(path, whole.root) for path in files_of(whole.root)}
    assert [kind.pattern for kind in KINDS_OF_FILES if kind.content and kind not in found] == []


def test_an_unlisted_file_is_noticed(whole: Layout, tmp_path: Path) -> None:
    layout = copied(whole, tmp_path / "data")
    for name in ("secrets.txt", "relay/runs/oval/notes", "relay/other.db", "trainer/runs/oval/cache/extra"):
        (layout.root / name).write_text("?")
        with pytest.raises(AssertionError, match=f"{name} is in the data folder, but in no list"):
            kind_of(layout.root / name, layout.root)


def test_every_place_that_the_layout_names_is_in_the_folder(whole: Layout) -> None:
    for name, part in vars(Layout).items():
        if isinstance(part, property):
            assert getattr(whole, name).exists(), f"{name} is a place in the data folder: fill it, and list what lies there"
        elif callable(part) and not name.startswith("_"):
            assert getattr(whole, name)(RUN).exists(), (
                f"{name} is a place in the data folder: fill it, and list what lies there"
            )


def test_who_reads_a_kind_is_known() -> None:
    assert {kind.content for kind in KINDS_OF_FILES if kind.content} == READERS.keys()


# The damage


def flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 3))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut_short(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.choice((0, 1, len(data) // 2, len(data) - 1, chance.randrange(len(data))))]


def damages(kind: Kind) -> Iterator[tuple[random.Random, Callable[[bytes, random.Random], bytes]]]:
    for seed in range(6):
        yield random.Random(f"{kind.pattern} {seed}"), flipped if seed % 2 else cut_short


@pytest.mark.parametrize("kind", [kind for kind in KINDS_OF_FILES if kind.content], ids=lambda kind: kind.pattern)
def test_damage_is_noticed_and_said_and_the_rest_stays_usable(
    kind: Kind, whole: Layout, written: dict[str, Content], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [path.relative_to(whole.root) for path in files_of(whole.root) if kind_of(path, whole.root) is kind]
    expected = written[kind.content]
    for number, (chance, damage) in enumerate(damages(kind)):
        layout = copied(whole, tmp_path / str(number))
        path = layout.root / chance.choice(paths)
        before = path.read_bytes()
        path.write_bytes(damage(before, chance))
        nobody_can_tell = kind.content == "journal" and path.stat().st_size % ENTRY_BYTES == 0 and damage is cut_short
        caplog.clear()
        said, found = "", expected
        try:
            found = READERS[kind.content](layout)
        except TmrldError as error:
            said = str(error)
        said += caplog.text
        wrong = {key: value for key, value in found.items() if key not in expected or expected[key] != value}
        assert not wrong, f"{path}, damaged, was taken for something else"
        told = any(word in said for word in ("damaged", "cannot be read", "lost", "does not match its checksum"))
        assert found == expected or told or nobody_can_tell, f"{path}: nobody says that something is gone: {said}"
        assert "Traceback" not in said
    for name, read in READERS.items():  # the last damage still stands
        if name != kind.content and {name, kind.content} not in TOGETHER:
            assert read(layout) == written[name], f"{name} cannot be used any more with {path} damaged"
