"""Who is examined: what the settings ask of this machine, and so what the doctor looks at and what it leaves alone."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tmrld.envs.options import OURS, EnvironmentOptions
from tmrld.settings import Role, Settings

ALL_ROLES: tuple[Role, ...] = ("relay", "trainer", "worker")


class Evidence(BaseModel):
    """Base of what was seen: plain values alone, which are checked when they come from a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Patient(Evidence):
    """What these settings ask for.

    ``roles`` are those of `tmrld up` where the settings name none; ``game`` says that TrackMania itself is driven, ``realtime``
    that the wall clock sets the pace; ``everything`` that also what is not asked for is looked at.
    """

    roles: tuple[Role, ...]
    unset_roles: bool
    game: bool
    realtime: bool
    time_step_s: float
    device: str
    everything: bool
    settings_file: str = ""
    settings_error: str = ""

    def does(self, *roles: Role) -> bool:
        """Whether it has one of these roles, or everything is looked at."""
        return self.everything or bool(set(roles) & set(self.roles))


def patient_of(
    settings: Settings,
    environment: EnvironmentOptions,
    *,
    everything: bool = False,
    settings_file: str = "",
    settings_error: str = "",
) -> Patient:
    """The patient with these settings; ``environment`` is what a worker here drives, which may be a run's at its relay."""
    return Patient(
        roles=settings.roles or ALL_ROLES,
        unset_roles=not settings.roles,
        game=environment.game == "trackmania" and environment.id in OURS,
        realtime=environment.clock == "realtime",
        time_step_s=environment.time_step_s,
        device=settings.trainer.device,
        everything=everything,
        settings_file=settings_file,
        settings_error=settings_error,
    )
