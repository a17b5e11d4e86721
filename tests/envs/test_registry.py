"""Any environment by its name, made to fit, described as data."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from rtgym import RealTimeGymInterface

from tmrld.envs.options import LIDAR_ID, EnvironmentOptions
from tmrld.envs.pacing import PacedEnv
from tmrld.envs.registry import describe, known, make, newest_frames, ours_within
from tmrld.errors import WorldError
from tmrld.payloads import EnvSpec, PartSpec


class Toy(gymnasium.Env[Any, Any]):
    """An environment with the spaces it is given, which remembers the last action."""

    def __init__(self, observation_space: Any = None, action_space: Any = None) -> None:
        self.observation_space = observation_space or spaces.Box(-1, 1, (2,), np.float64)
        self.action_space = action_space or spaces.Box(np.array([0, -10]), np.array([4, 10]), dtype=np.float64)
        self.taken: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken = action
        return self.observation_space.sample(), 0.0, False, False, {}


def discrete_actions() -> Toy:
    return Toy(action_space=spaces.Discrete(3))


def unbounded_actions() -> Toy:
    return Toy(action_space=spaces.Box(-np.inf, np.inf, (1,)))


def discrete_observations() -> Toy:
    return Toy(observation_space=spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (2,)))))


def several_parts() -> Toy:
    return Toy(
        observation_space=spaces.Dict(
            {"camera": spaces.Box(0, 255, (8, 8, 3), np.uint8), "wheel": spaces.Box(-2, 3, (1,), np.float64)}
        ),
        action_space=spaces.Box(-1, 1, (2, 2), np.float32),
    )


def two_parts() -> Toy:
    return Toy(observation_space=spaces.Tuple((spaces.Box(-1, 1, (3,), np.int64), spaces.Box(0, 1, (2, 2)))))


not_an_environment = int
forty_two = 42


class Sensor(RealTimeGymInterface):  # type: ignore[misc]
    """An own real-time interface: it counts controls, and can be told to fail."""

    def __init__(self, fail_after: int = 10**9) -> None:
        self._controls = 0
        self._fail_after = fail_after

    def get_observation_space(self) -> Any:
        return spaces.Tuple((spaces.Box(0, 100, (1,), np.float32),))

    def get_action_space(self) -> Any:
        return spaces.Box(0, 2, (1,), np.float32)

    def get_default_action(self) -> Any:
        return np.array([1.0], np.float32)

    def send_control(self, control: Any) -> None:
        self._controls += 1

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        return [np.zeros(1, np.float32)], {}

    def get_obs_rew_terminated_info(self) -> Any:
        if self._controls > self._fail_after:
            raise OSError("the cable was pulled")
        return [np.full(1, self._controls, np.float32)], 1.0, False, {}


def named(attribute: str, **kwargs: Any) -> EnvironmentOptions:
    return EnvironmentOptions(id=f"{__name__}:{attribute}", kwargs=kwargs, time_step_s=0.001, start_obs_capture_s=0.001)


def test_ours_are_known_by_id_and_description() -> None:
    assert LIDAR_ID in dict(known())
    assert all(line for _, line in known())


def test_ours_are_described_as_tmrls_lidar() -> None:
    options = EnvironmentOptions()
    env = make(options)
    spec = describe(env, options)

    assert spec.observation_size == 83
    assert [part.name for part in spec.parts] == ["speed", "lidar"]
    assert spec.parts[1].history == 4
    assert (spec.action_size, spec.action_buffer, spec.default_action) == (3, 2, (0.0, 0.0, 0.0))
    assert spec.reward_terms == ("progress", "finish", "penalty")
    assert EnvSpec.from_plain(spec.to_plain()) == spec
    observation, _ = env.reset(seed=0)
    frames = newest_frames(spec, observation)
    assert {name: frame.shape for name, frame in frames.items()} == {"speed": (1,), "lidar": (19,)}
    env.close()


def test_ours_come_without_wrappers() -> None:
    env = make(EnvironmentOptions())

    assert env.unwrapped is env
    assert callable(env.wait)  # type: ignore[attr-defined]
    env.close()


def test_history_and_action_buffer_can_be_chosen() -> None:
    options = EnvironmentOptions(history=2, action_buffer=3)
    env = make(options)
    spec = describe(env, options)
    observation, _ = env.reset()

    assert [part.shape for part in observation] == [(1,), (2, 19), (3,), (3,), (3,)]
    assert spec.observation_size == 1 + 2 * 19 + 3 * 3
    env.close()


def test_a_gymnasium_id_works() -> None:
    options = EnvironmentOptions(id="Pendulum-v1", kwargs={"g": 5.0})
    env = make(options)
    spec = describe(env, options)
    observation, _ = env.reset(seed=0)

    assert spec.parts == (PartSpec("observation", (3,), "float32", -8.0, 8.0),)
    assert (spec.action_size, spec.action_buffer, spec.default_action) == (1, 0, (0.0,))
    assert env.action_space == spaces.Box(-1, 1, (1,), np.float32)
    assert newest_frames(spec, observation)["observation"].dtype == np.float32
    env.step(np.array([1.0], np.float32))
    assert env.unwrapped.last_u == 2.0  # type: ignore[attr-defined]
    env.close()


def test_actions_are_stretched_to_their_bounds() -> None:
    env = make(named("Toy"))
    env.step(np.array([-1.0, 0.5], np.float32))

    assert env.unwrapped.taken.tolist() == [0.0, 5.0]  # type: ignore[attr-defined]
    assert env.unwrapped.taken.dtype == np.float64  # type: ignore[attr-defined]
    env.step(np.array([3.0, -3.0], np.float32))
    assert env.unwrapped.taken.tolist() == [4.0, -10.0]  # type: ignore[attr-defined]


def test_dicts_of_boxes_are_parts_by_name_and_bytes_stay_bytes() -> None:
    options = named("several_parts")
    env = make(options)
    spec = describe(env, options)
    observation, _ = env.reset()
    frames = newest_frames(spec, observation)

    assert spec.parts == (PartSpec("camera", (8, 8, 3), "uint8", 0.0, 255.0), PartSpec("wheel", (1,), "float32", -2.0, 3.0))
    assert spec.action_size == 4  # the shape (2, 2), flattened
    assert np.array_equal(frames["camera"], observation["camera"])
    assert [str(frame.dtype) for frame in frames.values()] == ["uint8", "float32"]
    env.step(np.zeros(4, np.float32))
    assert env.unwrapped.taken.shape == (2, 2)  # type: ignore[attr-defined]


def test_tuples_of_boxes_are_parts_by_number() -> None:
    options = named("two_parts")
    env = make(options)
    spec = describe(env, options)

    assert [(part.name, part.shape) for part in spec.parts] == [("part0", (3,)), ("part1", (2, 2))]
    assert newest_frames(spec, env.reset()[0])["part0"].dtype == np.float32


def test_an_own_rtgym_interface_works() -> None:
    options = named("Sensor").model_copy(update={"action_buffer": 2})
    env = make(options)
    spec = describe(env, options)
    observation, _ = env.reset()

    assert isinstance(env.unwrapped, PacedEnv)
    assert spec.parts == (PartSpec("part0", (1,), "float32", 0.0, 100.0),)
    assert (spec.action_size, spec.action_buffer, spec.default_action) == (1, 2, (0.0,))
    assert [part.tolist() for part in observation] == [[0.0], [1.0], [1.0]]
    assert env.step(np.zeros(1, np.float32))[0][0] == 1.0
    env.close()


class Thrifty(gymnasium.RewardWrapper[Any, Any]):
    """Pays half of what ours does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(gymnasium.make(LIDAR_ID, **settings))

    def reward(self, reward: Any) -> float:
        return 0.5 * float(reward)


