"""What keeps people from driving: what they saw, and the code of the diagnosis that tells them why.

What players of TMRL asked about, mostly.  `Known.never` says instead why something cannot happen here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A trouble: what people see (``symptom``), and the ``codes`` of the diagnoses that explain it, or why it is ``never`` seen."""

    symptom: str
    codes: tuple[str, ...] = ()
    never: str = ""


# Of the machine and the network

MACHINE: tuple[Known, ...] = (
    Known(
        "training stops because the service that shows its curves answers 409, or cannot be reached",
        never="curves are kept by the relay and shown by its own page: there is no account and no service that could fail",
    ),
    Known(
        "the program does not start, because the folder TmrlData, or a resource in it, is missing",
        ("data-folder-unwritable", "data-folder-network", "data-folder-newer", "data-folder-damaged", "disk-full"),
    ),
    Known("another daemon uses the same data folder", ("data-folder-in-use",)),
    Known("collecting stops after some days, with no room left", ("disk-short", "disk-full")),
    Known("ModuleNotFoundError, for example for keyboard, after the installation", ("package-missing", "package-broken")),
    Known(
        "pywin32 cannot be imported, or its DLLs are not found",
        ("windows-runtime-missing",),
    ),
    Known(
        "pip wants Microsoft's C++ Build Tools",
        never="every package that is compiled comes ready from pip for Python 3.11 and newer, 64 bits",
    ),
    Known("a Python for which pip finds no torch", ("python-32-bit", "package-missing")),
    Known("torch, or another package, was built for another version of numpy", ("numpy-mismatch",)),
    Known("importing a package ends the program without a word", ("package-crashes",)),
    Known("ImportError: libGL.so.1, or libxcb, on a Linux without a desktop", ("system-library-missing",)),
    Known("the virtual gamepad's driver, ViGEmBus, is missing", ("gamepad-driver-missing",)),
    Known("the worker runs in WSL, and finds neither window nor gamepad", ("in-wsl",)),
    Known(
        "'Time-step timed out' again and again",
        ("late-steps", "uneven-steps", "cpu-busy", "few-cores", "on-battery", "timing-unmeasured"),
    ),
    Known("everything becomes slow, or the game ends, when training begins", ("memory-scarce", "memory-short", "cpu-busy")),
    Known("torch does not use the NVIDIA card", ("torch-without-cuda", "cuda-driver", "gpu-unused", "no-such-gpu", "no-gpu")),
    Known("an AMD card, or DirectML", ("amd-gpu",)),
    Known("a Mac's GPU is not used", ("mps-missing",)),
    Known("one config.json per machine, and a mistake in one of them", ("settings-invalid", "peers-invalid")),
    Known(
        "the worker or trainer does not connect: address, port, firewall, public IP",
        (
            "name-unknown",
            "relay-refused",
            "relay-timeout",
            "relay-unreachable",
            "not-tls",
            "not-a-relay",
            "relay-in-trouble",
            "port-in-use",
            "port-denied",
        ),
    ),
    Known("the password is wrong, or another role's", ("not-joined", "token-unknown", "token-for-another", "too-many-tries")),
    Known(
        "TLS: keys were not copied, or are those of another server",
        (
            "no-trust",
            "wrong-key",
            "certificate-untrusted",
            "certificate-name",
            "certificate-dates",
        ),
    ),
    Known("a network in which only a proxy leads out", ("proxy-password", "proxy-fails", "relay-timeout")),
    Known("machines with different versions", ("versions-differ", "protocol-mismatch", "relay-older")),
    Known("connected, but nothing happens", ("daemon-away", "slow-link", "clock-off")),
    Known("a doctor who hangs", ("examination-failed",)),
)

# Of the game, its window, the plugin and the controls

