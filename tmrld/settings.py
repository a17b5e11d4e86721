"""The whole configuration as one typed tree; the sole reader of TOML, environment variables and flags.

defaults < ``tmrld.toml`` < ``TMRLD_GROUP__KEY`` in the environment < flags.  An unknown key is an error that names the nearest one;
no error and no ``repr`` ever shows a secret.

Two trees meet here.  `Settings` configures this daemon: roles, addresses, credentials, folders.  `RunConfig` configures a run: the
relay stores it and sends it to the nodes that work for it; ``[run.…]`` in the file is what a relay's first run starts with.
"""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from tmrld.control.options import ControlOptions
from tmrld.envs.options import EnvironmentOptions
from tmrld.errors import SettingsError
from tmrld.relay.options import RelayOptions
from tmrld.rl.options import AlgorithmOptions, NetworkOptions, ReplayOptions
from tmrld.trainer.options import TrainingOptions
from tmrld.worker.options import CollectionOptions, EvaluationOptions

ENV_PREFIX = "TMRLD_"
CONFIG_VARIABLE = "TMRLD_CONFIG"
DEFAULT_FILE = Path("tmrld.toml")

Role = Literal["relay", "trainer", "worker"]


class RunConfig(BaseModel):
    """The configuration of a run: what is driven, how it is learned, collected and evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: EnvironmentOptions = EnvironmentOptions()
    algorithm: AlgorithmOptions = AlgorithmOptions()
    network: NetworkOptions = NetworkOptions()
    replay: ReplayOptions = ReplayOptions()
    training: TrainingOptions = TrainingOptions()
    collection: CollectionOptions = CollectionOptions()
    evaluation: EvaluationOptions = EvaluationOptions()


class FirstRun(RunConfig):
    """The run that a relay without any run makes for itself, and starts."""

    name: str = Field("demo", description="Its name.")


class PeersSettings(BaseModel):
    """How a worker or trainer reaches its relay."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    relay: str = Field("wss://127.0.0.1:7401", description="Address of the relay, wss://HOST:PORT.")
    pin: str = Field("", description="Hash of the relay's public key, as `tmrld serve --role relay` prints it.")
    ca_file: str = Field("", description="Instead of a pin: a file with the certificates to trust.")
    token: SecretStr = Field(SecretStr(""), description="This node's token, as `tmrld token new` prints it.")
    proxy: str = Field("", description="HTTP proxy to go through, http://HOST:PORT; empty for none.")


class WorkerSettings(BaseModel):
    """This machine's worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_bytes: int = Field(
        64 * 2**20, ge=2**20, description="Unacknowledged samples kept in memory before they go to the spool."
    )
    spool_bytes: int = Field(
        2 * 2**30, ge=2**26, description="Unacknowledged samples kept on disk; collection stops when it is full."
    )


class TrainerSettings(BaseModel):
    """This machine's trainer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field("cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$", description="Where to compute: cpu, cuda, cuda:1, mps.")


class Settings(BaseModel):
    """The configuration of one daemon."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: tuple[Role, ...] = Field((), description="What this daemon does: relay, trainer, worker, or several of them.")
    name: str = Field("", max_length=64, description="Name of this node; empty takes the machine's.")
    data: Path = Field(
        Path(platformdirs.user_data_dir("tmrld", appauthor=False)),
        description="Data folder, on a disk of this machine; left out, it is where programs of this system keep their data.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged: this and worse.")
    peers: PeersSettings = PeersSettings()
    relay: RelayOptions = RelayOptions()
    control: ControlOptions = ControlOptions()
    worker: WorkerSettings = WorkerSettings()
    trainer: TrainerSettings = TrainerSettings()
    run: FirstRun = FirstRun()


def load(
    file: Path | None = None, flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings: ``file`` (None: TMRLD_CONFIG, or ``tmrld.toml`` here if there is one), environment, then ``flags``.

    ``flags`` is a nested mapping; ``environment`` is the process's where it is None.  Raises SettingsError that names the key, the
    value and what was expected.
    """
    environment = os.environ if environment is None else environment
    tree = merged(_read(_file(file, environment)), _variables(environment))
    try:
        return Settings.model_validate(merged(tree, flags or {}))
    except ValidationError as error:
        raise SettingsError(explain(error, Settings)) from None


def _file(file: Path | None, environment: Mapping[str, str]) -> Path | None:
    if file is None and environment.get(CONFIG_VARIABLE):
        file = Path(environment[CONFIG_VARIABLE])
    if file is None:
        return DEFAULT_FILE if DEFAULT_FILE.exists() else None
    if not file.exists():
        raise SettingsError(
            f"the settings file {file} does not exist: give the path of a tmrld.toml, or leave it out for the defaults"
        )
    return file


def _read(file: Path | None) -> dict[str, Any]:
    """What the file says; nothing where there is none."""
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise SettingsError(f"the settings file {file} is not valid TOML: {error}") from None


