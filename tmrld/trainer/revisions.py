"""The options that each revision of a run's configuration trains with, as far as this trainer has used them.

The journal names a revision where it took effect; a resume replays it from here, whatever the relay's configuration says by then.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tmrld.errors import Damaged
from tmrld.rl.options import AlgorithmOptions
from tmrld.storage import files
from tmrld.trainer.options import TrainingOptions

_KIND = "tmrld training options"


class Revisions:
    """A folder with a small file per revision.  Both methods raise StorageError when it cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, number: int, algorithm: AlgorithmOptions, training: TrainingOptions) -> None:
        """Write a revision, to be read after power loss."""
        files.make_folder(self._folder)
        options = {"algorithm": algorithm.model_dump(mode="json"), "training": training.model_dump(mode="json")}
        files.write_manifest(self._path(number), _KIND, 1, options)

    def read(self, number: int) -> tuple[AlgorithmOptions, TrainingOptions]:
        """What was kept.  Raises Damaged for what this version of the program cannot use."""
        path = self._path(number)
        try:
            options = files.read_manifest(path, _KIND, 1)
            return AlgorithmOptions.model_validate(options["algorithm"]), TrainingOptions.model_validate(options["training"])
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise Damaged(f"{path} does not hold the options of a revision: {error}") from error

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.json"
