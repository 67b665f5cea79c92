"""787 real messages and real feeds: what is known bad goes, and no legitimate message moves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from retract.model import ObservableType
from retract.observables import mime
from retract.reports.model import Result

if TYPE_CHECKING:
    from tests.end_to_end.conftest import System

pytestmark = pytest.mark.end_to_end

SOURCE = (
    "  - {{name: {name}, format: plain_list, type: {type}, location: {file}, "
    "disposition: malicious, confidence: 80, time_to_live: P30D}}\n"
)
MISP_SOURCE = (
    "  - {{name: {name}, format: misp, location: {file}, disposition: malicious, "
    "confidence: 80, may_be_empty: true}}\n"
)
EVERYBODYS = ("yahoo.com", "hotmail.com", "www.amazon.com", "sourceforge.net", "tinyurl.com")
"""Hosts that the ham names, listed as domains by a careless feed."""


@pytest.fixture(scope="module")
def mail(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phish and ham in one folder, told apart by their names."""
    folder = tmp_path_factory.mktemp("mail")
    for kind in ("ham", "phish"):
        for file in sorted((shared_data / "mail" / kind).glob("*.eml")):
            (folder / f"{kind}-{file.name}").write_bytes(file.read_bytes())
    return folder


def urls_of(files: list[Path]) -> list[str]:
    return sorted(
        {
            observable.value
            for file in files
            for observable in mime.extract(file.read_bytes()).observables
            if observable.type is ObservableType.URL
        }
    )


def test_a_third_of_the_phish_teaches_and_no_ham_moves(
    start_system: Callable[..., System],
    mail: Path,
    shared_data: Path,
    tmp_path: Path,
) -> None:
    phish = sorted(mail.glob("phish-*.eml"))
    ham = sorted(mail.glob("ham-*.eml"))
    teachers = phish[::3]
    taught = [url for url in urls_of(teachers) if urlsplit(url).path not in ("", "/")]
    ham_urls = urls_of(ham)
    traps = sorted(
        {
            f"http://{urlsplit(url).hostname}/not-in-the-ham/{number}"
            for number, url in enumerate(ham_urls)
            if urlsplit(url).hostname
        }
    )
    assert len(taught) > 100
    assert len(traps) > 200
    (tmp_path / "phish.txt").write_text("\n".join(taught))
    (tmp_path / "traps.txt").write_text("\n".join(traps))
    (tmp_path / "careless.txt").write_text("\n".join(EVERYBODYS))
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text(
        "sources:\n"
        + SOURCE.format(name="a-third", type="url", file="phish.txt")
        + SOURCE.format(name="traps", type="url", file="traps.txt")
        + SOURCE.format(name="careless", type="domain", file="careless.txt")
        + MISP_SOURCE.format(name="mozi", file=shared_data / "feeds" / "misp_event_mozi.json")
        + MISP_SOURCE.format(name="badiis", file=shared_data / "feeds" / "misp_event_badiis.json")
        + "".join(
            SOURCE.format(name=name, type=kind, file=shared_data / "feeds" / file)
            for name, kind, file in (
                ("openphish", "url", "openphish.txt"),
                ("pd-links", "url", "phishing_database_links.txt"),
                ("pd-domains", "domain", "phishing_database_domains.txt"),
            )
        )
    )
    system = start_system(
        "--mail", str(mail), "--mailboxes", "12", feeds=feeds, trust_headers=False
    )
    before = system.copies()
    assert system.refresh() == 0, system.log("refresh_indicators")[-3000:]
    assert system.respond() == 0, system.log("post_delivery_response")[-3000:]

    after = system.copies()
    moved = {key for key, copy in before.items() if after[key].place != copy.place}
    names = {before[key].delivery_id for key in moved}
    assert not [name for name in names if "ham-" in name]
    report = system.report()
    would_have_met = {hit.value for hit in report.held_back.top if "careless" in hit.sources}
    assert would_have_met == set(EVERYBODYS)
    done = {
        (c.provider.value, c.mailbox, c.message_id)
        for c in report.copies
        if c.result is Result.DONE
    }
    assert done == moved
    with_links = {file.name for file in teachers if set(urls_of([file])) & set(taught)}
    found = {re.sub(r".*(phish-.*\.eml).*", r"\1", name) for name in names}
    assert with_links <= found


def test_the_traps_would_spring_if_urls_matched_by_host(mail: Path) -> None:
    """So that the test above can fail: a domain indicator on a ham host does move ham."""
    from retract.observables.lookup import matches

    url = next(u for u in urls_of(sorted(mail.glob("ham-*.eml"))) if urlsplit(u).path > "/")
    host = urlsplit(url).hostname or ""
    assert matches(ObservableType.DOMAIN, host, host)
    assert not matches(ObservableType.URL, url, f"http://{host}/not-in-the-ham/1")
