"""A message's bytes in, what can be seen in it out. Bodies are read here and nowhere kept.

Everything in a message is its sender's choice, so every quantity is bounded, and each bound
that is hit is named in ``problems``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from retract.model import Extraction, ObservableType
from retract.observables.address import parse_addresses
from retract.observables.delivery import NOTHING_SAID, Delivery, TrustedHeaders, read_delivery
from retract.observables.gathering import MAX_NAME, Gathering
from retract.observables.headers import Headers, decoded
from retract.observables.html import MAX_PIECES_FOR_THE_PARSER, looks_like_html, read_html
from retract.observables.structure import Part, split_headers, walk
from retract.observables.text import bare_urls_in_text, decode, fingerprint, urls_in_text

__all__ = ["TrustedHeaders", "extract"]

MAX_BYTES = 64 * 1024 * 1024
"""More than any mail service delivers as a message of its own."""
MAX_TEXT = 8 * 1024 * 1024
"""Bytes of text and HTML read per message."""
MAX_SUBJECT = 1_000
MAX_PARSER_PIECES = 3 * MAX_PIECES_FOR_THE_PARSER

_ADDRESS_HEADERS = (
    ("From", "from"),
    ("Sender", "sender"),
    ("Reply-To", "reply_to"),
    ("Return-Path", "return_path"),
)
_MOST_ADDRESS_HEADERS = 20
"""Of one name: a message may have several From headers, if only to confuse."""
_TEXT_TYPES = frozenset(
    {"application/xhtml+xml", "application/xml", "image/svg+xml", "message/delivery-status"}
)
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_HTML_ENDINGS = (".htm", ".html", ".xhtml", ".shtml", ".svg", ".hta")
_TEXT_ENDINGS = (".txt", ".csv", ".ics", ".url", ".xml")


def extract(
    raw_message: bytes,
    *,
    trusted: TrustedHeaders = TrustedHeaders(),  # noqa: B008 - frozen
    labels: Collection[str] = (),
) -> Extraction:
    """Everything the program keeps of a message. Never raises, always ends.

    ``labels`` are Gmail's label ids. ``found_in`` of an observable says where it was seen
    first: from, sender, reply_to, return_path, sending_ip, html, text, attachment, with
    ":wrapped", ":unwrapped" or ":wrapped_unresolved" behind it for what a rewriter touched,
    and "attached_message/" before it inside a message that is attached to this one;
    domain_of_url, domain_of_address and ip_of_url for what follows from another observable.
    """
    reader = _Reader()
    try:
        return reader.read(raw_message, trusted, labels)
    except Exception as error:  # noqa: BLE001 - one message must never stop a mailbox
        reader.seen.problem(f"unexpected {type(error).__name__} in the headers")
        return reader.extraction(None, NOTHING_SAID)


class _Reader:
    """Collects the observables of one message."""

    def __init__(self) -> None:
        self.seen = Gathering()
        self._text_bytes = 0
        self._parser_pieces = 0
        self._sender: tuple[str, str] | None = None
        self._shown_html: list[str] = []
        self._shown_text: list[str] = []

    def read(
        self, raw_message: bytes, trusted: TrustedHeaders, labels: Collection[str]
    ) -> Extraction:
        if len(raw_message) > MAX_BYTES:
            self.seen.problem(f"longer than {MAX_BYTES} bytes: the rest was not read")
        headers, body, was_cut = split_headers(raw_message[:MAX_BYTES].lstrip(b"\r\n"))
        if was_cut:
            self.seen.problem("the headers are too long: the rest counts as body")
        if not headers:
            self.seen.problem("no headers")
        delivery = read_delivery(headers, trusted, labels)
        self.seen.add(ObservableType.IP_ADDRESS, delivery.sending_ip, "sending_ip")
        self._read_addresses(headers, "")
        structural: list[str] = []
        for number, part in enumerate(walk(headers, body, structural)):
            try:
                self._read_part(part)
            except Exception as error:  # noqa: BLE001 - the other parts still count
                self.seen.problem(f"unexpected {type(error).__name__} in part {number}")
        for problem in structural:
            self.seen.problem(problem)
        return self.extraction(headers, delivery)

    def extraction(self, headers: Headers | None, delivery: Delivery) -> Extraction:
        """What was found so far."""
        name, address = self._sender or ("", "")
        return Extraction(
            internet_message_id=headers.text("Message-ID")[:MAX_SUBJECT] if headers else "",
            subject=headers.text("Subject")[:MAX_SUBJECT] if headers else "",
            sender_address=address,
            sender_name=name,
            observables=self.seen.observables(),
            authentication=delivery.authentication,
            delivered_disposition=delivery.disposition,
            sending_ip=delivery.sending_ip,
            body_fingerprint=fingerprint(" ".join(self._shown_html or self._shown_text)),
            problems=self.seen.problems(),
        )

    # --- headers ---

    def _read_addresses(self, headers: Headers, prefix: str) -> None:
        for header, found_in in _ADDRESS_HEADERS:
            for value in headers.all(header)[:_MOST_ADDRESS_HEADERS]:
                pairs = parse_addresses(value) or parse_addresses(decoded(value))
                for written_name, address in pairs:
                    name = decoded(written_name)[:MAX_NAME]
                    if self._sender is None and header == "From" and not prefix:
                        self._sender = (name, address)
                    self.seen.add_address(name, address, prefix + found_in)

    # --- parts ---

    def _read_part(self, part: Part) -> None:
        prefix = "attached_message/" if part.is_attached else ""
        if part.is_message:
            self._read_addresses(part.headers, prefix)
            return
        name = part.headers.file_name[:MAX_NAME]
        is_text = part.type.startswith("text/") or part.type in _TEXT_TYPES
        is_attachment = bool(name) or not is_text or part.headers.is_attachment
        if is_attachment:
            self._read_attachment(part.content, name, prefix + "attachment")
        lower = name.lower()
        is_html = part.type in _HTML_TYPES or lower.endswith(_HTML_ENDINGS)
        if is_text or is_html or lower.endswith(_TEXT_ENDINGS):
            is_body = not is_attachment and not part.is_attached
            self._read_text(part, is_html, prefix, is_attachment, is_body)

    def _read_attachment(self, content: bytes, name: str, found_in: str) -> None:
        if not self.seen.add_attachment(name, found_in):
            return
        if content:  # the hash of nothing would make all empty files one
            for type_, algorithm in (
                (ObservableType.MD5, hashlib.md5),
                (ObservableType.SHA1, hashlib.sha1),
                (ObservableType.SHA256, hashlib.sha256),
            ):
                digest = algorithm(content, usedforsecurity=False).hexdigest()
                self.seen.add(type_, digest, found_in)

    def _read_text(
        self, part: Part, is_html: bool, prefix: str, is_attachment: bool, is_body: bool
    ) -> None:
        room = MAX_TEXT - self._text_bytes
        if len(part.content) > room:
            self.seen.problem(f"more than {MAX_TEXT} bytes of text: the rest was not read")
        content = part.content[:room]
        self._text_bytes += len(content)
        text = decode(content, part.headers.charset)
        where = prefix + ("attachment" if is_attachment else "html" if is_html else "text")
        if is_html or looks_like_html(text):
            html = read_html(text, MAX_PARSER_PIECES - self._parser_pieces)
            self._parser_pieces += html.pieces
            self.seen.add_urls(html.links, where)
            if not is_html:  # a plain text that shows HTML has URLs in angle brackets, too
                self.seen.add_urls(urls_in_text(text), where)
            text = html.text
        self.seen.add_urls(urls_in_text(text), where)
        self.seen.add_urls(bare_urls_in_text(text), where)
        if is_body:
            (self._shown_html if is_html else self._shown_text).append(text)
