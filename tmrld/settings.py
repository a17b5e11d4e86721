"""The whole configuration as one typed tree; the sole reader of TOML, environment variables and flags.

defaults < ``tmrld.toml`` < ``TMRLD_GROUP__KEY`` in the environment < flags.  An unknown key is an error that names the nearest one.

Two trees meet here.  `Settings` configures this daemon: roles, addresses, credentials, folders.  `RunConfig` configures a run: the
relay stores it and sends it to the nodes that work for it; ``[run.…]`` in the file is what a relay's first run starts with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as SourceError

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


class ControlSettings(BaseModel):
    """The control API, which the relay's daemon serves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.  Any but a loopback address needs certificate and key.")
    port: int = Field(7400, ge=0, le=65535, description="Port; 0 takes any free one.")
    certificate: str = Field("", description="File with the certificate (PEM) for HTTPS.")
    key: str = Field("", description="File with its private key (PEM).")
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses of reverse proxies that end HTTPS in front of this listener; allows plain HTTP beyond loopback.",
    )


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


class Settings(BaseSettings):
    """The configuration of one daemon."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, nested_model_default_partial_update=True
    )

    roles: tuple[Role, ...] = Field((), description="What this daemon does: relay, trainer, worker, or several of them.")
    name: str = Field("", max_length=64, description="Name of this node; empty takes the machine's.")
    data: Path = Field(
        Path(platformdirs.user_data_dir("tmrld", appauthor=False)), description="Data folder, on a disk of this machine."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
    peers: PeersSettings = PeersSettings()
    relay: RelayOptions = RelayOptions()
    control: ControlSettings = ControlSettings()
    worker: WorkerSettings = WorkerSettings()
    trainer: TrainerSettings = TrainerSettings()
    run: FirstRun = FirstRun()


def load(
    file: Path | None = None, flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings: ``file`` (None: TMRLD_CONFIG, or ``tmrld.toml`` here if there is one), environment, then ``flags``.

    ``flags`` is a nested mapping.  Raises SettingsError that names the key, the value and what was expected.
    """
    environment = os.environ if environment is None else environment
    path = _file(file, environment)
    for variable in environment:
        if variable.startswith(ENV_PREFIX) and variable != CONFIG_VARIABLE:
            _check_variable(variable)

    class FromHere(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

    try:
        return FromHere(**dict(flags or {}))
    except ValidationError as error:
        raise SettingsError(explain(error, Settings)) from None
    except SourceError as error:
        raise SettingsError(f"an environment variable could not be read: {error.__cause__ or error}") from None
    except ValueError as error:  # tomllib.TOMLDecodeError
        raise SettingsError(f"{path} is not valid TOML: {error}") from None


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
    """``group.key=value`` of a ``--set`` flag as a nested mapping; the value is TOML's or JSON's, or else a plain string."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise SettingsError(f"--set {text!r} is not KEY=VALUE, for example --set run.algorithm.gamma=0.98")
    try:
        parsed: Any = json.loads(value)
    except ValueError:
        parsed = value
    for key in reversed(path.strip().split(".")):
        parsed = {key: parsed}
    return parsed if isinstance(parsed, dict) else {}


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
    sentences = []
    for problem in error.errors(include_url=False):
        path = [str(part) for part in problem["loc"]]
        key = ".".join(path)
        if problem["type"] == "extra_forbidden":
            sentences.append(f"{key} is not a setting{_nearest(path, model)}")
        else:
            sentences.append(f"{key} = {_shown(problem['input'])} cannot be used: {_lower(problem['msg'])}")
    return "; ".join(sentences)


def _nearest(path: list[str], model: type[BaseModel]) -> str:
    """ ": did you mean …?" for the last part of a path that does not exist."""
    below = _model_at(path[:-1], model)
    names = list(below.model_fields) if below else []
    near = get_close_matches(path[-1], names, n=1, cutoff=0.5)
    if near:
        return f": did you mean {'.'.join([*path[:-1], near[0]])}?"
    return f": the keys there are {', '.join(names)}" if names else ""


def _model_at(path: list[str], model: type[BaseModel]) -> type[BaseModel] | None:
    current = model
    for part in path:
        field = current.model_fields.get(part)
        below = field.annotation if field else None
        if not (isinstance(below, type) and issubclass(below, BaseModel)):
            return None
        current = below
    return current


def _check_variable(variable: str) -> None:
    """A variable with our prefix must name a setting: a typo would otherwise do nothing, silently."""
    path = variable[len(ENV_PREFIX) :].lower().split("__")
    below = _model_at(path[:-1], Settings)
    if below is None or path[-1] not in below.model_fields:
        raise SettingsError(
            f"the environment variable {variable} names no setting ({'.'.join(path)}){_nearest(path, Settings)}"
        )


def _shown(value: Any) -> str:
    text = repr(value.get_secret_value() if isinstance(value, SecretStr) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


# tmrld.toml.example


def example() -> str:
    """Every setting with its default and its meaning, as the text of a settings file."""
    lines = [
        "# Every setting of tmrld with its default.  Copy this file to tmrld.toml and keep the lines that you change.",
        "# Each can also be set in the environment (relay.port is TMRLD_RELAY__PORT) or by a flag (--set relay.port=7500).",
        *_example_lines(Settings, Settings.model_construct(), []),
    ]
    return "\n".join(lines) + "\n"


def _example_lines(model: type[BaseModel], values: BaseModel, path: list[str]) -> Iterator[str]:
    groups: list[tuple[str, FieldInfo]] = []
    if path:
        yield from ["", f"[{'.'.join(path)}]  # {_first_sentence(model)}"]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            groups.append((name, field))
            continue
        yield f"# {field.description}"
        yield f"{name} = {_toml(name, getattr(values, name))}"
    for name, field in groups:
        assert isinstance(field.annotation, type)
        yield from _example_lines(field.annotation, getattr(values, name), [*path, name])


def _first_sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split())


def _toml(name: str, value: Any) -> str:
    """A default as TOML.  Infinity does not occur; the data folder differs per machine and is shown as a comment would."""
    if isinstance(value, SecretStr):
        return '""'
    if name == "data":
        return '"data"'
    return json.dumps(value, ensure_ascii=False)
