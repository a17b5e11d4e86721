"""``python -m tmrld`` is the command ``tmrld``."""

from tmrld.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
