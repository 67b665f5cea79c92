"""What figures depend on besides the program: the machine, and the versions of what they use."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version


def described(packages: Iterable[str]) -> str:
    """One line for a benchmark to begin with: cores, memory, load, versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    used = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {used}"
    )
