from __future__ import annotations

from datetime import UTC, datetime

import pytest

from retract.errors import FeedError
from retract.indicators.formats import csv_table
from retract.model import Disposition, ObservableType

COLUMNS = {
    "value": "Indicator",
    "type": "Kind",
    "disposition": "Verdict",
    "confidence": "Sure",
    "campaign": "Threat",
    "reference": "Report",
    "first_seen": "First Seen",
    "expires_at": "Until",
}
HEADER = "First Seen,Indicator,Kind,Verdict,Sure,Threat,Report,Until\n"


@pytest.fixture
def table(source):
    return source(format="csv", columns=COLUMNS)


def parse(text, table):
    return csv_table.parse(text.encode(), table)


def test_a_row_states_all_it_has_columns_for(table):
    row = "2026-01-02T03:04:05Z,evil[.]example,Domain,SPAM,55,Winter,https://r.example/1,2026-03-01"

    listed = parse(HEADER + row, table).indicators[0]

    assert (listed.type, listed.value) == (ObservableType.DOMAIN, "evil.example")
    assert (listed.disposition, listed.confidence) == (Disposition.SPAM, 55)
    assert (listed.campaign, listed.reference) == ("Winter", "https://r.example/1")
    assert listed.first_seen == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert listed.expires_at == datetime(2026, 3, 1, tzinfo=UTC)


def test_empty_cells_leave_it_to_the_source(table):
    listed = parse(HEADER + ",https://evil.example/x,,,,,,", table).indicators[0]

    assert listed.type == "url"
    assert listed.disposition is listed.confidence is listed.campaign is listed.expires_at is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",n/a,url,,,,,", "not a valid url"),
        (",evil.example,hostname,,,,,", "unknown type 'hostname'"),
        (",evil.example,domain,bad,,,,", "unknown disposition 'bad'"),
        (",evil.example,domain,none,,,,", "unknown disposition 'none'"),
        (",evil.example,domain,,101,,,", "confidence '101'"),
        (",evil.example,domain,,high,,,", "confidence 'high'"),
        (",evil.example,domain,,,,,soon", "'soon' is not a time"),
        (",evil.example,domain", "3 fields where there are 8 columns"),
    ],
)
def test_a_bad_row_is_rejected_alone(table, row, reason):
    good = ",good.example,domain,,,,,\n"

    parsed = parse(HEADER + good + row + "\n" + good.replace("good", "fine"), table)

    assert [listed.value for listed in parsed.indicators] == ["good.example", "fine.example"]
    assert [rejected.where for rejected in parsed.rejected] == ["line 3"]
    assert reason in parsed.rejected[0].reason


def test_another_delimiter_quotes_and_comments(source):
    table = source(format="csv", columns={"value": "url"}, delimiter=";")
    text = '# made by hand\nurl;note\n"https://evil.example/a;b";"two\nlines"\n\n# end\n'

    parsed = parse(text, table)

    assert [listed.value for listed in parsed.indicators] == ["https://evil.example/a;b"]


def test_a_table_without_a_header_row(source):
    table = source(format="csv", columns={"value": "url"}, header=["id", "url"])
    assert parse("7,https://evil.example/\n", table).indicators[0].type == "url"


def test_a_header_alone_lists_nothing(table):
    parsed = parse(HEADER, table)
    assert parsed.indicators == parsed.rejected == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("url,date\nhttps://evil.example/,2026\n", "no column 'Indicator'.*header is 'url, date'"),
        ("<html><title>Sign in</title></html>", "HTML page"),
        (HEADER + '1,"never closed\n2,3\n', "is no CSV at line"),
        (HEADER + ",x\n,y\n", "2 unusable entries and 0 indicators"),
    ],
)
def test_what_is_no_such_table_is_an_error_that_says_what_to_do(table, text, problem):
    with pytest.raises(FeedError, match=problem):
        parse(text, table)
