"""One way to do a thing, in a process of its own, so that time and peak memory are its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Figures(NamedTuple):
    """What one way took, and what it came to."""

    seconds: float
    peak: float
    """Of memory, in MB."""
    count: int


def child(*arguments: str) -> str:
    """What this benchmark prints when it is started with these arguments. Ends when that fails."""
    command = [sys.executable, sys.argv[0], *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def figures_of(*arguments: str) -> Figures:
    """What `measured` printed in a `child` with these arguments."""
    return Figures(*json.loads(child(*arguments)))


def measured(way: Callable[[], int]) -> str:
    """Do it in this process; its figures as JSON, for `figures_of`."""
    began = time.perf_counter()
    count = way()
    return json.dumps(Figures(time.perf_counter() - began, peak(), count))


def peak() -> float:
    """This process's peak memory in MB. Not getrusage: its peak outlives exec on Linux."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
