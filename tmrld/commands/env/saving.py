"""Keeping what `tmrld env run --save` has driven, as demonstrations on this machine's shelf."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tmrld.commands.flags import load_settings
from tmrld.errors import Conflict
from tmrld.local import shelf_of
from tmrld.storage.shelf import MAX_BYTES, check_name

if TYPE_CHECKING:
    from tmrld.worker.driving import Drive, Recording


class Saving:
    """Made before anything is driven: raises BadInput or Conflict for a name that cannot be."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._name: str = options.save
        self._replace: bool = options.force
        settings = load_settings(options)
        self._track: str = options.track or settings.run.environment.track
        self._shelf = shelf_of(settings)
        check_name("demonstrations", self._name)
        if not self._replace and any(item.name == self._name for item in self._shelf.items("demonstrations")):
            raise Conflict(
                f"there are demonstrations {self._name!r} on the shelf already: choose another name, or replace them with --force"
            )

    def save(self, done: Sequence[Drive]) -> list[dict[str, Any]]:
        """Keep whole episodes, and say so; one that a person took over is none of the driver's.

        More than a file can hold become several, called NAME, NAME-2, NAME-3 …  Returns name and facts of each.
        """
        from tmrld import shelving

        whole = [drive.recording for drive in done if drive.recording is not None and not drive.taken_over]
        if not whole:
            print(f"no episode was driven to its end: nothing was saved as {self._name!r}", flush=True)
            return []
        saved = []
        for name, data in zip(self._names(), self._files(whole), strict=False):
            about = shelving.about("demonstrations", data)
            self._shelf.put("demonstrations", name, data, about, replace=self._replace)
            episodes = f"{about['episodes']} episode{'s' * (about['episodes'] != 1)}"
            print(f"{about['transitions']:,} transitions of {episodes} are on this machine's shelf as {name!r}.")
            saved.append({"name": name, **about})
        names = ", ".join(f'"{each["name"]}"' for each in saved)
        print(
            f"A run learns from them with replay.demonstrations = [{names}]; `tmrld demonstration upload {self._name}` copies them "
            "to a relay on another machine.",
            flush=True,
        )
        return saved

    def _names(self) -> Iterator[str]:
        """NAME, unless somebody has taken it meanwhile, and more that are free."""
        taken = {item.name for item in self._shelf.items("demonstrations")}
        if self._replace or self._name not in taken:
            yield self._name
        yield from (name for number in itertools.count(2) if (name := f"{self._name}-{number}") not in taken)

    def _files(self, recordings: Sequence[Recording]) -> Iterator[bytes]:
        """All of them in one file, or in as many as it takes."""
        from tmrld.envs.trackmania.tracks import name_of
        from tmrld.protocol.demonstrations import MAX_RAW_BYTES, pack

        chunks = [chunk for recording in recordings for chunk in recording.chunks]
        raw_bytes = sum(column.nbytes for chunk in chunks for column in chunk.columns.values())
        half = len(recordings) // 2
        if raw_bytes < MAX_RAW_BYTES * 0.9 or not half:
            data = pack(self._name, name_of(self._track), recordings[0].spec, chunks)
            if len(data) <= MAX_BYTES["demonstrations"] or not half:
                yield data
                return
        yield from self._files(recordings[:half])
        yield from self._files(recordings[half:])
