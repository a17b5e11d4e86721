"""Curves as comma-separated values (RFC 4180): a line per point, all curves one after another."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from tmrld.results import SeriesView

MEDIA_TYPE = "text/csv; charset=utf-8"
HEADER = ("name", "update", "transitions", "time", "value")


def curves(series: Iterable[SeriesView]) -> str:
    """The text.  NaN and infinities are written as nan, inf and -inf."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(HEADER)
    for curve in series:
        points = zip(curve.updates, curve.transitions, curve.times, curve.values, strict=True)
        rows.writerows((_inert(curve.name), *point) for point in points)
    return text.getvalue()


def _inert(name: str) -> str:
    """A name that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name
