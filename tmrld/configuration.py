"""The configuration of a run: its shape, what is wrong with one, how two differ, and what that means for a run under way.

A relay keeps it in numbered revisions and sends it to the nodes that work for the run.  Plain values everywhere, but in `RunConfig`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema

from tmrld.applies import KEY, Applies
from tmrld.envs.options import OURS, EnvironmentOptions, names_a_file
from tmrld.errors import SettingsError
from tmrld.rl.options import AlgorithmOptions, NetworkOptions, ReplayOptions
from tmrld.trainer.options import TrainingOptions
from tmrld.validation import FieldProblem, forbidden, problems
from tmrld.worker.options import CollectionOptions, EvaluationOptions

WORKER_GROUPS = ("environment", "collection", "evaluation")
"""What a worker's engine is made from."""
TRAINER_GROUPS = ("algorithm", "network", "replay", "training")
"""What a trainer's engine is made from."""
REFERRING = ("environment", "collection", "training", "replay")
"""Groups with fields that name files on the relay's shelf."""

DAEMON_SETTINGS = ("roles", "data", "log_level", "log_bytes", "peers", "relay", "control", "worker", "trainer")
"""Settings of a daemon that somebody may take for a run's."""

Plain = dict[str, Any]


_OF_A_DAEMON = (
    " of a run, but one of a daemon: write it into the tmrld.toml of the machine that it is for, or give it there to `tmrld up` or "
    "`tmrld serve` with --set"
)


class RunConfig(BaseModel):
    """What is driven, and how it is learned, collected and evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: EnvironmentOptions = Field(EnvironmentOptions(), description="What is driven.")
    algorithm: AlgorithmOptions = Field(AlgorithmOptions(), description="How the policy is improved.")
    network: NetworkOptions = Field(NetworkOptions(), description="The shape of policy and critics.")
    replay: ReplayOptions = Field(ReplayOptions(), description="The replay memory.")
    training: TrainingOptions = Field(TrainingOptions(), description="Pace and intervals of training.")
    collection: CollectionOptions = Field(CollectionOptions(), description="How samples are collected.")
    evaluation: EvaluationOptions = Field(EvaluationOptions(), description="From where evaluation episodes start.")

    @model_validator(mode="after")
    def _gives_windows(self) -> Self:
        """A policy that remembers learns from windows of episodes, which are drawn alike."""
        if self.replay.prioritised and self.network.gru:
            raise forbidden(
                "replay.prioritised",
                True,
                f"policies that remember (network.gru = {self.network.gru}) learn from windows of episodes, which are all drawn "
                "alike: set it to false, or network.gru to 0",
            )
        return self

    @model_validator(mode="after")
    def _holds_a_chunk(self) -> Self:
        """The replay memory takes whole chunks."""
        capacity, steps = self.replay.capacity, self.collection.chunk_steps
        if capacity < steps:
            raise forbidden(
                "replay.capacity",
                capacity,
                f"chunks of up to {steps} steps (collection.chunk_steps) enter the replay memory as a whole: set it to {steps} or "
                f"more, or collection.chunk_steps to {capacity} or less",
            )
        return self


class InvalidConfig(SettingsError):
    """A configuration that cannot be used; ``problems`` has every field that is wrong."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(problem.sentence for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Change:
    """A field that has one value before and another after; ``applies`` is how that reaches a run under way."""

    path: str
    before: Any
    after: Any
    applies: Applies


@dataclass(frozen=True)
class Reference:
    """A field that names a file on the relay's shelf; ``kind`` is one of those of `storage.shelf`."""

    path: str
    kind: str
    name: str


def run_config(plain: Mapping[str, Any]) -> RunConfig:
    """A run's configuration from plain values.  Raises InvalidConfig that names each field."""
    try:
        return RunConfig.model_validate(dict(plain))
    except ValidationError as error:
        raise InvalidConfig(problems(error, RunConfig, dict.fromkeys(DAEMON_SETTINGS, _OF_A_DAEMON))) from None


def checked(plain: Mapping[str, Any]) -> Plain:
    """The same as JSON-able values, with every default.  Raises InvalidConfig."""
    return run_config(plain).model_dump(mode="json")


def patched(plain: Mapping[str, Any], patch: Mapping[str, Any]) -> Plain:
    """``plain`` after a merge patch (RFC 7396): null removes a key, which for a configuration means its default."""
    result = dict(plain)
    for key, value in patch.items():
        below = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = patched(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every field in which two configurations differ, in the order of the groups.

    A field that one of them lacks, because it was stored before there was such a field, has its default there.
    """
    return list(_changes(RunConfig, "", before, after))


def need_restart(found: Collection[Change], groups: Collection[str]) -> bool:
    """Whether an engine that is made from these groups has to start anew."""
    return any(change.applies != "live" and change.path.split(".")[0] in groups for change in found)


def references(config: Mapping[str, Any], role: str = "") -> list[Reference]:
    """The fields of a checked configuration that name files on the shelf; with ``role`` those that a worker or trainer needs."""
    environment, collection, training, replay = (config.get(group) or {} for group in REFERRING)
    found = []
    if role in ("", "worker"):
        track = environment.get("track", "")
        if environment.get("id") in OURS and environment.get("game") == "trackmania" and not names_a_file(track):
            found.append(Reference("environment.track", "tracks", track))
        found.append(Reference("collection.policy", "weights", collection.get("policy", "")))
    if role in ("", "trainer"):
        found.append(Reference("training.start_from", "weights", training.get("start_from", "")))
        found += [Reference("replay.demonstrations", "demonstrations", name) for name in replay.get("demonstrations", ())]
    return [each for each in found if each.name]


def _changes(model: type[BaseModel], prefix: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    default = model().model_dump(mode="json")
    for name, field in model.model_fields.items():
        old, new = (plain.get(name, default[name]) for plain in (before, after))
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            yield from _changes(group, f"{prefix}{name}.", old or {}, new or {})
        elif old != new:
            extra = cast(dict[str, Any], field.json_schema_extra)
            yield Change(f"{prefix}{name}", old, new, extra[KEY])


# The schema


class _Titles(GenerateJsonSchema):
    """Titles are the names in plain words: ``learning_rate_actor`` → Learning rate actor."""

    def get_title_from_name(self, name: str) -> str:
        return _in_words(name)


def schema() -> Plain:
    """The JSON Schema of a run's configuration, groups in place; ``x-applies`` and ``x-unit`` as in `tmrld.applies`."""
    whole = RunConfig.model_json_schema(schema_generator=_Titles)
    definitions: Plain = whole.pop("$defs")
    found = _inlined(whole, definitions)
    return {"$schema": GenerateJsonSchema.schema_dialect, **found, "title": "Configuration of a run"}


def _inlined(part: Plain, definitions: Plain) -> Plain:
    """This schema with every group that it refers to written out."""
    if "$ref" in part:
        part = {**definitions[part["$ref"].rpartition("/")[2]], **{key: part[key] for key in part if key != "$ref"}}
    if "properties" not in part:
        return part
    members = {name: _inlined(below, definitions) for name, below in part["properties"].items()}
    for name, member in members.items():
        if "properties" in member:
            member["title"] = _in_words(name)
    return {**part, "properties": members}


def _in_words(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
