"""Peak memory of a trial."""

from __future__ import annotations

from pathlib import Path

import torch

MIB = 2**20


class PeakMemory:
    """The most memory that this process has had since `reset`: the GPU's that was allocated, or else resident.

    Args:
        device: where it trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reset(self) -> None:
        """Forgets what earlier trials of this process took."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _RESET.exists():
            # Asks Linux to begin the peak anew; see proc(5).
            _RESET.write_text("5")

    def mib(self) -> float | None:
        """The peak in MiB; None where it cannot be told."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / MIB
        if not _STATUS.exists():
            return None
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024


_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
