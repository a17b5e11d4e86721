"""What the relay measures, for Prometheus."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from tmrld import __version__
from tmrld.control.prometheus import MEDIA_TYPE, Family, rendered
from tmrld.control.routes.common import TheNode, router
from tmrld.node import Node

routes = router()

_TEXT = {"content": {"text/plain": {"schema": {"type": "string"}}}}


@routes.get(
    "/metrics", tags=["daemon"], response_class=Response, responses={200: {"description": "The measurements.", **_TEXT}}
)
async def prometheus(node: TheNode) -> Response:
    """What the relay measures, in the text format of Prometheus.  Its scraper needs a token with the scope viewer."""
    return Response(rendered(await _families(node)), media_type=MEDIA_TYPE)


async def _families(node: Node) -> list[Family]:
    health: dict[str, Any] = node.health()
    about = Family("tmrld_info", "gauge", "What is running here; always 1.")
    about.add(1, version=__version__, node=node.name)
    uptime = Family("tmrld_uptime_seconds", "gauge", "Seconds since the relay's daemon started.")
    uptime.add(health["uptime_s"])
    readers = Family("tmrld_live_readers", "gauge", "Who listens to live events.")
    readers.add(node.feed.readers)
    skipped = Family(
        "tmrld_live_events_skipped_total",
        "counter",
        "Live events that a slow reader did not get: the oldest are left out, and a newer state takes the place of an older one.",
    )
    skipped.add(node.feed.skipped)
    return [about, uptime, readers, skipped, *await _of_nodes(node), *await _of_runs(node), *await _of_storage(node)]


async def _of_nodes(node: Node) -> list[Family]:
    connected = Family("tmrld_node_connected", "gauge", "Whether a known node is connected: 1 or 0.")
    latency = Family("tmrld_node_latency_seconds", "gauge", "Measured round trip to a connected node.")
    values = Family("tmrld_node_value", "gauge", "A number that a node reports of itself, by name.")
    for view in await node.nodes():
        connected.add(float(view.connected), node=view.name, role=view.role)
        latency.add(view.latency_s, node=view.name, role=view.role)
        for name, value in sorted(view.values.items()):
            if isinstance(value, int | float):
                values.add(float(value), node=view.name, role=view.role, name=name)
    return [connected, latency, values]


async def _of_runs(node: Node) -> list[Family]:
    state = Family("tmrld_run_state", "gauge", "The state of a run, as the label state; always 1.")
    updates = Family("tmrld_run_updates", "gauge", "Gradient updates of a run so far; falls when it goes back to a checkpoint.")
    transitions = Family("tmrld_run_transitions", "gauge", "Training transitions that a run has collected.")
    episodes = Family("tmrld_run_episodes", "gauge", "Training episodes that were driven to their end.")
    best = Family("tmrld_run_best_lap_seconds", "gauge", "Shortest lap of a run.")
    chunks = Family("tmrld_run_unstored_chunks", "gauge", "Chunks that have arrived and wait for the relay's disk.")
    size = Family("tmrld_run_unstored_bytes", "gauge", "Their size.")
    metric = Family("tmrld_run_metric", "gauge", "The newest value of each of a run's curves, by name.")
    for run in await node.runs():
        state.add(1, run=run.name, state=run.state)
        updates.add(run.update, run=run.name)
        transitions.add(run.transitions, run=run.name)
        episodes.add(run.episodes, run=run.name)
        best.add(run.best_lap_s, run=run.name)
        chunks.add(run.unstored_chunks, run=run.name)
        size.add(run.unstored_bytes, run=run.name)
        for name, value in sorted((await node.results.latest_metrics(run.name)).items()):
            metric.add(value, run=run.name, name=name)
    return [state, updates, transitions, episodes, best, chunks, size, metric]


async def _of_storage(node: Node) -> list[Family]:
    view = await node.storage()
    usage = view.usage
    of_runs = Family("tmrld_run_storage_bytes", "gauge", "What a run's files take on the relay's disk, by kind.")
    for run in usage.runs:
        of_runs.add(run.log_bytes, run=run.run, kind="samples")
        of_runs.add(run.weights_bytes, run=run.run, kind="weights")
        of_runs.add(run.checkpoints_bytes, run=run.run, kind="checkpoints")
    others = Family("tmrld_storage_bytes", "gauge", "What else takes room in the relay's data folder, by kind.")
    others.add(usage.database_bytes, kind="database")
    others.add(usage.shelf_bytes, kind="shelf")
    others.add(usage.leftovers_bytes, kind="leftovers")
    others.add(usage.logs_bytes, kind="logs")
    others.add(usage.spool_bytes, kind="spool")
    others.add(usage.cache_bytes, kind="cache")
    others.add(usage.files_bytes, kind="files")
    used = Family("tmrld_storage_used_bytes", "gauge", "What counts for the quota of all runs together.")
    used.add(usage.relay_bytes)
    quota = Family("tmrld_storage_quota_bytes", "gauge", "What it may be.")
    quota.add(view.quota_bytes)
    free = Family("tmrld_storage_free_bytes", "gauge", "What is free on the disk of the relay's data folder.")
    free.add(usage.free_bytes)
    return [of_runs, others, used, quota, free]
