from __future__ import annotations

from datetime import UTC, datetime

import pytest

from retract.errors import FeedError
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
    "tags": "Labels",
}
HEADER = "First Seen,Indicator,Kind,Verdict,Sure,Threat,Report,Until,Labels\n"


@pytest.fixture
def read_table(read):
    return lambda data, **settings: read("csv", data, **{"columns": COLUMNS, **settings})


def test_a_row_states_all_it_has_columns_for(read_table):
    row = (
        "2026-01-02T03:04:05Z,evil[.]example,Domain,SPAM,55,Winter,https://r.example/1,2026-03-01,"
        '"phish, kit,phish"'
    )

    listed = read_table(HEADER + row).listed[0]

    assert (listed.type, listed.value) == (ObservableType.DOMAIN, "evil.example")
    assert (listed.disposition, listed.confidence) == (Disposition.SPAM, 55)
    assert (listed.campaign, listed.reference) == ("Winter", "https://r.example/1")
    assert listed.first_seen == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert listed.expires_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert listed.tags == ("phish", "kit")


def test_empty_cells_leave_it_to_the_source(read_table):
    listed = read_table(HEADER + ",https://evil.example/x,,,,,,,").listed[0]

    assert listed.type == "url"
    assert listed.disposition is listed.confidence is listed.campaign is listed.expires_at is None
    assert listed.tags == ()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",n/a,url,,,,,,", "not a valid url"),
        (",,url,,,,,,x", "empty"),
        (",evil.example,banana,,,,,,", "unknown type 'banana'"),
        (",evil.example,domain,bad,,,,,", "unknown disposition 'bad'"),
        (",evil.example,domain,none,,,,,", "unknown disposition 'none'"),
        (",evil.example,domain,,101,,,,", "confidence '101'"),
        (",evil.example,domain,,high,,,,", "confidence 'high'"),
        (",evil.example,domain,,,,,soon,", "'soon' is not a time"),
        (",evil.example,domain", "3 fields where there are 9 columns"),
        (",https://evil.example/a,b,url,,,,,,", "10 fields where there are 9 columns"),
        (",https://evil.example/a,,b,,,,,,", "10 fields where there are 9 columns"),
        (',"evil.example" x,domain,,,,,,', "no CSV: "),
        (",evil.example,domain\r,,,,,,", "no CSV: "),
        (",https://evil.example/" + "a" * 200_000 + ",url,,,,,,", "no CSV: field larger than"),
        (",https://evil.example/" + "a" * 20_000 + ",url,,,,,,", "longer than 16384"),
    ],
)
def test_a_bad_row_is_rejected_alone(read_table, row, reason):
    good = ",good.example,domain,,,,,,\n"

    found = read_table(HEADER + good + row + "\n" + good.replace("good", "fine"))

    assert [listed.value for listed in found.listed] == ["good.example", "fine.example"]
    assert [rejected.where for rejected in found.rejected] == ["line 3"]
    assert reason in found.rejected[0].reason


def test_what_mail_does_not_show_is_left_out(read_table):
    found = read_table(HEADER + ",evil,Mutex,,,,,,\n,AS64496,asn,,,,,,\n,a.example,domain,,,,,,\n")

    assert [where for where, _ in found.left_out] == ["line 2", "line 3"]
    assert "'Mutex' is nothing that mail shows" in found.left_out[0].reason
    assert len(found.listed) == 1


def test_another_delimiter_quotes_and_comments(read_table):
    text = (
        '# made by hand, "never closed\nurl;note\n'
        '"https://evil.example/a;b";"two\n# lines, no comment"\n\n# end\n"#not.example/";\n'
    )

    found = read_table(text, columns={"value": "url"}, delimiter=";")

    assert found.values == [("url", "https://evil.example/a;b")]
    assert [where for where, _ in found.rejected] == ["line 7"]


def test_a_table_without_a_header_row(read_table):
    rows = "7,https://evil.example/\n8,https://b.example/x\n9,https://c.example/a,b\n"

    found = read_table(rows, columns={"value": "url"}, header=["id", "url"])

    assert [value for _, value in found.values] == ["https://evil.example/", "https://b.example/x"]
    assert found.rejected == [("line 3", "3 fields where there are 2 columns")]


def test_bytes_of_other_encodings_spoil_only_their_cell(read_table):
    row = b",https://evil.example/x,url,,,B\xe9zier,,,\n,https://b\xe9zier.example/,url,,,,,,\n"

    found = read_table(b"\xef\xbb\xbf" + HEADER.replace("\n", "\r\n").encode() + row)

    assert [value for _, value in found.values] == ["https://evil.example/x"]
    assert "not UTF-8" in found.rejected[0].reason


def test_a_table_in_utf_16_is_read(read_table):
    found = read_table((HEADER + ",evil.example,domain,,,,,,\r\n").encode("utf-16"))
    assert found.values == [("domain", "evil.example")]


@pytest.mark.parametrize("text", ["", "\n\n", HEADER, "# none\n" + HEADER])
def test_a_header_alone_lists_nothing(read_table, text):
    assert read_table(text) == ([], [], [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("url,date\nhttps://evil.example/,2026\n", "no column 'Indicator'.*header is 'url, date'"),
        ("<html><title>Sign in</title></html>", "HTML page"),
        ('[{"Indicator": "evil.example"}]', "is JSON, not CSV"),
        (HEADER + '1,"never closed\n2,3\n', "no CSV at line 2: a quotation mark there is never"),
        (HEADER + '1,"cut off', "no CSV at line 2: a quotation mark there is never closed"),
        (
            HEADER + ",a.example,,,,,,,\n,b.exa",
            "ends in the middle of line 3, 2 fields where there are 9",
        ),
        (HEADER + '1,"\n' + "2,3\n" * 100_000 + '"', "no CSV at line 2: a quotation mark"),
        ('"a" b,c\n', "no readable header at line 1"),
    ],
)
def test_what_is_no_such_table_is_an_error_that_says_what_to_do(read_table, text, problem):
    with pytest.raises(FeedError, match=problem):
        read_table(text)
