"""What lies on this machine's own shelf, for commands and programs that ask no relay."""

from __future__ import annotations

from tmrld.envs.options import LIDAR_ID, OURS, EnvironmentOptions, names_a_file
from tmrld.envs.trackmania.tracks import name_of
from tmrld.errors import NotFound, WorldError
from tmrld.fetching import FetchedFiles
from tmrld.protocol.messages import FileMessage
from tmrld.settings import Settings
from tmrld.storage.layout import Layout
from tmrld.storage.shelf import Item, Shelf

BUNDLED = "bundled"
"""Stands for the weights that tmrld brings."""


def shelf_of(settings: Settings) -> Shelf:
    """The shelf in the data folder of these settings: a daemon of this machine has the same one."""
    return Shelf(_layout(settings).shelf)


def placed(environment: EnvironmentOptions, settings: Settings) -> EnvironmentOptions:
    """The same environment, with the file of the track where ``environment`` names one of the game that is on the shelf.

    As for a worker, the file lies in a folder of its own under the track's name.  Raises StorageError, and WorldError for a track of
    the game that the simulator is asked to drive.
    """
    track = environment.track
    if environment.id not in OURS or names_a_file(track):
        return environment
    if environment.game != "trackmania":
        _check_simulated(track, shelf_of(settings))
        return environment
    try:
        item, data = shelf_of(settings).load("tracks", track)
    except NotFound:  # whoever makes the environment says what a track can be
        return environment
    return environment.model_copy(update={"track": _laid_out(item, data, settings)})


def _check_simulated(track: str, shelf: Shelf) -> None:
    """Whoever makes the environment says which tracks the simulator has; not that this one is of the game."""
    from tmrld.envs.sim.tracks import check

    try:
        check(track)
    except WorldError:
        if any(item.name == track for item in shelf.items("tracks")):
            raise WorldError(
                f"{track!r} on this machine's shelf is the line of a map of TrackMania, and the simulator has no road for it: to "
                "drive it in the game, add --game trackmania"
            ) from None


def weights_file(name: str, environment: EnvironmentOptions, settings: Settings) -> str:
    """The file of weights on the shelf; "bundled" are those that tmrld brings for this environment.

    Raises NotFound and StorageError.
    """
    if name == BUNDLED:
        name = bundled_for(environment, name_of(environment.track))
    item, data = shelf_of(settings).load("weights", name)
    return _laid_out(item, data, settings)


def bundled_for(environment: EnvironmentOptions, track: str) -> str:
    """The name of the weights that tmrld brings for this environment on this track."""
    known = environment.id == LIDAR_ID and environment.game == "sim" and track == "default"
    return "bundled-default" if known else "bundled-random-tracks"


def _laid_out(item: Item, data: bytes, settings: Settings) -> str:
    """A path whose last part is the name of the item, as a worker has it."""
    files = FetchedFiles(_layout(settings).own_files)
    files.keep(FileMessage(item.kind, item.name, item.sha256, data))
    return files.paths([[item.kind, item.name, item.sha256, item.size_bytes]])[f"{item.kind}/{item.name}"]


def _layout(settings: Settings) -> Layout:
    return Layout(settings.data.expanduser().absolute())
