"""Troubleshooting by symptom names each diagnosis that explains a known trouble, each verdict about a training, and no other."""

from __future__ import annotations

import re

from tests.docs.blocks import ROOT
from tmrld.doctor.known import KNOWN
from tmrld.trainer.health import OVER

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
CODES = {code for known in KNOWN for code in known.codes} | set(OVER)


def test_every_code_is_explained() -> None:
    told = set(re.findall(r"`([a-z0-9-]+)`", PAGE))
    assert CODES - told == set()


def test_every_code_that_is_explained_exists() -> None:
    first_columns = re.findall(r"^\| (`[^|]+`) \|", PAGE, re.MULTILINE)
    told = {code for column in first_columns for code in re.findall(r"`([a-z0-9-]+)`", column)}
    assert told - CODES == set()
