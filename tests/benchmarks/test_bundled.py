"""The policies that come with the package: they are there, they drive, and which version becomes one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bundled
import pytest
from bundled import POLICIES, RECIPES, Result

from tmrld.envs.options import EnvironmentOptions
from tmrld.envs.registry import describe, make
from tmrld.presets import preset
from tmrld.rl.weights import check_fits, pack, unpack


@pytest.mark.parametrize("name", RECIPES)
def test_a_policy_of_each_recipe_comes_with_the_package_and_fits_its_preset(name: str) -> None:
    manifest, _ = unpack((POLICIES / f"{name}.safetensors").read_bytes())
    options = EnvironmentOptions.model_validate(preset(RECIPES[name].preset).config.get("environment", {}))
    environment = make(options)
    check_fits(manifest, describe(environment, options))
    environment.close()
    assert manifest.run == name


def test_the_bundled_policy_finishes_the_default_track() -> None:
    result = bundled.driven(POLICIES / "bundled-default.safetensors", ("default",), 2, 0, EnvironmentOptions())
    assert (result.finished, result.episodes) == (2, 2)
    assert result.lap_ratio is not None
    assert 1.0 < result.lap_ratio < 1.3


def test_the_version_that_finishes_most_often_is_chosen_and_the_faster_of_equals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {
        100: Result(20, 19, {"default": [20.0] * 19}),
        200: Result(20, 20, {"default": [26.0] * 20}),
        300: Result(20, 20, {"default": [25.0] * 20}),
        400: Result(20, 0, {"default": []}),
    }
    paths = [_version(tmp_path, update) for update in results]
    monkeypatch.setattr(bundled, "driven", lambda path, *_: results[int(path.stem)])
    assert bundled.best(RECIPES["bundled-default"], paths, EnvironmentOptions()) == paths[2]


def test_versions_are_compared_near_the_end_and_some_updates_apart(tmp_path: Path) -> None:
    for update in range(1000, 31_000, 500):
        _version(tmp_path / "relay" / "runs" / "demo" / "weights", update)
    found = [int(path.stem) for path in bundled.candidates(tmp_path, 30_000)]
    assert found == list(range(19_000, 31_000, 1000))


def test_what_goes_into_the_package_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "POLICIES", tmp_path / "policies")
    path = bundled.put_into_package("bundled-default", _version(tmp_path, 700))
    manifest, tensors = unpack(path.read_bytes())
    original = unpack((POLICIES / "bundled-default.safetensors").read_bytes())[1]
    assert path.name == "bundled-default.safetensors"
    assert (manifest.run, manifest.update) == ("bundled-default", 700)
    assert all((tensors[name] == values).all() for name, values in original.items())


def _version(folder: Path, update: int) -> Path:
    """A version of the weights after so many updates, by their number, in a folder."""
    manifest, tensors = unpack((POLICIES / "bundled-default.safetensors").read_bytes())
    weights = pack(replace(manifest, run="demo", update=update), tensors)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{update:012d}.safetensors"
    path.write_bytes(weights.data)
    return path
