"""The whole configuration as one typed tree; the sole reader of TOML, environment variables and flags.

defaults < ``tmrld.toml`` < ``TMRLD_GROUP__KEY`` in the environment < flags.  An unknown key is an error that names the nearest one;
no error and no ``repr`` ever shows a secret.

`Settings` configures this daemon: roles, addresses, credentials, folders.  A run's configuration (`tmrld.configuration`) lives at the
relay; ``[run.…]`` in the file is what a relay's first run starts with.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tmrld.configuration import RunConfig, changes
from tmrld.control.options import ControlOptions
from tmrld.errors import SettingsError
from tmrld.relay.options import RelayOptions
from tmrld.validation import explain, model_at, nearest, problems

ENV_PREFIX = "TMRLD_"
CONFIG_VARIABLE = "TMRLD_CONFIG"
CLIENT_VARIABLES = ("TMRLD_API", "TMRLD_TOKEN")
"""Where commands that talk to a running relay find it; no settings of a daemon."""
DEFAULT_FILE = Path("tmrld.toml")

Role = Literal["relay", "trainer", "worker"]


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

    environments: int = Field(
        1,
        ge=1,
        le=64,
        description="How many cars its engine drives in lockstep, each through episodes of its own, with one call of the policy for "
        "all; in real time there can be only one.",
    )
    on_relay_lost: Literal["drive", "pause"] = Field(
        "drive",
        description="What happens while the relay cannot be reached: drive on, and keep the samples; or pause, hands off.",
    )
    memory_bytes: int = Field(
        64 * 2**20, ge=2**20, description="Unacknowledged samples kept in memory before they go to the spool."
    )
    spool_bytes: int = Field(
        2 * 2**30, ge=2**26, description="Unacknowledged samples kept on disk; collection stops when it is full."
    )


class TrainerSettings(BaseModel):
    """This machine's trainer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(
        "cpu",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Where to compute: cpu; cuda, cuda:1, mps; or auto: the first CUDA card, else Apple's GPU (mps), else the "
        "processor.  For images a card is what one wants; networks as small as the LIDAR's are as fast on the processor.",
    )
    profile_updates: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Trace so many updates, each time an engine has started and warmed up: a file for Perfetto or chrome://tracing, "
        "and a table, in trainer/runs/RUN/profiles of the data folder.  0: none.  As a flag: --profile.",
    )


class Settings(BaseSettings):
    """The configuration of one daemon.  Made of its defaults and what is handed to it; `load` reads file and environment."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what is handed in; `load` asks the other sources itself, so that errors say where a value came from."""
        return (init_settings,)

    roles: tuple[Role, ...] = Field((), description="What this daemon does: relay, trainer, worker, or several of them.")
    name: str = Field("", max_length=64, description="Name of this node; empty takes the machine's.")
    data: Path = Field(
        Path(platformdirs.user_data_dir("tmrld", appauthor=False)),
        description="Data folder, on a disk of this machine; left out, it is where programs of this system keep their data.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged: this and worse.")
    log_bytes: int = Field(40 * 2**20, ge=2**20, description="Log files kept in the data folder; the oldest lines go.")
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
    tree = merged(_read(_file(file, environment)), _read_environment(environment))
    try:
        return Settings.model_validate(merged(tree, flags or {}))
    except ValidationError as error:
        raise SettingsError(explain(error, Settings) + _set_by(environment, error, flags or {})) from None


def _set_by(environment: Mapping[str, str], error: ValidationError, flags: Mapping[str, Any]) -> str:
    """Which variables of the environment hold what is wrong, since nobody finds those in a file."""
    found = []
    for variable in environment:
        path = variable.upper().removeprefix(ENV_PREFIX).lower().split("__")
        wrong = any(problem.path == ".".join(path) for problem in problems(error, Settings))
        if wrong and variable.upper().startswith(ENV_PREFIX) and not _holds(flags, path):
            found.append(variable)
    return f" (set by the environment: {', '.join(found)})" if found else ""


def _holds(tree: Mapping[str, Any], path: list[str]) -> bool:
    """Whether there is a value at this path."""
    below: Any = tree
    for key in path:
        if not isinstance(below, Mapping) or key not in below:
            return False
        below = below[key]
    return True


def file_read(file: Path | None = None) -> Path | None:
    """The settings file that `load` reads; None where there is none.  Raises SettingsError for one that is not there."""
    return _file(file, os.environ)


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
    if not file.is_file():
        raise SettingsError(f"the settings file {file} is no file: give the path of a tmrld.toml")
    try:
        return TomlConfigSettingsSource(Settings, file)()
    except OSError as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise SettingsError(f"the settings file {file} is not valid TOML: {error}") from None


class _Environment(EnvSettingsSource):
    """The environment that is handed in, not the process's."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = {name.lower(): value for name, value in variables.items()}
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._variables

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Lists and groups are written as JSON; what is none stays text, and the setting that takes none says so."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings among the environment's variables.  One that names none would otherwise do nothing, silently."""
    ours: dict[str, str] = {}
    for variable, text in environment.items():
        name = variable.upper()  # as Windows has it
        if not name.startswith(ENV_PREFIX) or name in (CONFIG_VARIABLE, *CLIENT_VARIABLES):
            continue
        path = name[len(ENV_PREFIX) :].lower().split("__")
        below = model_at(path[:-1], Settings)
        if below is None or path[-1] not in below.model_fields:
            raise SettingsError(
                f"the environment variable {variable} names no setting ({'.'.join(path)}){nearest(path, Settings)}"
            )
        ours[name] = text
    return _Environment(ours)()


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
    model = model_at(path[:-1], Settings)
    field = model.model_fields.get(path[-1]) if model else None
    return field is not None and field.annotation in (str, SecretStr, Path)


def first_run_config(settings: Settings) -> dict[str, Any]:
    """The configuration of the run that a new relay makes for itself, as plain values."""
    return settings.run.model_dump(mode="json", exclude={"name"})


def ignored_settings(settings: Settings, config: Mapping[str, Any]) -> list[str]:
    """Which ``run.…`` settings somebody has chosen that a run with this configuration does not have."""
    wanted = first_run_config(settings)
    chosen = {change.path for change in changes(first_run_config(Settings()), wanted)}
    return [f"run.{change.path}" for change in changes(config, wanted) if change.path in chosen]


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
