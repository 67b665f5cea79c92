"""Who is believed: headers of the receiving system, and nobody else's."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from retract.model import Disposition
from retract.observables.delivery import TrustedHeaders
from retract.observables.mime import extract

FOREFRONT = TrustedHeaders(forefront=True)
GOOGLE = TrustedHeaders(authserv_ids=("mx.google.com",))


def message(*headers: str) -> bytes:
    return "\r\n".join([*headers, "From: a@b.example", "", "Hello."]).encode()


def forefront(**fields: str) -> str:
    report = ";".join(f"{name}:{value}" for name, value in fields.items())
    return f"X-Forefront-Antispam-Report: {report};"


@pytest.mark.parametrize(
    ("category", "disposition"),
    [
        ("MALW", Disposition.MALICIOUS),
        ("PHSH", Disposition.MALICIOUS),
        ("HPHSH", Disposition.MALICIOUS),
        ("HPHISH", Disposition.MALICIOUS),
        ("SPOOF", Disposition.SPOOF),
        ("DIMP", Disposition.SPOOF),
        ("INTOS", Disposition.SPOOF),
        ("SPM", Disposition.SPAM),
        ("HSPM", Disposition.SPAM),
        ("OSPM", Disposition.SPAM),
        ("BULK", Disposition.BULK),
        ("NONE", Disposition.NONE),
        ("FUTURE", Disposition.UNKNOWN),
    ],
)
def test_forefront_categories(category: str, disposition: Disposition) -> None:
    raw = message(forefront(CIP="203.0.113.7", CAT=category))
    assert extract(raw, trusted=FOREFRONT).delivered_disposition is disposition
    assert extract(raw).delivered_disposition is Disposition.UNKNOWN


@pytest.mark.parametrize(
    ("level", "disposition"),
    [
        ("-1", Disposition.NONE),
        ("1", Disposition.NONE),
        ("5", Disposition.SPAM),
        ("9", Disposition.SPAM),
        ("10", Disposition.UNKNOWN),
        ("x", Disposition.UNKNOWN),
    ],
)
def test_spam_confidence_levels(level: str, disposition: Disposition) -> None:
    raw = message(forefront(SCL=level))
    assert extract(raw, trusted=FOREFRONT).delivered_disposition is disposition


def test_bulk_mail_is_bulk_though_its_level_is_that_of_spam() -> None:
    raw = message(forefront(SCL="6", CAT="BULK"))
    assert extract(raw, trusted=FOREFRONT).delivered_disposition is Disposition.BULK


def test_a_level_set_by_a_rule_counts_where_no_category_was_given() -> None:
    raw = message(forefront(SCL="9", CAT="NONE"))
    assert extract(raw, trusted=FOREFRONT).delivered_disposition is Disposition.SPAM


def test_a_category_counts_before_a_level() -> None:
    raw = message(forefront(SCL="5", CAT="HPHSH"))
    found = extract(raw, trusted=FOREFRONT)
    assert found.delivered_disposition is Disposition.MALICIOUS
    assert found.authentication == (("forefront.cat", "HPHSH"), ("forefront.scl", "5"))


def test_a_folded_report_and_its_sending_ip() -> None:
    raw = message(
        "Received: from relay.example (198.51.100.1) by mx.example",
        "X-Forefront-Antispam-Report:",
        "\tCIP:2001:db8::7;CTRY:US;LANG:en;SCL:1;SRV:;",
        "\tCAT:NONE;SFS:(13230040);DIR:INB;",
    )
    found = extract(raw, trusted=FOREFRONT)
    assert found.sending_ip == "2001:db8::7"
    assert found.delivered_disposition is Disposition.NONE
    assert extract(raw).sending_ip == "198.51.100.1"


def test_only_the_topmost_report_counts() -> None:
    raw = message(forefront(CAT="NONE"), forefront(CAT="PHSH"))
    assert extract(raw, trusted=FOREFRONT).delivered_disposition is Disposition.NONE
    raw = message(forefront(CAT="PHSH"), forefront(CAT="NONE"))
    assert extract(raw, trusted=FOREFRONT).delivered_disposition is Disposition.MALICIOUS


def test_a_forged_report_inside_an_attached_message_is_ignored() -> None:
    raw = (
        b"From: a@b.example\r\nContent-Type: message/rfc822\r\n\r\n"
        b"X-Forefront-Antispam-Report: CAT:PHSH\r\nFrom: c@d.example\r\n\r\nHello."
    )
    assert extract(raw, trusted=FOREFRONT).delivered_disposition is Disposition.UNKNOWN


RESULTS = (
    "mx.google.com;\r\n       dkim=pass header.i=@b.example header.s=s1;\r\n"
    "       spf=pass (google.com: domain of a@b.example designates 1.2.3.4 (x; dmarc=pass))"
    " smtp.mailfrom=a@b.example;\r\n       dmarc=fail (p=NONE sp=NONE dis=NONE)"
    " header.from=b.example"
)


def test_authentication_results_of_a_trusted_server() -> None:
    found = extract(message(f"Authentication-Results: {RESULTS}"), trusted=GOOGLE)
    assert found.authentication == (("dkim", "pass"), ("spf", "pass"), ("dmarc", "fail"))
    assert found.delivered_disposition is Disposition.SPOOF


@pytest.mark.parametrize(
    "header",
    [
        "Authentication-Results: mx.evil.example; dmarc=fail header.from=b.example",
        "Authentication-Results: mx.google.com.evil.example; dmarc=fail header.from=b.example",
        "Authentication-Results: dmarc=fail header.from=b.example",
        "Authentication-Results: ; mx.google.com; dmarc=fail",
        "X-Authentication-Results: mx.google.com; dmarc=fail",
        "ARC-Authentication-Results: i=1; mx.google.com; dmarc=fail",
        "Subject: x\r\n Authentication-Results: mx.google.com; dmarc=fail",
    ],
)
def test_untrusted_results_are_ignored(header: str) -> None:
    found = extract(message(header), trusted=GOOGLE)
    assert found.authentication == ()
    assert found.delivered_disposition is Disposition.UNKNOWN


def test_only_the_topmost_trusted_results_count() -> None:
    raw = message(
        "Authentication-Results: mx.evil.example; dmarc=fail",
        "Authentication-Results: MX.Google.com 1; dmarc=pass",
        "Authentication-Results: mx.google.com; dmarc=fail",
    )
    found = extract(raw, trusted=GOOGLE)
    assert found.authentication == (("dmarc", "pass"),)
    assert found.delivered_disposition is Disposition.UNKNOWN


def test_exchange_writes_no_authserv_id_and_weighs_dmarc_itself() -> None:
    raw = message(
        forefront(CAT="NONE"),
        "Authentication-Results: spf=pass (sender IP is 1.2.3.4) smtp.mailfrom=b.example;"
        " dkim=none (message not signed) header.d=none;dmarc=fail action=none"
        " header.from=b.example;compauth=pass reason=100",
    )
    found = extract(raw, trusted=FOREFRONT)
    assert found.authentication == (
        ("forefront.cat", "NONE"),
        ("spf", "pass"),
        ("dkim", "none"),
        ("dmarc", "fail"),
        ("compauth", "pass"),
    )
    assert found.delivered_disposition is Disposition.NONE


def test_gmail_labels() -> None:
    assert extract(message(), labels=["SPAM", "UNREAD"]).delivered_disposition is Disposition.SPAM
    assert extract(message(), labels=["INBOX"]).delivered_disposition is Disposition.UNKNOWN


@pytest.mark.parametrize(
    ("received", "address"),
    [
        (["from a.example (a.example [203.0.113.9]) by mx.example; today"], "203.0.113.9"),
        (["from a.example ([IPv6:2001:db8::9]) by mx.example"], "2001:db8::9"),
        (["by 2002:a05:1 with SMTP", "from a (a [203.0.113.9]) by mx"], "203.0.113.9"),
        (["from in (in [10.0.0.1]) by x", "from a (a [203.0.113.9]) by in"], "203.0.113.9"),
        (["from a (a [203.0.113.9]) by mx", "from b (b [198.51.100.4]) by a"], "203.0.113.9"),
        (["from a by mx (mx [203.0.113.9])"], ""),
        (["from a (a [999.1.1.1]) by mx"], ""),
        ([], ""),
    ],
)
def test_sending_ip_from_received(received: list[str], address: str) -> None:
    found = extract(message(*(f"Received: {one}" for one in received)))
    assert found.sending_ip == address


def test_trusted_headers_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="forefrnt"):
        TrustedHeaders.model_validate({"forefrnt": True})
    with pytest.raises(ValidationError):
        FOREFRONT.forefront = False  # type: ignore[misc]
