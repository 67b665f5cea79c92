"""A ledger, and a clock one can turn.

Ledgers are SQLite files. With TEST_POSTGRES_URL naming an empty database that may be wiped
(postgresql+psycopg2://…; the driver is not among the requirements), every test that uses one
runs on PostgreSQL too.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

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


POSTGRES = os.environ.get("TEST_POSTGRES_URL")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture(params=["sqlite", "postgresql"] if POSTGRES else ["sqlite"])
def ledger_url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    if request.param == "sqlite" or not POSTGRES:
        return sqlite_url
    engine = sa.create_engine(POSTGRES, poolclass=sa.NullPool)
    with engine.begin() as db:
        db.exec_driver_sql("DROP SCHEMA public CASCADE")
        db.exec_driver_sql("CREATE SCHEMA public")
    return POSTGRES


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger(ledger_url) as ledger:
        ledger.migrate()
        yield ledger
