"""What is wrong with values, said so that people can mend them: the key, the value, what was expected, the nearest key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

REASONS = {
    "model_type": "it is a group of settings",
    "tuple_type": 'input should be a list, such as ["a", "b"] or [1, 2]',
}
"""What pydantic says in other words, by its name for the error."""
COMBINATION = "combination"
"""The name of an error of a group whose settings do not go together."""


@dataclass(frozen=True)
class FieldProblem:
    """One setting that cannot be used: its dotted key, what was expected, what was given, and all of that as a sentence."""

    path: str
    message: str
    value: Any
    sentence: str


def forbidden(key: str, value: Any, reason: str) -> PydanticCustomError:
    """What a group's validator raises to blame one setting below it, for what it is together with others."""
    return PydanticCustomError(COMBINATION, "{reason}", {"key": key, "value": value, "reason": reason})


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """All that is wrong, a sentence each."""
    return "; ".join(problem.sentence for problem in problems(error, model))


def problems(error: ValidationError, model: type[BaseModel], elsewhere: Mapping[str, str] | None = None) -> list[FieldProblem]:
    """All that is wrong, setting by setting; no value of a secret, or of a group that may hold one, is shown.

    ``elsewhere`` says of names that are known, but not as settings here, what they are instead.
    """
    found: dict[str, FieldProblem] = {}
    for problem in error.errors(include_url=False):
        parts, given = _key(problem["loc"], model), problem["input"]
        if problem["type"] == COMBINATION:
            parts, given = [*parts, *problem["ctx"]["key"].split(".")], problem["ctx"]["value"]
        path = ".".join(parts)
        if problem["type"] == "extra_forbidden":
            hint = (elsewhere or {}).get(parts[0]) or nearest(parts, model)
            found[path] = FieldProblem(path, f"this is not a setting{hint}", None, f"{path} is not a setting{hint}")
            continue
        reason = REASONS.get(problem["type"]) or _lower(problem["msg"].removeprefix("Value error, "))
        if path in found:  # one for each type that the setting may have
            reason = f"{found[path].message}, or {reason}"
        shown = _shown(parts, given, model)
        value = None if _may_hold_secret(parts, model) else given
        found[path] = FieldProblem(path, reason, value, f"{path} = {shown} cannot be used: {reason}")
    return list(found.values())


def _key(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The setting that an error is about: without pydantic's names for the types that it tried."""
    path: list[str] = []
    for part in location:
        if path and model_at(path, model) is None:
            return [*path, *(str(index) for index in location[len(path) :] if isinstance(index, int))]
        path.append(str(part))
    return path


def nearest(path: list[str], model: type[BaseModel]) -> str:
    """What to write instead of a path that does not exist: a key of nearly that name there, or of that very name elsewhere."""
    known = next(n for n in range(len(path) - 1, -1, -1) if model_at(path[:n], model))
    group, wrong = model_at(path[:known], model), path[known]
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
        below = model_at([name], model)
        if below is not None:
            yield from (f"{name}.{key}" for key in keys_of(below))


def model_at(path: list[str], model: type[BaseModel]) -> type[BaseModel] | None:
    """The group at this path below a model; None where there is none, or a setting."""
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
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _may_hold_secret(path: list[str], model: type[BaseModel]) -> bool:
    """Whether it is a secret or a group; a path may end inside a setting that is a list."""
    for depth, name in enumerate(path):
        above = model_at(path[:depth], model)
        field = above.model_fields.get(name) if above else None
        if field is not None and model_at(path[: depth + 1], model) is None:
            return field.annotation is SecretStr
    return True


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
