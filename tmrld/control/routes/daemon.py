"""What this daemon is."""

from __future__ import annotations

from tmrld import __version__
from tmrld.control.routes.common import TheNode, open_router, router
from tmrld.control.schemas.daemon import Health, Version

open_routes = open_router()
routes = router()


@open_routes.get("/health", tags=["daemon"])
async def health(node: TheNode) -> Health:
    """Whether the daemon works.  Needs no token."""
    return Health.model_validate(node.health())


@routes.get("/version", tags=["daemon"])
async def version(node: TheNode) -> Version:
    """What is running here."""
    return Version(version=__version__, node=node.name)
