"""Whether packages can be imported, found out in a process of its own: one that crashes takes nobody with it.

``python -m tmrld.doctor.importing SECONDS NAME…`` imports each and prints a line of JSON about it, before it tries the next.  After
so many seconds it ends, even if an import hangs and whoever has asked is no more.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.metadata
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

TIMEOUT_S = 60.0
"""Enough for torch on a slow disk that was never read before."""
AFTER_S = 5.0
"""How much later a process ends by itself whose end nobody has seen to."""
LONGEST_ERROR = 600


def ask(names: Sequence[str], timeout_s: float = TIMEOUT_S) -> dict[str, dict[str, Any]]:
    """What each of these packages said to being imported; one that crashed or hung says so itself, and the next are tried anew."""
    said: dict[str, dict[str, Any]] = {}
    while rest := [name for name in names if name not in said]:
        lines, ending = _run(rest, timeout_s)
        said |= {line["name"]: line for line in lines}
        left = [name for name in rest if name not in said]
        if left:  # whichever was being imported when the process ended
            said[left[0]] = {"name": left[0], "error": ending, "crashed": True}
    return said


def _run(names: Sequence[str], timeout_s: float) -> tuple[list[dict[str, Any]], str]:
    """The lines that came, and how the process ended."""
    command = [sys.executable, "-m", "tmrld.doctor.importing", str(timeout_s + AFTER_S), *names]
    try:
        done = subprocess.run(  # noqa: S603 - this program itself
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=_environment(),
            creationflags=_flags(),
        )
        output, ending = done.stdout, f"the process ended with {done.returncode}{_last(done.stderr)}"
    except subprocess.TimeoutExpired as late:
        output, ending = _text(late.stdout), f"it was not done within {timeout_s:g} s"
    except OSError as error:
        return [], f"no process could be started for it: {error}"
    lines = []
    for line in output.splitlines():
        with contextlib.suppress(ValueError):  # a package that prints something
            value = json.loads(line)
            if isinstance(value, dict) and value.get("name") in names:
                lines.append(value)
    return lines, ending


def _flags() -> int:
    """On Windows a daemon without a console must not open one."""
    if sys.platform == "win32":
        return subprocess.CREATE_NO_WINDOW
    return 0


def _environment() -> dict[str, str]:
    return {**os.environ, "PYGAME_HIDE_SUPPORT_PROMPT": "1", "PYTHONWARNINGS": "ignore"}


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""


# In the process of its own


def main(longest_s: float, names: Sequence[str]) -> None:
    """Import each, and say how that went; ends the process if it takes longer."""
    faulthandler.dump_traceback_later(longest_s, exit=True)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    for name in names:
        answer: dict[str, Any] = {"name": name, "error": ""}
        noise = io.StringIO()
        try:
            with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
                module = importlib.import_module(name)
                if name == "torch":
                    answer |= _about_torch(module)
        except ModuleNotFoundError as error:
            answer["missing"] = error.name == name
            answer["error"] = _said(error)
        except BaseException as error:  # whatever a foreign package raises is what is to be told
            answer["error"] = _said(error)
        if "NumPy" in (warning := noise.getvalue()) and "compiled using" in warning:
            answer["error"] = answer["error"] or warning.strip()[:LONGEST_ERROR]
        print(json.dumps(answer), file=out, flush=True)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_ERROR]


def _about_torch(torch: Any) -> dict[str, Any]:
    """What this build of torch can compute on."""
    cuda = bool(torch.cuda.is_available())
    mps = getattr(torch.backends, "mps", None)
    torch.zeros(2).numpy()  # fails where torch was built for another numpy
    return {
        "torch": {
            "version": str(torch.__version__),
            "cuda_build": str(torch.version.cuda or ""),
            "rocm_build": str(getattr(torch.version, "hip", None) or ""),
            "cuda": cuda,
            "devices": [str(torch.cuda.get_device_name(index)) for index in range(torch.cuda.device_count())] if cuda else [],
            "mps": bool(mps is not None and mps.is_available()),
            "threads": int(torch.get_num_threads()),
        }
    }


def installed(distribution: str) -> str:
    """The installed version of what pip calls ``distribution``; "" where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
