"""The doctor in a process of its own, for a daemon: neither its event loop nor its engine is held up by what is looked at.

The process reads its orders, ``{"settings": {…}, "environment": {…}}``, as JSON from standard input, and prints one line of JSON:
``{"diagnoses": […], "picture": base64 or ""}``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tmrld.doctor.diagnosis import wrong
from tmrld.envs.options import EnvironmentOptions
from tmrld.errors import TmrldError
from tmrld.settings import Settings

LONGEST_S = 45.0
"""An examination that takes longer is ended: something hangs."""
GAME_S = 3.0
"""How long the game is watched."""
MOST_PICTURE_BYTES = 120 * 1024
"""What fits into a message beside the diagnoses."""
MOST_ANSWER_BYTES = 2**20


async def examined(settings: Settings, environment: Mapping[str, Any], longest_s: float = LONGEST_S) -> dict[str, Any]:
    """Have it done: ``diagnoses`` as plain values, and ``picture``, a JPEG of what is seen (b"" for none).  Never fails.

    ``environment`` is that of the run this worker drives; {} for none.  Cancelling ends the process.
    """
    plain = settings.model_dump(mode="json")
    plain["peers"]["token"] = settings.peers.token.get_secret_value()
    orders = json.dumps({"settings": plain, "environment": dict(environment)}).encode()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tmrld.doctor.apart"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            limit=MOST_ANSWER_BYTES,
            creationflags=_flags(),
        )
    except OSError as error:
        return _failed(f"no process could be started to look at this machine: {error}")
    try:
        async with asyncio.timeout(longest_s):
            output, _ = await process.communicate(orders)
    except TimeoutError:
        return _failed(f"the examination was ended after {longest_s:g} s: something that it looks at hangs")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        answer = json.loads(output.splitlines()[-1])
        return {"diagnoses": list(answer["diagnoses"]), "picture": base64.b64decode(answer["picture"])}
    except (IndexError, ValueError, KeyError, TypeError):
        return _failed(f"the examination failed (its process ended with {process.returncode})")


def _failed(sentence: str) -> dict[str, Any]:
    found = wrong("doctor", "examination", sentence, "run `tmrld doctor` on that machine", code="examination-failed")
    return {"diagnoses": [found.plain()], "picture": b""}


def _flags() -> int:
    """On Windows a daemon without a console must not open one."""
    if sys.platform == "win32":
        return subprocess.CREATE_NO_WINDOW
    return 0


# In the process of its own


def main() -> None:
    """Examine as ordered, and answer."""
    from tmrld.doctor.examining import examine
    from tmrld.doctor.game import picture_with_beams
    from tmrld.doctor.report import judge

    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    orders = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        settings = Settings.model_validate(orders["settings"])
        try:
            environment = EnvironmentOptions.model_validate(orders["environment"]) if orders["environment"] else None
        except ValidationError:
            environment = None
        report = examine(settings, environment=environment, seconds=GAME_S)
        picture = b""
        if report.game is not None:
            with contextlib.suppress(TmrldError, ImportError, OSError):
                picture = picture_with_beams(report.game, MOST_PICTURE_BYTES)
    answer = {"diagnoses": [each.plain() for each in judge(report)], "picture": base64.b64encode(picture).decode()}
    print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
