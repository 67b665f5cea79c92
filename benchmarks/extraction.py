"""How many messages a second are extracted, beside a baseline of the standard library alone.

    python benchmarks/extraction.py [FOLDER of .eml files] [--rounds N]

Without a folder: synthetic messages. The baseline parses, decodes, hashes attachments and
finds links, but canonicalizes, unwraps and judges nothing: it is a floor, not a rival. Rates are of
processor time, so they are a core's; peaks are of a process of its own, the mail included.
"""

from __future__ import annotations

import argparse
import email
import hashlib
import json
import re
import sys
import time
from collections.abc import Callable
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path

import _machine
from _alone import child, peak

from retract.observables.mime import extract

_LINK = re.compile(r"https?://[^\s<>\"]+")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.update(value for name, value in attrs if name in ("href", "src") and value)

    def handle_data(self, data: str) -> None:
        self.found.update(_LINK.findall(data))


def baseline(raw: bytes) -> int:
    """The number of links and attachment hashes the standard library finds by itself."""
    found: set[str] = set()
    for part in email.message_from_bytes(raw).walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):
            continue
        if part.get_content_type() == "text/html":
            links = _Links()
            links.feed(content.decode("utf-8", "replace"))
            found |= links.found
        elif part.get_content_maintype() == "text":
            found.update(_LINK.findall(content.decode("utf-8", "replace")))
        else:
            found.add(hashlib.sha256(content).hexdigest())
    return len(found)


def synthetic(count: int) -> list[bytes]:
    """Newsletters of fifty links, every fifth with an attachment of 20 KB."""
    messages = []
    for number in range(count):
        message = EmailMessage()
        message["From"] = f"News {number} <news{number}@shop{number % 40}.example>"
        message["Subject"] = f"Angebote der Woche {number} – für Sie"
        message["Message-ID"] = f"<{number}@shop.example>"
        links = [
            f"https://www.shop{number % 40}.example/offers/{link}/item.html?ref={number}"
            for link in range(50)
        ]
        message.set_content("Unsere Angebote:\n" + "\n".join(links))
        cells = "".join(f'<td><a href="{link}">Angebot &amp; mehr</a></td>' for link in links)
        message.add_alternative(f"<html><body><table>{cells}</table></body></html>", "html")
        if number % 5 == 0:
            content = number.to_bytes(4) * 5_000
            message.add_attachment(
                content, maintype="application", subtype="pdf", filename=f"liste{number}.pdf"
            )
        messages.append(message.as_bytes())
    return messages


def rate(work: Callable[[bytes], object], messages: list[bytes], rounds: int) -> float:
    """Messages per second of processor time, of the best round."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        for raw in messages:
            work(raw)
        best = min(best, time.process_time() - started)
    return len(messages) / best


WAYS: dict[str, Callable[[bytes], object]] = {"extraction": extract, "stdlib": baseline}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="folder of .eml files, recursive")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    messages = mail_of(arguments.folder)
    if not messages:
        parser.error(f"no .eml files below {arguments.folder}")
    if arguments.way:
        print(json.dumps([rate(WAYS[arguments.way], messages, arguments.rounds), peak()]))
        return

    print(_machine.described(("selectolax", "tldextract")))
    started = time.process_time()
    extractions = [extract(raw) for raw in messages]
    first = len(messages) / (time.process_time() - started)
    size = sum(map(len, messages))
    observables = sum(len(one.observables) for one in extractions)
    print(f"messages       {len(messages):>9,}  of {size / len(messages) / 1024:,.1f} KiB")
    print(f"observables    {observables:>9,}  {observables / len(messages):.1f} a message")
    print(f"with problems  {sum(bool(one.problems) for one in extractions):>9,}")
    print(f"first pass     {first:>9,.0f}  messages/s a core (cold caches)")
    (ours, our_peak), (theirs, their_peak) = (
        json.loads(child(*sys.argv[1:], "--way", way)) for way in WAYS
    )
    megabytes = ours * size / len(messages) / 1e6
    print(
        f"extraction     {ours:>9,.0f}  messages/s a core, {megabytes:.1f} MB/s, "
        f"{ours * observables / len(messages):,.0f} observables/s, peak {our_peak:.0f} MB"
    )
    print(f"stdlib only    {theirs:>9,.0f}  messages/s a core, peak {their_peak:.0f} MB")
    print(f"ratio          {ours / theirs:>9.2f}  of memory {our_peak / their_peak:.2f}")


def mail_of(folder: Path | None) -> list[bytes]:
    """The messages below a folder, or synthetic ones."""
    if folder is None:
        return synthetic(500)
    return [path.read_bytes() for path in sorted(folder.rglob("*.eml"))]


if __name__ == "__main__":
    main()
