"""What all operations share: who serves them, and the problems that any of them can answer with."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from tmrld.access import Access
from tmrld.control.auth import Requires
from tmrld.control.problems import Code, documented
from tmrld.node import Node

ANYBODY = (Code.INSECURE, Code.WRONG_HOST, Code.INTERNAL_ERROR)
"""Problems that every operation can answer with."""
WITH_TOKEN = (Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.WRONG_ORIGIN, *ANYBODY, Code.TOO_MANY_ATTEMPTS, Code.STORAGE_ERROR)
"""Problems of operations that need a token."""
OF_RUN = (Code.NOT_FOUND, Code.INVALID_REQUEST)
"""Problems of operations on a run."""
COMMAND = (*OF_RUN, Code.CONFLICT, Code.UNAVAILABLE, Code.DISK_FULL)
"""Problems of commands to a run."""


def open_router() -> APIRouter:
    """For operations that need no token."""
    return APIRouter(responses=documented(*ANYBODY))


def router() -> APIRouter:
    """For operations that need a token of a person: viewer, unless they ask for more."""
    return APIRouter(responses=documented(*WITH_TOKEN), dependencies=[Depends(Requires("viewer"))])


async def _node(request: Request) -> Node:
    node: Node = request.app.state.node
    return node


async def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


TheAccess = Annotated[Access, Depends(_access)]
TheNode = Annotated[Node, Depends(_node)]
RunName = Annotated[str, Path(description="Name of the run.", max_length=200)]