class Blinkered(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Shows the newest beams alone, and stacks none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(gymnasium.make(LIDAR_ID, **settings))
        self.observation_space = spaces.Box(0.0, np.inf, (19,), np.float32)

    def observation(self, observation: Any) -> Any:
        return observation[1][-1]


class Labelled(Blinkered):
    """The same, and says what it shows."""

    tmrld_spec = EnvSpec("", (PartSpec("beams", (19,), scale=300.0),), action_size=3, default_action=(0.0,) * 3)


def test_a_wrapper_around_ours_shows_what_ours_does() -> None:
    options = named("Thrifty").model_copy(update={"kwargs": {"history": 2}})
    env = make(options)
    inside = ours_within(env)
    spec = describe(env, options)
    env.close()

    assert inside is not None
    assert (inside.id, inside.history) == (LIDAR_ID, 2)
    assert spec.parts == describe(env, inside).parts
    assert (spec.id, spec.action_buffer, spec.observation_size) == (options.id, 2, 1 + 2 * 19 + 2 * 3)


def test_a_wrapper_with_a_view_of_its_own_is_described_by_its_space_or_by_itself() -> None:
    for name, part in (("Blinkered", PartSpec("observation", (19,), low=0.0)), ("Labelled", Labelled.tmrld_spec.parts[0])):
        env = make(named(name))
        spec = describe(env, named(name))
        observation, _ = env.reset(seed=0)
        env.close()

        assert spec.parts == (part,)
        assert (spec.id, spec.action_buffer) == (named(name).id, 0)
        assert newest_frames(spec, observation)[part.name].shape == (19,)


def test_there_is_nothing_of_ours_in_other_environments() -> None:
    assert ours_within(make(EnvironmentOptions(id="Pendulum-v1"))) is None
    assert ours_within(make(named("Toy"))) is None


def test_late_steps_are_counted_and_do_no_harm() -> None:
    env = make(named("Sensor").model_copy(update={"timeout_factor": 0.0, "time_step_s": 1e-6, "start_obs_capture_s": 0.0}))
    env.reset()
    for _ in range(20):
        env.step(np.zeros(1, np.float32))

    assert env.unwrapped.late_steps > 0  # type: ignore[attr-defined]
    env.close()


def test_an_exception_in_the_interface_reaches_the_driver() -> None:
    env = make(named("Sensor", fail_after=1))
    env.reset()

    def drive_on() -> None:
        for _ in range(5):
            env.step(np.zeros(1, np.float32))

    with pytest.raises(OSError, match="cable"):
        drive_on()
    env.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EnvironmentOptions(id="Pendulun-v1"), "did you mean 'Pendulum-v1'"),
        (EnvironmentOptions(id="Pendulum-v77"), "no environment is called"),
        (EnvironmentOptions(id="xyzzy"), "no environment is called 'xyzzy'"),
        (EnvironmentOptions(id="Pendulum-v1", kwargs={"gravity": 1}), "cannot be made"),
        (EnvironmentOptions(id="CartPole-v1"), "only Box spaces of continuous actions"),
        (EnvironmentOptions(id="no_such_module:Env"), "cannot be imported"),
        (named("Tooy"), "did you mean 'Toy'"),
        (named("Toy", colour="red"), "cannot be made with kwargs"),
        (named("forty_two"), "not a class or function"),
        (named("not_an_environment"), "made a int"),
        (named("discrete_actions"), "only Box spaces of continuous actions"),
        (named("unbounded_actions"), "unbounded actions"),
        (named("discrete_observations"), "observes 'part0' as Discrete"),
        (EnvironmentOptions(game="trackmania", clock="realtime"), "must be a track on the shelf"),
        (EnvironmentOptions(start_obs_capture_s=0.06), "must not be later than time_step_s"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*out of date", "ignore:.*latest versioned")
def test_what_cannot_be_made_is_explained(options: EnvironmentOptions, message: str) -> None:
    with pytest.raises(WorldError, match=message):
        make(options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trak": "default"}, "did you mean track"),
        ({"track": "lonng"}, "did you mean 'long'"),
        ({"history": 0}, "history"),
        ({"reward": {"max_stray": -1}}, "reward.max_stray"),
        ({"render_mode": "ansi"}, "ansi"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_a_wrong_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(WorldError, match=message):
        gymnasium.make(LIDAR_ID, **settings)


def test_actions_are_checked() -> None:
    env = make(EnvironmentOptions())
    env.reset(seed=0)

    with pytest.raises(WorldError, match="shape"):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(WorldError, match="not a number"):
        env.step(np.array([np.nan, 0, 0]))
    assert env.step([2.0, -7.0, 0.5])[0][-1].tolist() == [1.0, -1.0, 0.5]
    env.close()


def test_the_callers_array_is_not_kept() -> None:
    env = make(EnvironmentOptions())
    env.reset(seed=0)
    action = np.array([1.0, 0.0, 0.0], np.float32)
    first = env.step(action)[0]
    action[:] = -1.0
    second = env.step(action)[0]

    assert first[-1].tolist() == second[-2].tolist() == [1.0, 0.0, 0.0]
    first[-1][:] = 9.0
    assert second[-2].tolist() == [1.0, 0.0, 0.0]
    env.close()


def test_closing_ends_the_thread_and_may_be_repeated() -> None:
    env = make(EnvironmentOptions())
    env.reset(seed=0)
    thread = env._at_thread  # type: ignore[attr-defined]
    env.close()
    env.close()

    assert not thread.is_alive()
    with pytest.raises(WorldError, match="closed"):
        env.step(np.zeros(3, np.float32))


def test_options_import_nothing_heavy_beyond_registration() -> None:
    code = "import sys, tmrld.envs.options; print(sorted({'rtgym', 'torch', 'tmrld.envs.registry'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"


def test_options_work_without_gymnasium() -> None:
    code = (
        "import importlib.util, sys\n"
        "importlib.util.find_spec = lambda name: None\n"
        "from tmrld.envs.options import EnvironmentOptions\n"
        "print(EnvironmentOptions().id, 'gymnasium' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == f"{LIDAR_ID} False"
