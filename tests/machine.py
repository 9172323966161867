"""What machine this is and how fast it is, for the benchmark."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch


def speed(run: Callable[[], int]) -> float:
    """Windows per second of a call that returns how many it did."""
    _synchronise()
    started = time.perf_counter()
    count = run()
    _synchronise()
    return count / (time.perf_counter() - started)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """GFLOP/s of the machine's own product of matrices, of the shapes of a feed-forward layer."""
    a = torch.randn(4096, 256, device=device).to(dtype)
    b = torch.randn(256, 512, device=device).to(dtype)

    def product() -> int:
        a @ b
        return 1

    speed(product)
    return max(speed(product) for _ in range(10)) * 2 * 4096 * 256 * 512 / 1e9


def processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return f"{', '.join(names) or platform.processor()}, {os.cpu_count()} cores"
