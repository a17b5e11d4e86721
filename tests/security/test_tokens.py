import errno
import hmac
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tmrld.errors import BadInput, Conflict, DiskFull, NotFound, StorageError
from tmrld.security.tokens import SCOPES, Grant, TokenRecord, TokenStore, admin_token, check_name, hash_token, make_token


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TokenStore]:
    store = TokenStore(tmp_path / "secrets" / "tokens.sqlite", clock=lambda: 1000.0)
    yield store
    store.close()


def test_a_token_opens_what_it_was_made_for(store: TokenStore) -> None:
    token = store.issue("gamer", "worker")
    assert store.check(token) == Grant("gamer", "worker")


def test_tokens_are_random_and_say_what_they_are() -> None:
    first, second = make_token("trainer"), make_token("trainer")
    assert first != second
    assert first.startswith("tmrld_trainer_")
    assert len(first.removeprefix("tmrld_trainer_")) == 43  # 256 bits in base64url


def test_no_other_token_opens_anything(store: TokenStore) -> None:
    token = store.issue("gamer", "worker")
    for other in ("", token[:-1], token.upper(), make_token("worker"), hash_token(token), "\ud800", "' OR 1=1 --"):
        assert store.check(other) is None


def test_the_token_itself_is_not_stored(store: TokenStore, tmp_path: Path) -> None:
    token = store.issue("gamer", "worker")
    files = list((tmp_path / "secrets").iterdir())
    assert files
    for file in files:
        assert token.encode() not in file.read_bytes()
        assert token.removeprefix("tmrld_worker_").encode() not in file.read_bytes()


def test_a_name_has_one_token(store: TokenStore) -> None:
    old = store.issue("gamer", "worker")
    with pytest.raises(Conflict, match="there is a token for 'gamer' already"):
        store.issue("gamer", "trainer")
    new = store.issue("gamer", "trainer", replace=True)
    assert store.check(old) is None
    assert store.check(new) == Grant("gamer", "trainer")


def test_a_revoked_token_is_worthless(store: TokenStore) -> None:
    token = store.issue("gamer", "worker")
    store.revoke("gamer")
    assert store.check(token) is None
    with pytest.raises(NotFound, match="no token for 'gamer'"):
        store.revoke("gamer")


def test_tokens_are_listed_by_name_without_their_secret(store: TokenStore) -> None:
    store.issue("zoe", "admin")
    store.issue("amy", "viewer")
    assert store.list() == (TokenRecord("amy", "viewer", 1000.0), TokenRecord("zoe", "admin", 1000.0))


