"""From what an author wants to say to the bytes a sender's mail program would send."""

from __future__ import annotations

import html
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from local_tenant.synthetic.attachments import Attachment

# Sending programs fold differently; long links and lists must not be torn into encoded words.
_UNFOLDED = SMTP.clone(max_line_length=998)


@dataclass(frozen=True, slots=True)
class Party:
    """A name with an address."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Draft:
    """A message before it is sent."""

    sender: Party
    to: tuple[Party, ...]
    subject: str
    text: str
    html: str = ""
    """Empty for a message of plain text only."""
    html_only: bool = False
    charset: str = "utf-8"
    attachments: tuple[Attachment, ...] = ()
    inline_image: bytes = b""
    """A PNG the HTML shows as ``cid:logo``."""
    headers: tuple[tuple[str, str], ...] = ()


def compose(draft: Draft, *, message_id: str, sent_at: datetime, rng: random.Random) -> bytes:
    """RFC 5322 bytes with CRLF; the same for the same arguments."""
    message = EmailMessage(policy=SMTP)
    message["Date"] = format_datetime(sent_at.astimezone(_zone(rng)))
    message["From"] = _address(draft.sender)
    message["To"] = [_address(party) for party in draft.to]
    message["Message-ID"] = message_id
    message["Subject"] = draft.subject
    message["MIME-Version"] = "1.0"
    for name, value in draft.headers:
        message[name] = value
    charset = _fitting(draft.charset, draft.text + draft.html)
    if draft.html_only:
        message.set_content(draft.html, subtype="html", charset=charset)
    else:
        message.set_content(draft.text, charset=charset)
        if draft.html:
            message.add_alternative(draft.html, subtype="html", charset=charset)
    if draft.inline_image and draft.html and not draft.html_only:
        page = message.get_payload(1)
        if isinstance(page, EmailMessage):
            page.add_related(draft.inline_image, "image", "png", cid="<logo>", disposition="inline")
    for attachment in draft.attachments:
        message.add_attachment(
            attachment.data,
            maintype=attachment.maintype,
            subtype=attachment.subtype,
            filename=attachment.name,
        )
    for part in message.walk():
        # The library would draw them at random.
        if part.is_multipart():
            part.set_boundary(f"=_{rng.getrandbits(96):024x}")
    return message.as_bytes(policy=_UNFOLDED)


def web_page(
    paragraphs: Sequence[str], *, links: Sequence[tuple[str, str]] = (), image: bool = False
) -> str:
    """A simple HTML mail: escaped paragraphs, then (words, URL) links as buttons."""
    head = '<p><img src="cid:logo" width="24" height="24" alt=""></p>' if image else ""
    body = "".join(f"<p>{html.escape(words)}</p>\n" for words in paragraphs)
    buttons = "".join(
        f'<p><a href="{html.escape(url)}" style="background:#1a5fb4;color:#fff;padding:8px 16px;'
        f'text-decoration:none">{html.escape(words)}</a></p>\n'
        for words, url in links
    )
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head>'
        f'<body style="font-family:sans-serif">{head}\n{body}{buttons}</body></html>\n'
    )


def _address(party: Party) -> Address:
    return Address(party.name, addr_spec=party.address)


def _fitting(charset: str, text: str) -> str:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return "utf-8"
    return charset


def _zone(rng: random.Random) -> timezone:
    return timezone(timedelta(hours=rng.choice((-8, -5, -3, 0, 1, 1, 1, 2, 2, 9))))
