from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from retract.indicators.feeds import Format, Source
from retract.indicators.hold_back.rules import OWN_ADDRESS, OWN_DOMAIN
from retract.indicators.listed import Listed
from retract.indicators.snapshot import snapshot_of
from retract.model import Disposition
from retract.model import ObservableType as Type
from retract.reevaluation.own_domains import without_own

NOW = datetime(2026, 1, 31, tzinfo=UTC)
SOURCE = Source(
    name="list",
    format=Format.PLAIN_LIST,
    location="/nowhere",
    disposition=Disposition.MALICIOUS,
    confidence=80,
)


def indicators(*values: tuple[Type, str]) -> pl.DataFrame:
    return snapshot_of((Listed(*value) for value in values), SOURCE, NOW).rows


def reasons(rows: pl.DataFrame, *own: str) -> dict[str, str | None]:
    held = without_own(rows.lazy(), own).collect()
    assert held.drop("held_back").sort("value").equals(rows.drop("held_back").sort("value"))
    assert held.schema == rows.schema
    return dict(held.select("value", "held_back").iter_rows())


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Type.DOMAIN, "north.example", OWN_DOMAIN),
        (Type.DOMAIN, "intranet.north.example", OWN_DOMAIN),
        (Type.DOMAIN, "mail.south.example", OWN_DOMAIN),
        (Type.DOMAIN, "south.example", OWN_DOMAIN),
        (Type.DOMAIN, "xn--bcher-kva.example", OWN_DOMAIN),
        (Type.EMAIL_ADDRESS, "@north.example", OWN_DOMAIN),
        (Type.EMAIL_ADDRESS, "boss@north.example", OWN_ADDRESS),
        (Type.URL, "https://www.north.example/", OWN_DOMAIN),
        (Type.URL, "https://www.north.example/phish", None),
        (Type.DOMAIN, "other.south.example", None),
        (Type.DOMAIN, "north.example.evil.example", None),
        (Type.DOMAIN, "truenorth.example", None),
        (Type.EMAIL_ADDRESS, "north.example@evil.example", None),
        (Type.DISPLAY_NAME, "north.example", None),
    ],
)
def test_what_names_the_organisation_is_held_back(kind, value, reason):
    rows = indicators((kind, value), (Type.DOMAIN, "evil.example"))
    own = ("North.example", "mail.south.example", "b\u00fccher.example", "")
    assert reasons(rows, *own) == {value: reason, "evil.example": None}


def test_a_reason_that_is_there_stays():
    rows = indicators((Type.DOMAIN, "north.example")).with_columns(held_back=pl.lit("allow list"))
    assert reasons(rows, "north.example") == {"north.example": "allow list"}


def test_without_domains_nothing_is_held_back():
    rows = indicators((Type.DOMAIN, "north.example"))
    assert reasons(rows) == {"north.example": None}
    assert reasons(rows, "com", "no domain") == {"north.example": None}
