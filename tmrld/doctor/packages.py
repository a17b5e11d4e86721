"""Python, the packages that a role needs, and the graphics card: what is there, and what it means."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from tmrld import __version__
from tmrld.doctor import importing
from tmrld.doctor.diagnosis import Diagnosis, note, ok, wrong
from tmrld.doctor.patient import Evidence, Patient
from tmrld.trainer.device import AUTO, Seen, choose

NVIDIA, AMD, INTEL = "NVIDIA", "AMD", "Intel"
_VENDORS = {"0x10de": NVIDIA, "0x1002": AMD, "0x8086": INTEL}
"""PCI's numbers of who makes graphics cards."""

CUDA_TORCH = "pip install torch --index-url https://download.pytorch.org/whl/cu126"
"""What pytorch.org tells people with an NVIDIA card to run: the torch that plain pip installs on Windows has no CUDA."""
ANOTHER_TORCH = f"`pip uninstall -y torch`, then `{CUDA_TORCH}`"


LIBRARIES = {
    "libGL": "libgl1",
    "libxcb": "libxcb1",
    "libgthread-2": "libglib2.0-0",
    "libSM": "libsm6",
    "libXext": "libxext6",
    "libXrender": "libxrender1",
    "libevdev": "libevdev2",
}
"""Libraries that a bare Linux lacks, and Debian's packages that have them."""


@dataclass(frozen=True)
class Wanted:
    """A package: what Python and pip call it, the extra of ours that brings it, and what it is for."""

    module: str
    distribution: str
    extra: str
    purpose: str


_WORKER = (
    Wanted("gymnasium", "gymnasium", "worker", "the environments"),
    Wanted("rtgym", "rtgym", "worker", "keeping real time"),
    Wanted("PIL", "pillow", "worker", "pictures"),
)
_TRAINER = (
    Wanted("torch", "torch", "trainer", "learning"),
    Wanted("numba", "numba", "trainer", "the compiled loops of learning"),
)
_GAME = (
    Wanted("mss", "mss", "game", "seeing the game's window"),
    Wanted("cv2", "opencv-python", "game", "scaling what is seen"),
    Wanted("vgamepad", "vgamepad", "game", "the virtual gamepad"),
)
_GAME_LINUX = (Wanted("Xlib", "python-xlib", "game", "finding the game's window"),)
_VIEW = (
    Wanted("av", "av", "view", "videos"),
    Wanted("pygame", "pygame-ce", "view", "windows of its own"),
)
EVERY = (*_WORKER, *_TRAINER, *_GAME, *_GAME_LINUX, *_VIEW)


class Package(Evidence):
    """``version`` is what pip knows ("" for nothing), ``error`` what importing it raised ("" for nothing)."""

    version: str
    missing: bool = False
    crashed: bool = False
    error: str = ""


class Torch(Evidence):
    """What the installed torch computes on; ``cuda_build`` and ``rocm_build`` are what it was built for ("" for neither)."""

    version: str
    cuda_build: str = ""
    rocm_build: str = ""
    cuda: bool = False
    devices: tuple[str, ...] = ()
    mps: bool = False
    threads: int = 1


class Software(Evidence):
    """Python, packages and graphics cards.  ``cards`` are "NVIDIA …", "AMD …" and so on; ``driver`` is what nvidia-smi says."""

    tmrld: str
    python: str
    bits: int
    system: str
    release: str
    executable: str
    packages: dict[str, Package]
    torch: Torch | None = None
    cards: tuple[str, ...] = ()
    nvidia_driver: str = ""


# Looking


