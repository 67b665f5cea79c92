"""Messages with the things seen in them that a match is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from retract.model import (
    CollectedMessage,
    Copy,
    Extraction,
    Location,
    Observable,
    Place,
    Provider,
)
from retract.model import ObservableType as Type

NOW = datetime(2026, 1, 31, tzinfo=UTC)

HELD_AGAINST_RULES = (Type.SUBJECT_PATTERN, Type.DISPLAY_NAME_PATTERN)


def message(name: str, *seen: tuple[Type, str], **more) -> CollectedMessage:
    """A message with these observables; a rule's type gives its subject or its sender's name."""
    settings = {"received_at": NOW - timedelta(days=1), "extractor_version": 1} | more
    subject, sender_name = (dict(seen).get(kind, "") for kind in HELD_AGAINST_RULES)
    observables = [Observable(*one, "html") for one in seen if one[0] not in HELD_AGAINST_RULES]
    return CollectedMessage(
        copy=Copy(Provider.GOOGLE_WORKSPACE, "tenant", "ann", "ann@south.example", name),
        location=Location(Place.INBOX),
        extraction=Extraction("", subject, "", sender_name, tuple(observables)),
        **settings,
    )


def seen_in(one: CollectedMessage, kind: Type) -> list[str]:
    if kind is Type.SUBJECT_PATTERN:
        return [one.extraction.subject]
    if kind is Type.DISPLAY_NAME_PATTERN:
        return [one.extraction.sender_name]
    return [seen.value for seen in one.extraction.observables if seen.type is kind]


HOSTS = ("evil.example", "a.evil.example", "b.a.evil.example", "co.uk", "x.co.uk", "me.github.io")
PATHS = ("", "/", "/a", "/a/", "/a/b", "/a/b?c", "/A", "/a/b/c/d/e/f")
VALUES = {
    Type.URL: [f"https://{host}{path}" for host in (*HOSTS, "203.0.113.7") for path in PATHS],
    Type.DOMAIN: [*HOSTS, "github.io", "uk", "EVIL.example", "no domain"],
    Type.EMAIL_ADDRESS: ["bob@evil.example", "ann@a.evil.example", "@evil.example", "@x.co.uk"],
    Type.FILE_NAME: ["invoice.pdf", "Invoice.PDF", "evil.example"],
    Type.SHA256: ["0" * 64, "a" * 64, "A" * 64],
    Type.IP_ADDRESS: [
        "203.0.113.7", "203.0.113.9", "10.1.2.3", "2001:db8::1", "203.0.113.0/24",
        "203.0.113.8/31", "203.0.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32",
    ],
    Type.SUBJECT_PATTERN: [
        "Your invoice 4711", "RE: your\u200b  INVOICE 12", "your invoice #", "*your invoice*",
        "RE: your invoice ??", "no rule",
    ],
    Type.DISPLAY_NAME_PATTERN: ["Your invoice 4711", "IT Service-Desk", "it service?desk"],
}  # fmt: skip
