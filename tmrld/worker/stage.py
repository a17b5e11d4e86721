"""What happens in a drive that is watched: the thread that drives tells it here, the one that draws looks at the newest.

Nobody waits for the other: what is not looked at in time is forgotten.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tmrld.envs.registry import newest_frames
from tmrld.envs.sim.film import Scene
from tmrld.payloads import Array, EnvSpec
from tmrld.worker.episode import Choice, Episode

PAST = 400
"""So many scenes are remembered: 20 s of ordinary driving."""
LOOK_S = 0.05
"""How often a driver who waits for a person looks whether they want to end."""


@dataclass(frozen=True, eq=False)
class Sight:
    """What is to be seen now."""

    scene: Scene
    past: tuple[Scene, ...]
    """The newest scenes of this episode, in order; this one is the last."""
    picture: Array | None
    """What was captured, RGB; None where it can be drawn from the scene."""
    seed: int
    late_steps: int


class Stage:
    """The `driving.Audience` of one drive, and the hands of whoever drives it by keys.

    ``capture`` returns what was captured last, ``late_steps`` how many steps came too late; after ``steps`` steps it is over.
    ``by_keys`` says that a person drives, who begins each episode with a key.
    """

    def __init__(
        self,
        spec: EnvSpec,
        *,
        capture: Callable[[], Array] | None,
        late_steps: Callable[[], int],
        steps: int | None = None,
        by_keys: bool = False,
    ) -> None:
        self._spec = spec
        self._capture = capture
        self._late_steps = late_steps
        self._left = steps
        self._by_keys = by_keys
        self._score = 0.0
        self._began = 0.0
        self._seed = 0
        self._past: tuple[Scene, ...] = ()
        self._before = ""
        self._started = threading.Event()
        self.newest: Sight | None = None
        """What the drawing thread shows."""
        self.notice = ""
        """What a person should know before anything goes on; "" for nothing."""
        self.action: Array = np.array(spec.default_action, np.float32)
        """What a person's keys say; replaced, never changed."""
        self.ended = False
        """Set by the drawing thread to end it all, after the step that is being driven."""
        self.again = False
        """Set by the drawing thread to give up this episode."""

    # The thread that drives

    @property
    def has_enough(self) -> bool:
        """Whether it is over."""
        return self.ended

    def ready(self, seed: int, reset: Callable[[], tuple[Any, dict[str, Any]]]) -> bool:
        """Whoever drives by keys sees the start, and says when to go."""
        self._seed = seed
        if self._by_keys and not self.ended:
            observation, info = reset()
            self._begin()
            self._show(observation, info, np.zeros_like(self.action), f"{self._before}press the up arrow or W to start")
            self._started.clear()
            while not (self.ended or self._started.wait(LOOK_S)):
                pass
        self.again = False
        return not self.ended

    def see(self, episode: Episode, choice: Choice | None) -> bool:
        """Show a step; returns whether the episode goes on."""
        if choice is None:
            self._begin()
            self._show(episode.observation, episode.info, np.zeros_like(self.action))
        else:
            self._score += sum(episode.info["reward_terms"].values())
            self._show(episode.observation, episode.info, choice.action)
            if episode.ended:
                lap_s, share = episode.info["lap_time_s"], episode.info["progress"]
                self._before = f"{share:.0%} of the track · " if lap_s is None else f"lap {lap_s:.2f} s · "
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    self.ended = True
        return not (self.ended or self.again)

    def choose(self, _observation: Any, _info: Mapping[str, Any]) -> Choice:
        """What the person does."""
        return Choice(self.action, "human")

    def _begin(self) -> None:
        self._score, self._past, self._began = 0.0, (), time.monotonic()

    def _show(self, observation: Any, info: Mapping[str, Any], action: Array, notice: str = "") -> None:
        seen = {name: frame.copy() for name, frame in newest_frames(self._spec, observation).items()}
        scene = Scene(time.monotonic() - self._began, dict(info), seen, tuple(action.tolist()), self._score)
        self._past = (*self._past[1 - PAST :], scene)
        picture = None if self._capture is None else self._capture()
        self.newest = Sight(scene, self._past, picture, self._seed, self._late_steps())
        self.notice = notice

    def say(self, sentence: str) -> None:
        """Tell a person what is waited for, over what was seen last."""
        self.notice = sentence

    # The thread that draws

    def start(self) -> None:
        """The person is ready."""
        self._started.set()