def gather_software(patient: Patient) -> Software:
    """Import each package that the patient needs, in a process of its own, and look for graphics cards.  Takes some seconds."""
    wanted = wanted_by(patient)
    said = importing.ask([each.module for each in wanted])
    packages, torch = {}, None
    for each in wanted:
        answer = said[each.module]
        packages[each.module] = Package(
            version=importing.installed(each.distribution) or _other_build(each.distribution),
            missing=bool(answer.get("missing")),
            crashed=bool(answer.get("crashed")),
            error=str(answer.get("error", "")),
        )
        if "torch" in answer:
            with contextlib.suppress(ValidationError):
                torch = Torch.model_validate(answer["torch"])
    cards, driver = gather_cards() if patient.does("trainer") else ([], "")
    return Software(
        tmrld=__version__,
        python=platform.python_version(),
        bits=8 * struct.calcsize("P"),
        system=platform.system(),
        release=platform.release(),
        executable=sys.executable,
        packages=packages,
        torch=torch,
        cards=tuple(cards),
        nvidia_driver=driver,
    )


def wanted_by(patient: Patient, system: str = platform.system()) -> list[Wanted]:
    """The packages that this patient needs; videos and windows of our own are asked for by nobody's settings."""
    wanted: list[Wanted] = []
    if patient.does("worker"):
        wanted += _WORKER
    if patient.does("trainer"):
        wanted += _TRAINER
    if patient.game or patient.everything:
        wanted += (*_GAME, *(_GAME_LINUX if system == "Linux" else ()))
    if patient.everything:
        wanted += _VIEW
    return wanted


def _other_build(distribution: str) -> str:
    """The version of a build of the same package that goes by another name."""
    names = {"opencv-python": ("opencv-python-headless", "opencv-contrib-python"), "pygame-ce": ("pygame",)}
    return next((found for name in names.get(distribution, ()) if (found := importing.installed(name))), "")


def gather_cards() -> tuple[list[str], str]:
    """The graphics cards, as far as this system tells them, and the version of NVIDIA's driver ("" for none)."""
    cards, driver = _nvidia_cards()
    others = _windows_cards() if sys.platform == "win32" else _linux_cards(Path("/sys/class/drm"))
    return cards + [card for card in others if not (cards and card.startswith(NVIDIA))], driver


def _nvidia_cards() -> tuple[list[str], str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], ""
    command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - NVIDIA's own
    except (OSError, subprocess.SubprocessError):
        return [], ""
    return nvidia_rows(done.stdout) if done.returncode == 0 else ([], "")


def nvidia_rows(text: str) -> tuple[list[str], str]:
    """The cards and the driver in what nvidia-smi prints: ``NVIDIA GeForce RTX 3070, 551.23`` a line."""
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines() if "," in line]
    cards = [name if name.startswith(NVIDIA) else f"{NVIDIA} {name}" for name, *_ in rows]
    return cards, rows[0][1] if rows else ""


def _linux_cards(folder: Path) -> list[str]:
    """The vendors of the cards that Linux has drivers for."""
    found = []
    for file in sorted(folder.glob("card[0-9]*/device/vendor")):
        with contextlib.suppress(OSError):
            found.append(_VENDORS.get(file.read_text().strip(), ""))
    return [f"{vendor} graphics card" for vendor in dict.fromkeys(found) if vendor]


def _windows_cards() -> list[str]:
    """The names of the display adapters in Windows' registry.  Has not run on Windows yet."""
    if sys.platform != "win32":
        return []
    import winreg

    found = []
    path = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
    for number in range(16):
        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, f"{path}\\{number:04}") as key:
            name = str(winreg.QueryValueEx(key, "DriverDesc")[0])
            found.append(f"{AMD} {name}" if "radeon" in name.lower() and AMD not in name else name)
    return list(dict.fromkeys(found))


# Judging


def judge_software(patient: Patient, seen: Software) -> list[Diagnosis]:
    """Python and packages, then the graphics card."""
    return [*_judge_python(patient, seen), *_judge_packages(patient, seen), *_judge_torch(patient, seen)]


