"""One message of every kind and a chunk, for the tests of this room and of peers."""

import numpy as np

from tmrld.payloads import Chunk, EpisodeSummary
from tmrld.protocol.codec import StoredBody, seal_chunk, seal_stored
from tmrld.protocol.messages import (
    Ack,
    Allowance,
    Assign,
    CheckpointMessage,
    Command,
    Consume,
    Consumed,
    Describe,
    FetchCheckpoint,
    FetchFile,
    FileMessage,
    Grant,
    Hello,
    LogLines,
    Message,
    Metrics,
    Preview,
    Result,
    Resume,
    Resumed,
    Spaces,
    Status,
    TrackLine,
    WeightsMessage,
    Welcome,
)


def a_chunk(**changes: object) -> Chunk:
    """Five steps of a LIDAR run after two rows of lead."""
    rows = 7
    columns = {
        "lidar": np.arange(rows * 19, dtype=np.float32).reshape(rows, 19),
        "image": np.zeros((rows, 4, 4), np.uint8),
        "action": np.ones((rows, 3), np.float32),
        "reward": np.linspace(0, 1, rows, dtype=np.float32),
        "terminated": np.zeros(rows, np.uint8),
        "time": np.arange(rows, dtype=np.float64),
        "weights": np.full(rows, -1, np.int64),
    }
    values: dict[str, object] = {
        "run": "oval",
        "worker": "gamer",
        "incarnation": "1f",
        "number": 3,
        "episode": "e1",
        "first_step": 10,
        "steps": rows - 2,
        "lead": 2,
        "track": "oval",
        "purpose": "train",
        "ended": "",
        "columns": columns,
    }
    return Chunk(**{**values, **changes})  # type: ignore[arg-type]


def a_summary(**changes: object) -> EpisodeSummary:
    values: dict[str, object] = {
        "steps": 15,
        "episode_return": 12.5,
        "finished": True,
        "lap_time_s": 31.25,
        "progress": 1.0,
        "actor": "policy",
        "weights_version": 7,
        "trajectory": np.arange(8, dtype=np.float32).reshape(2, 4),
    }
    return EpisodeSummary(**{**values, **changes})  # type: ignore[arg-type]


def every_message() -> list[Message]:
    return [
        Hello("worker", "gamer", "0.1.0", ["sim"], {"cpus": 8, "gpu": None}),
        Welcome("hub", "0.1.0", 1.5),
        Assign(
            "oval",
            {"algorithm": {"gamma": 0.99, "layers": [256, 256]}},
            4,
            "running",
            True,
            12,
            files=[["tracks", "oval", "5f" * 32, 4096]],
        ),
        Describe("oval", "1f", {"id": "tmrld/TM20Lidar-v0", "parts": []}),
        Spaces("oval", {"id": "tmrld/TM20Lidar-v0", "parts": []}),
        seal_chunk(a_chunk(ended="terminated", seed=-5, summary=a_summary())),
        Ack("1f", [1, 2, 3]),
        Allowance("oval", "1f", 1000),
        Grant("oval", 2000),
        WeightsMessage("oval", 3, 400, 0, 2, b"safetensors"),
        FetchCheckpoint("oval", 400),
        CheckpointMessage("oval", 400, 0, 123456, 0, b"\x00" * 70_000),
        FetchFile("tracks", "oval", "5f" * 32),
        FileMessage("tracks", "oval", "5f" * 32, b"points"),
        Resume("oval", 400, 123456, 1 << 20),
        Resumed("oval", 1, -1),
        Consume("oval", 123456, 1 << 20),
        seal_stored("oval", [StoredBody(0, 500, b"record"), StoredBody(520, 900, b"another")]),
        Consumed("oval", 500),
        Metrics("oval", 0, 400, 2000, {"loss": 0.5, "alpha": float("inf")}),
        Status("oval", "driving", "lap 3", {"fps": 20.0}),
        LogLines("worker/gamer", [[1.5, "INFO", "tmrld.worker", "hello"]]),
        TrackLine("oval", "oval", 16.0, b"\x00" * 800),
        Preview("oval", 480, 244, [[240, 218, 240, 20]], [1.0, 0.0, -0.5], None, 17, b"JPEG"),
        Command(1, "restart", {"engine": "env"}),
        Result(1, "", {"done": True}),
    ]
