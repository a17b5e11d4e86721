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

GAME: tuple[Known, ...] = ()

KNOWN: tuple[Known, ...] = (*MACHINE, *GAME)
