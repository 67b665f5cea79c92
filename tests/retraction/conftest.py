"""A ledger file, and a clock one can turn."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for fake_provider and words

from fake_provider import FakeProvider
from words import TurnableClock

from retract.retraction.ledger import Ledger


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture
def provider(clock: TurnableClock) -> FakeProvider:
    return FakeProvider(clock)


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger(ledger_url) as ledger:
        ledger.migrate()
        yield ledger
