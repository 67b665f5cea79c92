"""Where the evaluation data lies; tests that use it skip where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(
    os.environ.get("RETRACT_SHARED_DATA", Path(__file__).parents[2] / "../shared/data")
)


@pytest.fixture(scope="session")
def real_mail() -> list[Path]:
    """Real phish, real ham and broken MIME messages."""
    files = sorted(
        path
        for folder in ("mail/phish", "mail/ham", "malformed")
        for path in (SHARED_DATA / folder).glob("*.eml")
    )
    if not files:
        pytest.skip(f"no evaluation data at {SHARED_DATA}")
    return files
