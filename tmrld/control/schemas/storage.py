"""What is told of the disk."""

from __future__ import annotations

from pydantic import BaseModel, Field

from tmrld.control.schemas.common import FromView
from tmrld.node import StorageView


class RunStorage(BaseModel):
    """What one run's files take."""

    run: str = Field(description="Name of the run.")
    log_bytes: int = Field(description="Its sample log.")
    weights_bytes: int = Field(description="Its weights.")
    checkpoints_bytes: int = Field(description="Its checkpoints.")
    total_bytes: int = Field(description="All of that.")


class Storage(BaseModel):
    """What the files of this relay's data folder take on the disk, in bytes."""

    runs: list[RunStorage] = Field(description="Each run.")
    database_bytes: int = Field(description="What is known of runs and nodes, with curves and episodes.")
    shelf_bytes: int = Field(description="Tracks, weights and demonstrations by name.")
    leftovers_bytes: int = Field(description="What nothing reads any more: half written, damaged, or from before an upgrade.")
    used_bytes: int = Field(description="All of that, which counts for the quota.")
    quota_bytes: int = Field(description="What it may take (relay.total_bytes).")
    log_quota_bytes: int = Field(description="What the sample log of each run may take (relay.sample_log_bytes).")
    logs_bytes: int = Field(description="The daemon's log files.")
    spool_bytes: int = Field(description="Unacknowledged samples of a worker in the same data folder.")
    cache_bytes: int = Field(description="What a trainer in the same data folder keeps of its runs.")
    files_bytes: int = Field(description="Copies of the shelf's files for workers, trainers and commands.")
    free_bytes: int = Field(description="What is free on the disk.")

    @classmethod
    def of(cls, view: StorageView) -> Storage:
        """As it is told."""
        usage = view.usage
        return cls(
            runs=[
                RunStorage(
                    run=run.run,
                    log_bytes=run.log_bytes,
                    weights_bytes=run.weights_bytes,
                    checkpoints_bytes=run.checkpoints_bytes,
                    total_bytes=run.total_bytes,
                )
                for run in usage.runs
            ],
            database_bytes=usage.database_bytes,
            shelf_bytes=usage.shelf_bytes,
            leftovers_bytes=usage.leftovers_bytes,
            used_bytes=usage.relay_bytes,
            quota_bytes=view.quota_bytes,
            log_quota_bytes=view.log_quota_bytes,
            logs_bytes=usage.logs_bytes,
            spool_bytes=usage.spool_bytes,
            cache_bytes=usage.cache_bytes,
            files_bytes=usage.files_bytes,
            free_bytes=usage.free_bytes,
        )


class Cleaning(BaseModel):
    """What is to be cleaned."""

    run: str | None = Field(None, max_length=200, description="Name of a run; null for all of them.")
    dry_run: bool = Field(False, description="Say what would go, and let nothing go.")


class FreedFiles(FromView):
    """Something that has gone, or would."""

    run: str = Field(description="Name of the run; empty for what is nobody's.")
    kind: str = Field(description="leftovers, samples, weights or checkpoints.")
    what: str = Field(description="Which of these, in words.")
    size_bytes: int = Field(description="What it took.")


class Cleaned(BaseModel):
    """What has gone, or would, in the order in which it goes."""

    items: list[FreedFiles]
    freed_bytes: int = Field(description="All of it.")
    dry_run: bool = Field(description="Whether nothing has gone.")
