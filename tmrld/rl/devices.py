"""What differs between the devices that tensors live on: the one place that knows."""

from __future__ import annotations

import torch


def widest_float(device: torch.device) -> torch.dtype:
    """The widest float of a device: float64, but on Apple's GPU (mps) float32."""
    return torch.float32 if device.type == "mps" else torch.float64
