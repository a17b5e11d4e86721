"""Handing out a file that is in memory: conditions and ranges of RFC 9110, sections 13 and 14.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from tmrld.control.problems import Code, ProblemError

_ENTITY_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE)


BINARY: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
"""How a file is documented, as a request or an answer."""


class Conditions(BaseModel):
    """The headers of a request that decide whether it is answered, and with which part."""

    if_match: str | None = Field(None, description="Answer only if the file has one of these ETags, otherwise with 412.")
    if_none_match: str | None = Field(None, description="Answer with 304 if the file has one of these ETags.")
    if_range: str | None = Field(None, description="Heed `Range` only if the file has this ETag.")
    range: str | None = Field(None, description="The part to answer with, for example `bytes=1000-`; one range.")


def file_response(data: bytes, etag: str, conditions: Conditions, headers: Mapping[str, str], file_name: str) -> Response:
    """The file, the part of it that was asked for (206), or that it has not changed (304).

    ``etag`` comes with its quotes.  Raises `ProblemError` for 412 and 416.
    """
    common = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    if conditions.if_match is not None and not _lists(conditions.if_match, etag, weak=False):
        raise ProblemError(Code.PRECONDITION_FAILED, f"the file is another one now: its ETag is {etag}", {"ETag": etag})
    if conditions.if_none_match is not None and _lists(conditions.if_none_match, etag, weak=True):
        return Response(status_code=304, headers=common)
    common["Content-Disposition"] = f'attachment; filename="{file_name}"'
    wanted = conditions.range if conditions.if_range in (None, etag) else None
    span = parse_range(wanted, len(data)) if wanted is not None else None
    if span is None:
        return Response(data, 200, common, "application/octet-stream")
    start, stop = span
    common["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
    return Response(data[start:stop], 206, common, "application/octet-stream")


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and stop of the bytes that a Range header asks for; None for all of them.

    Other units, several ranges and what is no range are answered with everything, as the standard allows.  Raises
    `ProblemError` for a range that lies beyond the end.
    """
    match = _ONE_RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    elif last:
        start, stop = max(0, size - int(last)), size
    else:
        return None
    if start >= size:
        detail = f"the file has {size} bytes, so there is nothing in the range {header[:80]!r}"
        raise ProblemError(Code.RANGE_NOT_SATISFIABLE, detail, {"Content-Range": f"bytes */{size}"})
    return start, stop


def _lists(header: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags has this one; in the weak comparison a tag marked as weak counts too."""
    if header.strip() == "*":
        return True
    return any(found[1] == etag and (weak or not found[0].startswith("W/")) for found in _ENTITY_TAG.finditer(header))
