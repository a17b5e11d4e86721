"""The disk: what takes room, and what is not needed any more."""

from __future__ import annotations

import logging

from tmrld.control.auth import Operator
from tmrld.control.problems import Code, documented
from tmrld.control.routes.common import OF_RUN, TheNode, router
from tmrld.control.schemas.storage import Cleaned, Cleaning, FreedFiles, Storage

log = logging.getLogger(__name__)

routes = router()


@routes.get("/storage", tags=["storage"])
async def storage(node: TheNode) -> Storage:
    """What the files of this relay take on the disk, by run and kind, and what they may take."""
    return Storage.of(await node.storage())


@routes.post("/storage/clean", tags=["storage"], responses=documented(*OF_RUN, Code.DISK_FULL))
async def clean_storage(node: TheNode, grant: Operator, body: Cleaning) -> Cleaned:
    """Let everything go that is neither pinned nor needed to resume: leftovers, samples, weights, checkpoints, in this order.

    What stays is the newest, the best and the pinned of weights and checkpoints, and the samples that these checkpoints need to be
    gone on from.  Needs the scope operator.
    """
    freed = await node.clean_storage(body.run, body.dry_run)
    total = sum(each.size_bytes for each in freed)
    if not body.dry_run:
        log.info("%s cleans %s: %d bytes are free again", grant.name, body.run or "all runs", total)
    return Cleaned(items=[FreedFiles.model_validate(each) for each in freed], freed_bytes=total, dry_run=body.dry_run)
