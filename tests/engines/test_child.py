import signal

import pytest

from tests.support import engine_targets
from tmrld.engines.child import exit_in_words
from tmrld.engines.entry import resolve
from tmrld.errors import BadInput


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, "ended with exit code 1"),
        (143, "was terminated"),
        (-signal.SIGKILL, "was killed by SIGKILL, for instance because memory ran out"),
        (-signal.SIGTERM, "was killed by SIGTERM"),
        (-signal.SIGSEGV, "was killed by SIGSEGV: native code (a driver, a library) used memory that is not its own"),
        (-250, "was killed by signal 250"),
        (
            0xC0000005,
            "ended with code 0xC0000005, an access violation: native code (a driver, a library) used memory that is not its own",
        ),
    ],
)
def test_an_exit_code_is_told_in_words(code: int, words: str) -> None:
    assert exit_in_words(code) == words


def test_a_target_names_a_function() -> None:
    assert resolve("tests.support.engine_targets:echo") is engine_targets.echo


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("echo", "expected module:attribute"),
        ("tests.support.engine_targets:", "expected module:attribute"),
        ("tests.support.engine_targets:ekho", "has no 'ekho'"),
        ("tests.support.engine_targets:log", "it is a Logger, expected a function"),
    ],
)
def test_a_target_that_names_none_is_refused(target: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        resolve(target)