def _judge_python(patient: Patient, seen: Software) -> Iterator[Diagnosis]:
    text = f"Python {seen.python}, {seen.bits} bits, on {seen.system} {seen.release}, with tmrld {seen.tmrld}"
    if seen.bits != 64:
        yield wrong(
            "python",
            "Python",
            f"{text}: torch and others are made for 64 bits alone",
            "install Python's 64-bit version from python.org, and tmrld with it",
            code="python-32-bit",
        )
    else:
        yield ok("python", "Python", text)
    if patient.game and seen.system == "Linux" and "microsoft" in seen.release.lower():
        yield wrong(
            "python",
            "Windows",
            "this is Linux inside Windows (WSL), from where the game's window and gamepads cannot be reached",
            "install Python and tmrld in Windows itself, and run the worker there",
            code="in-wsl",
        )


def _judge_packages(patient: Patient, seen: Software) -> Iterator[Diagnosis]:
    good = []
    for each in EVERY:
        package = seen.packages.get(each.module)
        if package is None:
            continue
        if not package.error:
            good.append(f"{each.distribution} {package.version}".strip())
            continue
        diagnosis = broken(each, package, seen.system)
        asked = any(each in group for group in (_WORKER, _TRAINER, _GAME, _GAME_LINUX)) and _is_asked(each, patient)
        if asked:
            yield diagnosis
        else:
            yield note(diagnosis.area, diagnosis.check, diagnosis.text, diagnosis.mend, code=diagnosis.code)
    if good:
        yield ok("python", "packages", ", ".join(good))


def _is_asked(each: Wanted, patient: Patient) -> bool:
    """Whether the settings themselves ask for it, and not only whoever wants to know everything."""
    if each.extra == "game":
        return patient.game
    return each.extra in patient.roles


def broken(each: Wanted, package: Package, system: str) -> Diagnosis:
    """Why a package cannot be imported, and what helps."""
    name, error = each.distribution, package.error

    def told(code: str, text: str, mend: str) -> Diagnosis:
        return wrong("python", name, text, mend, code=code)

    if package.missing and not package.version:
        return told(
            "package-missing",
            f"{name} is not installed, and it is needed for {each.purpose}",
            f'pip install "tmrld[{each.extra}]"',
        )
    failed = f"{name} {package.version} cannot be imported: {error}"
    if re.search(
        r"compiled using NumPy|_ARRAY_API|numpy\.core|multiarray|numpy.*(ABI|dtype size)|Numpy is not available", error
    ):
        return told(
            "numpy-mismatch",
            f"{name} {package.version} was built for another numpy than the {_numpy()} that is installed: {error}",
            f"pip install --upgrade numpy {name}",
        )
    if found := re.search(r"\b(lib[\w+-]+)(\.so[.0-9]*): cannot open shared object", error):
        library = f"{found[1]}{found[2]}"
        mend = f"install the package of your system that has {library}"
        if found[1] in LIBRARIES:
            mend = f"on Debian and Ubuntu `sudo apt install {LIBRARIES[found[1]]}`"
        if each.module == "cv2":
            mend += "; without a display, `pip uninstall -y opencv-python` and `pip install opencv-python-headless`"
        return told("system-library-missing", f"{name} needs {library}, a library of the system that is not installed", mend)
    if "DLL load failed" in error or "WinError 126" in error or "WinError 1114" in error:
        return told(
            "windows-runtime-missing",
            f"{failed}; Windows finds a library that it needs nowhere",
            "install Microsoft's Visual C++ Redistributable, https://aka.ms/vs/17/release/vc_redist.x64.exe, and try again; on an N "
            "edition of Windows also its Media Feature Pack",
        )
    if each.module == "vgamepad" and re.search(r"VIGEM|ViGEm", error):
        return told(
            "gamepad-driver-missing",
            f"vgamepad finds no driver for virtual gamepads: {error}",
            "install ViGEmBus, https://github.com/nefarius/ViGEmBus/releases, and start Windows anew; or drive by keys: "
            'trackmania.controls = "keyboard"',
        )
    if package.crashed:
        return told(
            "package-crashes",
            f"importing {name} {package.version} ends the process: {error}",
            f"pip install --upgrade --force-reinstall {name}",
        )
    return told("package-broken", failed, f"pip install --force-reinstall {name}")


