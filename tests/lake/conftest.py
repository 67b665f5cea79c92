"""A lake, and messages to put into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lake import contents

from retract.lake.store import Lake
from retract.model import CollectedMessage


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def message() -> Callable[..., CollectedMessage]:
    return contents.message
