"""Pictures as files: one as PNG, many as an MP4 that every browser plays (H.264, 4:2:0).

FFmpeg's libraries come with PyAV, in the extra ``view``; nothing else has to be installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tmrld.errors import EngineError
from tmrld.payloads import Array
from tmrld.storage.files import explaining, replace_file

if TYPE_CHECKING:
    from av.video.stream import VideoStream

CODEC: Final = "libx264"
QUALITY = {"crf": "21", "preset": "veryfast"}
"""x264's: constant quality (lower is better; 18 cannot be told from the original), and how hard it tries to be small."""


def write_png(path: Path, picture: Array) -> None:
    """Write an RGB picture (height, width, 3) of uint8.  Raises StorageError."""
    from PIL import Image

    with _replaced(path) as partial:
        Image.fromarray(picture).save(partial, "PNG", optimize=True)


def check_codec() -> None:
    """Raise where no video can be made: ModuleNotFoundError without PyAV, EngineError with advice where it does not work."""
    try:
        import av
    except ModuleNotFoundError:
        raise
    except (ImportError, OSError) as error:
        raise EngineError(
            f"PyAV is installed but cannot be loaded ({error}): run `pip install --force-reinstall av`, or write a .png"
        ) from error
    try:
        av.codec.Codec(CODEC, "w")
    except ValueError as error:
        raise EngineError(
            f"this build of PyAV {av.__version__} has no encoder {CODEC}: `pip install --force-reinstall --only-binary av av` "
            "brings one, or write a .png"
        ) from error


def write_mp4(path: Path, frames: Iterable[Array], step_s: float) -> int:
    """Write RGB frames (height, width, 3) of uint8 and one even size; each is shown for ``step_s`` seconds.

    Returns how many there were; at least one is needed.  What is at ``path`` is replaced at the end, or stays as it is.
    Raises StorageError, and what `check_codec` raises.
    """
    check_codec()
    import av

    count = 0
    with _replaced(path) as partial, av.open(partial, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: VideoStream | None = None
        for frame in frames:
            if stream is None:
                rate = Fraction(1 / step_s).limit_denominator(1000)
                stream = container.add_stream(CODEC, rate=rate, options=QUALITY)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A path to write to, in the same folder, that takes the place of ``path`` if all goes well and is removed if not."""
    partial = path.with_name(f".{path.name}.part")
    with explaining("write", path):
        try:
            yield partial
            replace_file(partial, path)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