def _numpy() -> str:
    try:
        return importlib.metadata.version("numpy")
    except importlib.metadata.PackageNotFoundError:
        return "one"


def _judge_torch(patient: Patient, seen: Software) -> Iterator[Diagnosis]:
    torch = seen.torch
    if torch is None:
        return
    area, check = "graphics card", "device"
    nvidia = next((card for card in seen.cards if card.startswith(NVIDIA)), "")
    amd = next((card for card in seen.cards if AMD in card or "Radeon" in card), "")
    device = patient.device
    if device == AUTO:  # the trainer decides as this does
        device = choose(device, Seen(torch.devices if torch.cuda else (), torch.mps))
    wants = device.partition(":")[0]
    build = f"torch {torch.version}"
    if wants == "cuda" and torch.cuda:
        number = int(device.partition(":")[2] or 0)
        if number >= len(torch.devices):
            yield wrong(
                area,
                check,
                f"trainer.device is {patient.device}, and torch sees {len(torch.devices)} of them, counted from 0",
                f'set trainer.device = "cuda:{len(torch.devices) - 1}"',
                code="no-such-gpu",
            )
        else:
            yield ok(area, check, f"{build} computes on {torch.devices[number]}")
    elif wants == "cuda" and nvidia and not torch.cuda_build:
        yield wrong(
            area,
            check,
            f"there is a {nvidia}, but {build} was built without CUDA and cannot use it",
            ANOTHER_TORCH,
            code="torch-without-cuda",
        )
    elif wants == "cuda" and (nvidia or torch.cuda_build) and (nvidia or not amd):
        yield wrong(
            area,
            check,
            f"{build} was built for CUDA {torch.cuda_build}, but finds no card that it could use"
            + (f", though there is a {nvidia} with driver {seen.nvidia_driver}" if nvidia else ""),
            "install NVIDIA's newest driver and start the machine anew"
            if nvidia
            else 'set trainer.device = "cpu", or install the driver of the card if there is one',
            code="cuda-driver" if nvidia else "no-gpu",
        )
    elif wants == "cuda" and amd:
        yield wrong(
            area,
            check,
            f"{amd}: {build} cannot use it, and for Windows there is no torch that can (DirectML's is not supported)",
            'set trainer.device = "cpu", which is enough for the LIDAR; on Linux, install torch for ROCm as pytorch.org tells',
            code="amd-gpu",
        )
    elif wants == "cuda":
        yield wrong(
            area,
            check,
            f"trainer.device is {patient.device}, and this machine has no card for it",
            'set trainer.device = "cpu"',
            code="no-gpu",
        )
    elif wants == "mps" and not torch.mps:
        yield wrong(
            area,
            check,
            f"trainer.device is mps, which {build} does not have here: it takes an Apple chip, and macOS 14 or newer",
            'set trainer.device = "cpu"',
            code="mps-missing",
        )
    elif wants == "mps":
        yield ok(area, check, f"{build} computes on Apple's GPU")
    elif torch.cuda:
        yield note(
            area,
            check,
            f"{torch.devices[0] if torch.devices else 'a card'} is there, and the trainer computes on the processor",
            'for images set trainer.device = "auto"; small networks, as the LIDAR has, are no faster there',
            code="gpu-unused",
        )
    elif nvidia and not torch.cuda_build:
        yield note(
            area,
            check,
            f"there is a {nvidia}, but {build} was built without CUDA; the trainer computes on the processor, enough for the LIDAR",
            f'for images: {ANOTHER_TORCH}, and set trainer.device = "auto"',
            code="gpu-unused",
        )
    else:
        yield ok(area, check, f"{build} computes on the processor")
