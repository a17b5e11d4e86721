"""The nodes: who is connected, and what they do."""

from __future__ import annotations

from tmrld.control.routes.common import TheNode, router
from tmrld.control.schemas.nodes import Node, Nodes

routes = router()


@routes.get("/nodes", tags=["nodes"])
async def nodes(node: TheNode) -> Nodes:
    """The nodes that are connected."""
    return Nodes(items=[Node.model_validate(view) for view in node.nodes()])
