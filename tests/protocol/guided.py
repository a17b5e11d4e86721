"""A search guided by coverage, over the same readers as `test_fuzzing`: python -m tests.protocol.guided KIND [SECONDS] [FOLDER]

Begins with a sound file of that kind.  Stops at the first bytes that make the reader fail otherwise than it should: they belong into
`test_fuzzing.FOUND`.  ``all`` searches every kind, one after another.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["tmrld"]):
    from tests.protocol.test_fuzzing import READERS, read_or_refused


def main() -> int:
    kind, seconds = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "60"
    if kind == "all":
        return max(
            subprocess.run([sys.executable, "-m", __spec__.name, each, seconds], check=False).returncode for each in READERS
        )
    with TemporaryDirectory() as fresh:
        folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(fresh)
        (folder / "sound").write_bytes(READERS[kind][1])
        print(f"{kind}: {seconds} s", flush=True)
        options = [f"-max_total_time={seconds}", "-max_len=16384", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, str(folder)], lambda data: read_or_refused(kind, data))
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
