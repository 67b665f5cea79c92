"""A message as a gateway or a detection service tells of it, in the place of its bytes."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from retract.model import Disposition, Extraction, ObservableType
from retract.observables.address import canonical_address, parse_addresses
from retract.observables.gathering import MAX_NAME, Gathering
from retract.observables.host import canonical_ip
from retract.observables.network import is_internal

_MAX_SUBJECT = 1_000
_HEX = re.compile(r"[0-9a-f]+")


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DescribedAttachment(_Described):
    """An attachment: its name and whichever of its hashes are known, in hex."""

    name: str = ""
    md5: Annotated[str, StringConstraints(to_lower=True, pattern=r"^([0-9A-Fa-f]{32})?$")] = ""
    sha1: Annotated[str, StringConstraints(to_lower=True, pattern=r"^([0-9A-Fa-f]{40})?$")] = ""
    sha256: Annotated[str, StringConstraints(to_lower=True, pattern=r"^([0-9A-Fa-f]{64})?$")] = ""


class DescribedMessage(_Described):
    """One message delivered to one recipient. The record of a mail gateway's files."""

    recipient: str = Field(min_length=3)
    """The address it was delivered to."""
    internet_message_id: str = Field(min_length=1)
    """The Message-ID header, angle brackets included. Without one a copy cannot be found."""
    received_at: AwareDatetime
    """When it was delivered, with its time zone."""
    subject: str = ""
    sender_address: str = ""
    """Of the From header."""
    sender_name: str = ""
    reply_to: str = ""
    return_path: str = ""
    sending_ip: str = ""
    """The server it came from, outside the company."""
    urls: tuple[str, ...] = ()
    """As they are written in the message, wrapped or not."""
    attachments: tuple[DescribedAttachment, ...] = ()
    disposition: Disposition = Disposition.UNKNOWN
    """What it was taken for at delivery."""
    authentication: dict[str, str] = {}
    """Results by method, as {"spf": "pass", "dmarc": "fail"}."""


def read_description(described: DescribedMessage) -> Extraction:
    """Everything the program keeps of a described message. Never raises.

    There is no body fingerprint, as there is no body. ``found_in`` is as `mime.extract` has it,
    with "described" for URLs.
    """
    seen = Gathering()
    sending_ip = canonical_ip(described.sending_ip)
    if sending_ip and is_internal(sending_ip):
        sending_ip = ""
    seen.add(ObservableType.IP_ADDRESS, sending_ip, "sending_ip")
    sender = canonical_address(described.sender_address)
    name = described.sender_name[:MAX_NAME]
    if sender or name:
        seen.add_address(name, sender, "from")
    for text, found_in in (
        (described.reply_to, "reply_to"),
        (described.return_path, "return_path"),
    ):
        for other_name, address in parse_addresses(text):
            seen.add_address(other_name[:MAX_NAME], address, found_in)
    seen.add_urls(described.urls, "described")
    for attachment in described.attachments:
        if not seen.add_attachment(attachment.name[:MAX_NAME], "attachment"):
            break
        seen.add(ObservableType.MD5, attachment.md5, "attachment")
        seen.add(ObservableType.SHA1, attachment.sha1, "attachment")
        seen.add(ObservableType.SHA256, attachment.sha256, "attachment")
    return Extraction(
        internet_message_id=described.internet_message_id[:_MAX_SUBJECT],
        subject=described.subject[:_MAX_SUBJECT],
        sender_address=sender,
        sender_name=name,
        observables=seen.observables(),
        authentication=tuple(described.authentication.items()),
        delivered_disposition=described.disposition,
        sending_ip=sending_ip,
        problems=seen.problems(),
    )