GAME: tuple[Known, ...] = (
    Known(
        "OpenPlanet stopped sending data since more than 10.0s (TMRL's issues 38, 117, 122 and 123)",
        (
            "plugin-silent",
            "plugin-held",
            "plugin-stops",
            "plugin-hangs-up",
            "plugin-unreachable",
            "plugin-no-host",
            "telemetry-zero",
            "telemetry-frozen",
        ),
    ),
    Known(
        "ConnectionRefusedError: no connection could be made to port 9000 (TMRL's issues 73 and 120)",
        (
            "plugin-port-closed",
            "game-not-running",
            "openplanet-missing",
            "plugin-missing",
            "plugin-damaged",
            "plugin-unsigned",
            "plugin-error",
            "plugin-port-taken",
            "plugin-port-differs",
        ),
    ),
    Known(
        "the plugin's numbers make no sense, or are those of another plugin",
        ("plugin-another-program", "plugin-nonsense", "plugin-twice", "plugin-old", "plugin-not-reloaded", "speed-unit"),
    ),
    Known(
        "replays are not saved: refused on port 10000, no Club access, an unsigned plugin (TMRL's issues 20, 105 and 109)",
        (
            "replay-port-closed",
            "replay-port-untried",
            "replay-plugin-missing",
            "replay-plugin-unsigned",
            "replay-refused",
        ),
    ),
    Known(
        "time-steps time out on a busy machine, or the game should draw 30 frames a second (TMRL's issues 4, 121 and 134)",
        ("capture-slow", "capture-too-slow", "telemetry-slow", "telemetry-too-slow"),
    ),
    Known(
        "on a new track the car is reset again and again (TMRL's issue 31)",
        ("track-elsewhere", "track-starts-elsewhere", "track-missing", "track-on-shelf", "race-finished", "finish-stays"),
    ),
    Known("a recording of two points, with which nothing is learned (TMRL's issue 91)", ("track-short", "track-unreadable")),
    Known(
        "the game's window gets another size by itself (TMRL's issue 91), or does not take it",
        ("window-keeps-size", "window-screen-too-small", "window-off-screen", "picture-size"),
    ),
    Known(
        "with Windows' scaling of the display, a wrong part of the screen is seen (TMRL's pull request 76)", ("window-scaled",)
    ),
    Known(
        "VIGEM_ERROR_BUS_NOT_FOUND, or no gamepad connects (TMRL's issue 52; vgamepad's 4, 10, 14, 23 and 43)",
        ("gamepad-driver-missing", "gamepad-package-missing", "gamepad-broken", "controls-failed"),
    ),
    Known("vgamepad in Proton or Wine (vgamepad's issue 27)", ("gamepad-in-wine",)),
    Known(
        "vgamepad on Linux: libevdev, or /dev/uinput, is missing or forbidden (vgamepad's pull request 18)",
        ("gamepad-libevdev-missing", "gamepad-uinput-missing", "gamepad-uinput-forbidden"),
    ),
    Known(
        "the car does not drive by itself, and is only reset (TMRL's issue 70)",
        (
            "controls-unheard",
            "controls-not-in-front",
            "controls-taken-over",
            "car-stands",
            "reset-unheard",
            "window-behind",
            "game-is-admin",
            "keys-not-pressed",
            "keys-no-xtest",
        ),
    ),
    Known(
        "NoneType in the LIDAR's check on Linux: there is no window of that title (TMRL's issue 90)",
        ("window-missing", "window-another-title", "window-hidden", "window-several", "window-gone"),
    ),
    Known(
        "a worker without a screen, under Xvfb, VNC, Lutris or Wine (TMRL's pull request 57)",
        ("display-missing", "display-unusable", "session-wayland"),
    ),
    Known(
        "the screenshots are black, old, or of something else than the game",
        ("picture-missing", "picture-black", "picture-plain", "picture-frozen", "window-covered"),
    ),
    Known(
        "the LIDAR's beams end at once, or never: another camera, or another kind of road",
        ("lidar-blocked", "lidar-blocked-ahead", "lidar-no-borders", "lidar-lopsided"),
    ),
    Known(
        "the car stands still since the reward was divided by 100 (TMRL's issue 21)",
        never="the reward is 1 for 10 m, networks and temperature are tuned to that, and the page shows each of its terms",
    ),
    Known("the doctor himself fails, or the simulator does", ("look-failed", "sim-fails", "sim-lidar-differs")),
)

KNOWN: tuple[Known, ...] = (*MACHINE, *GAME)
