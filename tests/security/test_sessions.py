from collections.abc import Iterator
from pathlib import Path

import pytest

from tmrld.errors import Conflict, NotFound
from tmrld.security.sessions import CODE_S, MOST_CODES, MOST_SESSIONS, SESSION_S, OneTimeCodes, Sessions
from tmrld.security.tokens import Grant, TokenStore, admin_token, hash_token


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
def tokens(tmp_path: Path) -> Iterator[TokenStore]:
    store = TokenStore(tmp_path / "tokens.db")
    yield store
    store.close()


def test_a_session_stands_for_its_token_until_it_is_revoked(tokens: TokenStore) -> None:
    sessions = Sessions(tokens)
    secret, expires = sessions.begin(hash_token(tokens.issue("ann", "operator")))
    session = sessions.check(secret)
    assert session is not None
    assert (session.grant, session.expires) == (Grant("ann", "operator"), expires)
    tokens.revoke("ann")
    assert sessions.check(secret) is None


def test_a_session_ends_with_its_time_or_when_it_is_told_to(tokens: TokenStore, clock: Clock) -> None:
    sessions = Sessions(tokens, clock)
    token = hash_token(tokens.issue("ann", "viewer"))
    first, second = sessions.begin(token)[0], sessions.begin(token)[0]
    sessions.end(first)
    sessions.end(first)
    assert sessions.check(first) is None
    clock.now += SESSION_S - 1
    assert sessions.check(second) is not None
    clock.now += 1
    assert sessions.check(second) is None


def test_a_token_has_so_many_sessions_at_most(tokens: TokenStore, clock: Clock) -> None:
    sessions = Sessions(tokens, clock)
    token = hash_token(tokens.issue("ann", "viewer"))
    secrets = []
    for _ in range(MOST_SESSIONS + 2):
        clock.now += 1
        secrets.append(sessions.begin(token)[0])
    alive = [sessions.check(secret) is not None for secret in secrets]
    assert alive == [False, False] + [True] * MOST_SESSIONS


def test_sessions_outlive_the_process(tokens: TokenStore, tmp_path: Path) -> None:
    secret, _ = Sessions(tokens).begin(hash_token(tokens.issue("ann", "viewer")))
    again = TokenStore(tmp_path / "tokens.db")
    assert Sessions(again).check(secret) is not None
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    again.close()


def test_a_code_works_once_and_not_for_long(clock: Clock) -> None:
    codes = OneTimeCodes(clock)
    code, late = codes.new("a"), codes.new("b")
    assert [codes.use(code), codes.use(code), codes.use("guess")] == ["a", None, None]
    clock.now += CODE_S
    assert codes.use(late) is None


def test_codes_that_nobody_uses_are_bounded(clock: Clock) -> None:
    codes = OneTimeCodes(clock)
    made = [codes.new(str(number)) for number in range(MOST_CODES + 1)]
    assert codes.use(made[0]) is None
    assert codes.use(made[1]) == "1"


# Names


def test_a_renamed_holder_keeps_the_token_and_may_use_the_old_name(tokens: TokenStore) -> None:
    token = tokens.issue("gamer", "worker")
    tokens.rename("gamer", "lab")
    assert tokens.check(token) == Grant("lab", "worker", ("gamer",))
    tokens.rename("lab", "attic")
    assert tokens.check(token) == Grant("attic", "worker", ("gamer", "lab"))
    tokens.rename("attic", "gamer")
    assert tokens.check(token) == Grant("gamer", "worker", ("attic", "lab"))


def test_a_name_is_one_holders(tokens: TokenStore) -> None:
    tokens.issue("gamer", "worker")
    tokens.issue("lab", "worker")
    with pytest.raises(Conflict, match="for 'lab' already"):
        tokens.rename("gamer", "lab")
    with pytest.raises(NotFound):
        tokens.rename("nobody", "somebody")


def test_the_admins_token_lies_in_a_file_of_the_owner_and_is_made_anew_when_revoked(tokens: TokenStore, tmp_path: Path) -> None:
    path = tmp_path / "control.token"
    token = admin_token(path, tokens)
    assert path.read_text() == f"{token}\n"
    assert path.stat().st_mode & 0o077 == 0
    assert admin_token(path, tokens) == token
    tokens.revoke("local-admin")
    other = admin_token(path, tokens)
    assert other != token
    assert tokens.check(other) == Grant("local-admin", "admin")
