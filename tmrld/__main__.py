"""The command ``tmrld``, also as ``python -m tmrld``: a Ctrl-C ends it quietly even while it is being imported."""


def main() -> int:
    """Run one command; returns the exit status."""
    try:
        from tmrld.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