@pytest.mark.parametrize("name", ["", "-dash", "two words", "a" * 65, "new\nline", "naïve", "../up"])
def test_names_are_plain(store: TokenStore, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be a name"):
        store.issue(name, "worker")


def test_usual_names_are_fine() -> None:
    for name in ("gamer-pc", "gpu1.lab", "W_2", "7"):
        assert check_name(name) == name


def test_an_unknown_scope_is_refused(store: TokenStore) -> None:
    with pytest.raises(BadInput, match=r"'god' is no scope: expected one of viewer, operator, admin, worker, trainer"):
        store.issue("gamer", "god")


def test_people_may_what_lesser_people_may() -> None:
    allowed = {scope: [other for other in SCOPES if Grant("x", scope).includes(other)] for scope in SCOPES}
    assert allowed == {
        "viewer": ["viewer"],
        "operator": ["viewer", "operator"],
        "admin": ["viewer", "operator", "admin"],
        "worker": ["worker"],
        "trainer": ["trainer"],
    }


def test_the_command_line_may_issue_and_revoke_beside_a_running_relay(store: TokenStore, tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "tokens.sqlite"
    script = (
        "import sys, pathlib; from tmrld.security.tokens import TokenStore\n"
        "store = TokenStore(pathlib.Path(sys.argv[1])); print(store.issue('cli', 'admin')); store.close()"
    )
    printed = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True).stdout
    assert store.check(printed.strip()) == Grant("cli", "admin")
    beside = TokenStore(path)
    beside.revoke("cli")
    beside.close()
    assert store.check(printed.strip()) is None


def test_tokens_outlive_the_process(store: TokenStore, tmp_path: Path) -> None:
    token = store.issue("gamer", "worker")
    store.close()
    store.close()
    again = TokenStore(tmp_path / "secrets" / "tokens.sqlite")
    assert again.check(token) == Grant("gamer", "worker")
    again.close()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_only_the_owner_can_read_the_store(store: TokenStore, tmp_path: Path) -> None:
    store.issue("gamer", "worker")
    for file in (tmp_path / "secrets").iterdir():
        assert file.stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokens.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(
        StorageError, match=r"tokens\.sqlite is damaged: .*not a database\. Remove it, with .* restore it from a backup"
    ):
        TokenStore(path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be used"):
        TokenStore(tmp_path / "file" / "tokens.sqlite")


LEAVES_A_LOG = """
import os, sys
from pathlib import Path
from tmrld.security.tokens import TokenStore
print(TokenStore(Path(sys.argv[1])).issue("thief", "admin"), flush=True)
os._exit(9)
"""


def test_removing_the_store_alone_brings_no_token_back(tmp_path: Path) -> None:
    path, log = tmp_path / "tokens.db", tmp_path / "tokens.db-wal"
    token = subprocess.run([sys.executable, "-c", LEAVES_A_LOG, str(path)], capture_output=True, text=True).stdout.strip()
    assert log.stat().st_size
    path.unlink()
    with pytest.raises(StorageError, match=r"is damaged: it is gone, but tokens\.db-wal beside it.* Remove it, with the files"):
        TokenStore(path)
    assert log.exists()
    for left in tmp_path.iterdir():
        left.unlink()
    with closing(TokenStore(path)) as store:
        assert store.check(token) is None


def test_a_name_that_was_left_from_making_the_store_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, unlink = tmp_path / "tokens.db", Path.unlink

    def in_use(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "another process has the file open", str(path))

    with monkeypatch.context() as windows:
        windows.setattr(Path, "unlink", in_use)
        with closing(TokenStore(path)) as store:
            token = store.issue("gamer", "worker")
    assert [left.samefile(path) for left in tmp_path.glob("tokens.db.*")] == [True]
    assert Path.unlink is unlink
    other = tmp_path / "tokens.db.20250801"
    other.write_bytes(path.read_bytes())
    with closing(TokenStore(path)) as store:
        assert store.check(token) is not None
        assert [*tmp_path.glob("tokens.db.*")] == [other]


def test_an_old_name_is_its_former_holders_until_somebody_else_has_it(store: TokenStore) -> None:
    token = store.issue("gpu", "worker")
    store.rename("gpu", "gpu2")
    assert store.check(token) == Grant("gpu2", "worker", ("gpu",))
    new = store.issue("gpu", "worker")
    assert (store.check(token), store.check(new)) == (Grant("gpu2", "worker"), Grant("gpu", "worker"))
    store.rename("gpu", "gpu3")
    other = store.issue("lab", "worker")
    store.rename("lab", "gpu")
    assert (store.check(new), store.check(other)) == (Grant("gpu3", "worker"), Grant("gpu", "worker", ("lab",)))


def test_the_admins_token_that_finds_no_room_says_so(
    store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(DiskFull, match="the disk is full"):
        admin_token(tmp_path / "control-token", store)


def test_readers_do_not_wait_for_a_writer(store: TokenStore, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "secrets" / "tokens.sqlite")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_hashes_are_compared_in_constant_time(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    token = store.issue("gamer", "worker")
    compared: list[str] = []
    compare = hmac.compare_digest

    def noting(left: str, right: str) -> bool:
        compared.append(left)
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", noting)
    assert store.check(token) is not None
    assert compared == [hash_token(token)]