def _variables(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings among the environment's variables.  One that names none would otherwise do nothing, silently."""
    tree: dict[str, Any] = {}
    for variable, text in environment.items():
        name = variable.upper()  # as Windows has it
        if not name.startswith(ENV_PREFIX) or name == CONFIG_VARIABLE:
            continue
        path = name[len(ENV_PREFIX) :].lower().split("__")
        below = _model_at(path[:-1], Settings)
        if below is None or path[-1] not in below.model_fields:
            raise SettingsError(
                f"the environment variable {variable} names no setting ({'.'.join(path)}){_nearest(path, Settings)}"
            )
        tree = merged(tree, _nested(path, text))
    return tree


def _nested(path: list[str], text: str) -> dict[str, Any]:
    """The tree that holds this one value: the text itself where the setting takes text, otherwise what it says as JSON."""
    value: Any = text
    if not _takes_text(path):
        with contextlib.suppress(ValueError):  # then it stays text, and whatever takes none says so
            value = json.loads(text)
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def _takes_text(path: list[str]) -> bool:
    model = _model_at(path[:-1], Settings)
    field = model.model_fields.get(path[-1]) if model else None
    return field is not None and field.annotation in (str, SecretStr, Path)


def run_config(plain: Mapping[str, Any]) -> RunConfig:
    """A run's configuration from plain values.  Raises SettingsError that names the key."""
    try:
        return RunConfig.model_validate(dict(plain))
    except ValidationError as error:
        raise SettingsError(explain(error, RunConfig)) from None


def first_run_config(settings: Settings) -> dict[str, Any]:
    """The configuration of the run that a new relay makes for itself, as plain values."""
    return settings.run.model_dump(mode="json", exclude={"name"})


def assignment(text: str) -> dict[str, Any]:
    """``group.key=value`` of a ``--set`` flag as a nested mapping; lists and groups are written as JSON.  Raises SettingsError."""
    name, equals, value = text.partition("=")
    path = [part.strip() for part in name.split(".")]
    if not equals or not all(path):
        raise SettingsError(f"--set {name!r} is not KEY=VALUE, for example --set run.algorithm.gamma=0.98")
    return _nested(path, value)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """``second`` laid over ``first``, group by group."""
    result = dict(first)
    for key, value in second.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


# Errors that name the key


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """All that is wrong, a sentence each: the key, the value, what was expected, the nearest key."""
    sentences: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        path = _key(problem["loc"], model)
        if problem["type"] == "extra_forbidden":
            sentences[f"{'.'.join(path)} is not a setting{_nearest(path, model)}"] = []
        else:
            shown = f"{'.'.join(path)} = {_shown(path, problem['input'], model)} cannot be used: "
            reason = "it is a group of settings" if problem["type"] == "model_type" else _lower(problem["msg"])
            sentences.setdefault(shown, []).append(reason)  # one for each type that the setting may have
    return "; ".join(sentence + ", or ".join(reasons) for sentence, reasons in sentences.items())


def _key(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The setting that an error is about: without pydantic's names for the types that it tried."""
    path: list[str] = []
    for part in location:
        if path and _model_at(path, model) is None:
            return [*path, *(str(index) for index in location[len(path) :] if isinstance(index, int))]
        path.append(str(part))
    return path


def _nearest(path: list[str], model: type[BaseModel]) -> str:
    """What to write instead of a path that does not exist: a key of nearly that name there, or of that very name elsewhere."""
    known = next(n for n in range(len(path) - 1, -1, -1) if _model_at(path[:n], model))
    group, wrong = _model_at(path[:known], model), path[known]
    assert group is not None
    near = get_close_matches(wrong, group.model_fields, n=1, cutoff=0.6)
    keys = [".".join([*path[:known], *near])] if near else [key for key in keys_of(model) if key.split(".")[-1] == path[-1]]
    if keys:
        return f": did you mean {' or '.join(keys)}?"
    return f": the keys there are {', '.join(group.model_fields)}"


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    """The dotted name of every group and setting."""
    for name in model.model_fields:
        yield name
        below = _model_at([name], model)
        if below is not None:
            yield from (f"{name}.{key}" for key in keys_of(below))


def _model_at(path: list[str], model: type[BaseModel]) -> type[BaseModel] | None:
    current = model
    for part in path:
        field = current.model_fields.get(part)
        below = field.annotation if field else None
        if not (isinstance(below, type) and issubclass(below, BaseModel)):
            return None
        current = below
    return current


def _shown(path: list[str], value: Any, model: type[BaseModel]) -> str:
    """A value that cannot be used, shortened; of a secret, or of a whole group that may hold one, only what it is."""
    if _may_hold_secret(path, model):
        return f"({type(value).__name__}, not shown)"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _may_hold_secret(path: list[str], model: type[BaseModel]) -> bool:
    """Whether it is a secret or a group; a path may end inside a setting that is a list."""
    for depth, name in enumerate(path):
        above = _model_at(path[:depth], model)
        field = above.model_fields.get(name) if above else None
        if field is not None and _model_at(path[: depth + 1], model) is None:
            return field.annotation is SecretStr
    return True


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


# tmrld.toml.example


def example() -> str:
    """Every setting with its default and its meaning, as the text of a settings file."""
    lines = [
        "# Every setting of tmrld with its default.  Copy this file to tmrld.toml and keep the lines that you change.",
        "# In the environment relay.port is TMRLD_RELAY__PORT, as a flag it is --set relay.port=7500.  Flags win over the",
        "# environment, and that wins over this file.",
        "",
        *_example_lines(Settings(), []),
    ]
    return "\n".join(lines) + "\n"


def _example_lines(values: BaseModel, path: list[str]) -> Iterator[str]:
    model = type(values)
    if path:
        yield from ["", f"# {_first_sentence(model)}", f"[{'.'.join(path)}]"]
    groups: dict[str, BaseModel] = {}
    for name, field in model.model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            groups[name] = value
            continue
        yield f"# {' '.join((field.description or '').split())}"
        if isinstance(value, Path):  # differs from machine to machine
            yield f'# {name} = "/path/of/a/folder"'
        else:
            yield f"{name} = {_toml(value)}"
    for name, group in groups.items():
        yield from _example_lines(group, [*path, name])


def _first_sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _toml(value: Any) -> str:
    """A default as TOML, which writes all that occurs here as JSON does."""
    return json.dumps(value.get_secret_value() if isinstance(value, SecretStr) else value, ensure_ascii=False)
