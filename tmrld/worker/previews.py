"""Pictures of what the car sees, for whoever watches: at most ten a second, and never at the cost of driving.

Against the wall clock they are made in a thread, one at a time: a picture that is due before the last one is done is left out.
In lockstep, where a second thread would only take turns with the first, they are made between two steps, and so seldom that
they take at most `MAX_SHARE` of the time.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from tmrld.errors import TmrldError
from tmrld.payloads import Array
from tmrld.protocol.messages import Preview

log = logging.getLogger(__name__)

INTERVAL_S = 0.1
MAX_SHARE = 0.03
"""Of a lockstep worker's time; to draw is not all that a picture costs."""
JPEG_QUALITY = 75


class View(Protocol):
    """What draws: `tmrld.envs.sim.view.View`, or what a world of one's own has."""

    width: int
    height: int

    def image(self, info: Mapping[str, Any]) -> Array:
        """RGB (height, width, 3)."""

    def beams(self, lidar: Array) -> list[list[float]]:
        """Lines in pixels of the picture."""


class Previews:
    """What one engine shows.  ``send`` may leave a picture out; ``in_thread`` says that nobody may wait for it to be drawn."""

    def __init__(self, run: str, view: View, send: Callable[[Preview], None], *, in_thread: bool) -> None:
        self._run = run
        self._view = view
        self._send = send
        self._drawer = ThreadPoolExecutor(1, "preview") if in_thread else None
        self._drawing: Future[None] | None = None
        self._next = 0.0
        self.on = False
        """Whether anybody watches."""

    @property
    def due(self) -> bool:
        """Whether it is time for a picture; costs next to nothing."""
        return time.monotonic() >= self._next

    def see(self, step: int, info: Mapping[str, Any], lidar: Array | None, action: Array) -> None:
        """What is seen before a step, and what is done about it: to be called when a picture is due; no ``lidar``, no beams."""
        now = time.monotonic()
        self._next = now + INTERVAL_S
        scene = step, dict(info), None if lidar is None else lidar.copy(), action.tolist()
        if self._drawer is None:
            self._draw(*scene)
            self._next = now + max(INTERVAL_S, (time.monotonic() - now) / MAX_SHARE)
        elif self._drawing is None or self._drawing.done():
            self._drawing = self._drawer.submit(self._draw, *scene)

    def close(self) -> None:
        """Draw nothing more."""
        self.on = False
        if self._drawer is not None:
            self._drawer.shutdown(cancel_futures=True)

    def _draw(self, step: int, info: Mapping[str, Any], lidar: Array | None, action: list[float]) -> None:
        try:
            image = jpeg(self._view.image(info))
            beams = [] if lidar is None else self._view.beams(lidar)
            speed = float(info["speed"])
            self._send(Preview(self._run, self._view.width, self._view.height, beams, action, speed, step, image))
        except (TmrldError, ImportError, OSError, ValueError, KeyError) as error:
            self.on = False
            log.warning("no pictures can be shown: %s", error)


def jpeg(image: Array) -> bytes:
    """An RGB picture (height, width, 3) as a JPEG file.  Raises ImportError, with advice, where Pillow is missing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('Pillow is not installed here: run `pip install "tmrld[worker]"`') from error
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
