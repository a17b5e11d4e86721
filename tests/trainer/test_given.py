"""The files that a run names: what fits it is opened, all else is refused with what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.rl.experience import cut_all, lidar_spec, make_episode, picture_spec, point_spec
from tmrld.errors import BadInput, StorageError, WeightsError
from tmrld.payloads import Chunk, EnvSpec, EpisodeSummary, WeightsManifest
from tmrld.protocol import demonstrations
from tmrld.rl.options import AlgorithmOptions, NetworkOptions
from tmrld.rl.replay import Replay
from tmrld.rl.sac import SAC
from tmrld.rl.weights import pack
from tmrld.trainer.given import demonstrations_to_learn_from, policy_to_start_from

SMALL = NetworkOptions(hidden=(8, 8), cnn="nature")
PICTURES = picture_spec((36, 36), history=2)


def weights(folder: Path, spec: EnvSpec, network: NetworkOptions = SMALL) -> dict[str, str]:
    """A policy on this machine, called "mine"."""
    manifest = WeightsManifest("old", 3, 100, 0, spec, network.model_dump(mode="json"), "sac")
    path = folder / "weights"
    path.write_bytes(pack(manifest, SAC(AlgorithmOptions(), network, spec, seed=5).policy_tensors()).data)
    return {"weights/mine": str(path)}


def whole(spec: EnvSpec, sizes: list[int], name: str) -> list[Chunk]:
    """An episode in chunks of these sizes."""
    episode = make_episode(spec, sum(sizes), np.random.default_rng(len(sizes)), terminated=True)
    chunks = [replace(chunk, episode=name) for chunk in cut_all(episode, sizes)]
    for chunk in chunks:
        chunk.columns["actor"] = np.full(chunk.lead + chunk.steps, 3, np.uint8)
    chunks[-1] = replace(chunks[-1], summary=EpisodeSummary(sum(sizes), 1.0, True, 9.5, 1.0, "scripted", -1))
    return chunks


def shown(folder: Path, spec: EnvSpec, **episodes: list[list[int]]) -> dict[str, str]:
    """Files of demonstrations on this machine, each with episodes of chunks of these sizes."""
    files = {}
    for name, sizes in episodes.items():
        chunks = [chunk for number, each in enumerate(sizes) for chunk in whole(spec, each, f"{name}{number}")]
        path = folder / name
        path.write_bytes(demonstrations.pack(name, "oval", spec, chunks))
        files[f"demonstrations/{name}"] = str(path)
    return files


# Weights


@pytest.mark.parametrize("spec", [lidar_spec(), PICTURES])
def test_a_policy_of_the_same_network_is_opened_whatever_its_critics_were_like(tmp_path: Path, spec: EnvSpec) -> None:
    files = weights(tmp_path, spec)
    network = SMALL.model_copy(update={"critic_layer_norm": False})

    tensors = policy_to_start_from(files, "mine", network, spec)

    expected = SAC(AlgorithmOptions(), SMALL, spec, seed=5).policy_tensors()
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name])


@pytest.mark.parametrize(
    ("spec", "changes", "advice"),
    [
        (lidar_spec(), {"hidden": (256, 256)}, r"set network.hidden to \[8, 8\] \(now \[256, 256\]\)"),
        (
            lidar_spec(),
            {"activation": "tanh", "log_std_max": 1.0},
            r'set network.activation to "relu" and network.log_std_max to 2.0 \(now "tanh", 1.0\)',
        ),
        (PICTURES, {"cnn": "tmrl"}, r'set network.cnn to "nature" \(now "tmrl"\)'),
    ],
)
def test_for_a_policy_of_another_network_it_is_said_what_to_set(
    tmp_path: Path, spec: EnvSpec, changes: dict[str, Any], advice: str
) -> None:
    with pytest.raises(BadInput, match=f"starts from the weights 'mine', whose network is another: {advice}"):
        policy_to_start_from(weights(tmp_path, spec), "mine", SMALL.model_copy(update=changes), spec)


def test_how_images_would_be_read_does_not_matter_where_there_are_none(tmp_path: Path) -> None:
    assert policy_to_start_from(weights(tmp_path, lidar_spec()), "mine", SMALL.model_copy(update={"cnn": "tmrl"}), lidar_spec())


def test_weights_of_another_environment_or_that_are_damaged_or_gone_are_refused(tmp_path: Path) -> None:
    files = weights(tmp_path, point_spec())
    with pytest.raises(WeightsError, match="do not fit test/Lidar-v0: they expect the parts position"):
        policy_to_start_from(files, "mine", SMALL, lidar_spec())
    path = Path(files["weights/mine"])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="damaged"):
        policy_to_start_from(files, "mine", SMALL, point_spec())
    path.unlink()
    with pytest.raises(StorageError, match=path.name):
        policy_to_start_from(files, "mine", SMALL, point_spec())
    with pytest.raises(BadInput, match="needs the weights 'yours', which this trainer has not fetched"):
        policy_to_start_from(files, "yours", SMALL, point_spec())


# Demonstrations


def test_without_names_there_are_no_demonstrations() -> None:
    assert demonstrations_to_learn_from({}, (), lidar_spec()) is None


@pytest.mark.parametrize("spec", [lidar_spec(), PICTURES])
def test_every_transition_of_every_file_is_there_in_order(tmp_path: Path, spec: EnvSpec) -> None:
    files = shown(tmp_path, spec, first=[[1] * 30, [5, 2]], second=[[9]])
    episodes = [whole(spec, sizes, "") for sizes in ([1] * 30, [5, 2], [9])]

    memory = demonstrations_to_learn_from(files, ("first", "second"), spec)

    assert memory is not None
    assert len(memory) == 30 + 7 + 9
    plain = Replay(spec, 1000)
    for chunk in (chunk for chunks in episodes for chunk in chunks):
        plain.append(chunk)
    left, right = (each.gather(np.arange(46)) for each in (memory, plain))
    np.testing.assert_array_equal(left.action, right.action)
    for name, column in left.next_observation.items():
        np.testing.assert_array_equal(column, right.next_observation[name])


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (point_spec(), "they hold the parts speed, lidar, and the run needs position"),
        (replace(lidar_spec(), action_size=2), "action_size is 3 and should be 2"),
        (replace(lidar_spec(), action_buffer=3), "action_buffer is 2 and should be 3"),
        (replace(lidar_spec(), step_s=0.1), "step_s is 0.05 and should be 0.1"),
        (
            replace(lidar_spec(), parts=(lidar_spec().parts[0], replace(lidar_spec().parts[1], shape=(21,)))),
            r"the shape of 'lidar' is \(19,\) and should be \(21,\)",
        ),
        (
            replace(lidar_spec(), parts=(lidar_spec().parts[0], replace(lidar_spec().parts[1], history=1))),
            "the history of 'lidar' is 4 and should be 1",
        ),
    ],
)
def test_what_could_not_have_been_driven_in_the_run_is_refused(tmp_path: Path, spec: EnvSpec, complaint: str) -> None:
    files = shown(tmp_path, lidar_spec(), first=[[9]])

    with pytest.raises(BadInput, match=rf"'first' \(driven in test/Lidar-v0\) do not fit .*{complaint}; record them again"):
        demonstrations_to_learn_from(files, ("first",), spec)


def test_other_bounds_and_scales_fit(tmp_path: Path) -> None:
    files = shown(tmp_path, lidar_spec(), first=[[9]])
    speed, lidar = lidar_spec().parts
    spec = replace(lidar_spec(), id="test/Other-v0", parts=(replace(speed, scale=1.0, high=400.0), lidar))

    memory = demonstrations_to_learn_from(files, ("first",), spec)

    assert memory is not None
    assert len(memory) == 9
