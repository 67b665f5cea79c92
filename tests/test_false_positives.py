"""Real mail, real feeds, and indicators for what legitimate mail contains: nothing of it moves.

So that this can fail, each of these indicators is first shown to fire with the hold-back off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import pytest

from retract.allow import AllowRule
from retract.cli.preview import Judgement, ReadFeeds, ReadMessage, judge, read_messages
from retract.indicators.feeds import FeedsFile, Format, Source
from retract.indicators.hold_back.rules import NO_HOLD_BACK, HoldBack
from retract.indicators.hold_back.settings import HoldBackSettings
from retract.indicators.merge import merge
from retract.indicators.refresh import read_source
from retract.indicators.snapshot import Snapshot
from retract.mailboxes.exported_mail import read_exported_mail
from retract.model import Action, Disposition, ObservableType, Provider
from retract.policy import Policy
from retract.retraction.plan import SkipReason

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OWN = "taint.org"
"""What stands for the tenant's own domain: the mailing lists of the ham's owner live below it."""
SHORTENER = "tinyurl.com"
POLICY = Policy(actions=dict.fromkeys(("malicious", "suspicious"), Action.JUNK))


@dataclass(frozen=True)
class Ham:
    """The legitimate messages, and what can be seen in them."""

    messages: list[ReadMessage]
    hosts: list[str]
    urls: list[str]

    def below(self, *domains: str) -> list[str]:
        """The hosts that are one of these domains or below."""
        ends = tuple(f".{domain}" for domain in domains)
        return [host for host in self.hosts if host in domains or host.endswith(ends)]

    def full_urls(self, hosts: Iterable[str]) -> list[str]:
        """The URLs on these hosts that name more than the host."""
        there = set(hosts)
        return [
            url
            for url in self.urls
            if (parts := urlsplit(url)).hostname in there and (parts.path != "/" or parts.query)
        ]


@pytest.fixture(scope="module")
def ham(shared_data: Path) -> Ham:
    exported = read_exported_mail(shared_data / "mail" / "ham")
    messages = list(read_messages(exported, Provider.MICROSOFT365, NOW))
    seen: dict[ObservableType, set[str]] = {}
    for message in messages:
        assert message.collected is not None
        for observable in message.collected.extraction.observables:
            seen.setdefault(observable.type, set()).add(observable.value)
    return Ham(messages, sorted(seen[ObservableType.DOMAIN]), sorted(seen[ObservableType.URL]))


@pytest.fixture(scope="module")
def hold_back() -> HoldBack:
    return HoldBack.of(HoldBackSettings(), own_domains=[OWN])


def injected(folder: Path, kind: ObservableType, values: Sequence[str]) -> list[Snapshot]:
    """A feed that lists these values, read as any feed is."""
    file = folder / f"{kind}.txt"
    file.write_text("\n".join(values))
    source = Source(
        name=f"injected-{kind.replace('_', '-')}",
        format=Format.PLAIN_LIST,
        location=str(file),
        type=kind,
        disposition=Disposition.MALICIOUS,
        confidence=100,
    )
    return [read_source(source, NOW)]


def judged(
    ham: Ham, snapshots: Sequence[Snapshot], hold_back: HoldBack, policy: Policy = POLICY
) -> Judgement:
    indicators = merge(None, snapshots, NOW, hold_back=hold_back)
    feeds = ReadFeeds(tuple(snapshots), indicators)
    return judge(ham.messages, feeds, policy, Provider.MICROSOFT365, NOW)


def fired(judgement: Judgement) -> set[str]:
    """The indicators that something would be retracted for, were the rest not there."""
    return {
        reason.indicator
        for copy in (*judgement.plan.retractions, *judgement.plan.skipped)
        for reason in copy.reasons
    }


def require_all_fire_and_none_when_held_back(
    ham: Ham, snapshots: Sequence[Snapshot], hold_back: HoldBack
) -> int:
    """How many indicators that is."""
    listed = set(pl.concat([snapshot.rows for snapshot in snapshots])["value"])
    off = judged(ham, snapshots, NO_HOLD_BACK)
    assert fired(off) == listed
    assert off.plan.retractions
    on = judged(ham, snapshots, hold_back)
    assert not on.plan.retractions
    assert not fired(on)
    assert on.preview.summary.held_back is not None
    return len(listed)


def test_hosts_that_everybody_uses_fire_as_domains_only_with_the_hold_back_off(
    ham: Ham, hold_back: HoldBack, tmp_path: Path
) -> None:
    everybodys = [
        host
        for host in ham.hosts
        if host not in ham.below(OWN) and hold_back.reason(ObservableType.DOMAIN, host)
    ]
    assert {"yahoo.com", "www.amazon.com", "hotmail.com", SHORTENER} <= set(everybodys)
    snapshots = injected(tmp_path, ObservableType.DOMAIN, everybodys)
    assert require_all_fire_and_none_when_held_back(ham, snapshots, hold_back) > 300


def test_the_tenants_own_domain_fires_only_with_the_hold_back_off(
    ham: Ham, hold_back: HoldBack, tmp_path: Path
) -> None:
    snapshots = injected(tmp_path, ObservableType.DOMAIN, ham.below(OWN))
    assert require_all_fire_and_none_when_held_back(ham, snapshots, hold_back) >= 4


def test_front_pages_of_hosts_that_everybody_uses_fire_only_with_the_hold_back_off(
    ham: Ham, hold_back: HoldBack, tmp_path: Path
) -> None:
    front_pages = [
        url
        for url in ham.urls
        if (parts := urlsplit(url)).path == "/"
        and not parts.query
        and parts.hostname in ham.hosts
        and hold_back.reason(ObservableType.DOMAIN, parts.hostname)
    ]
    snapshots = injected(tmp_path, ObservableType.URL, front_pages)
    assert require_all_fire_and_none_when_held_back(ham, snapshots, hold_back) > 20


def test_everybody_at_a_free_mail_service_fires_only_with_the_hold_back_off(
    ham: Ham, hold_back: HoldBack, tmp_path: Path
) -> None:
    values = ["@yahoo.com", "@hotmail.com", "@aol.com", f"@spamassassin.{OWN}"]
    snapshots = injected(tmp_path, ObservableType.EMAIL_ADDRESS, values)
    assert require_all_fire_and_none_when_held_back(ham, snapshots, hold_back) == 4


def test_the_same_indicators_in_a_feeds_file_without_lists_would_move_ham(
    ham: Ham, tmp_path: Path
) -> None:
    """The settings that switch lists off do what they say."""
    off = HoldBack.of(HoldBackSettings.model_validate({"warninglists": False, "popular": "off"}))
    snapshots = injected(tmp_path, ObservableType.DOMAIN, ["linux.ie", "www.linux.ie"])
    assert judged(ham, snapshots, off).plan.retractions


@pytest.mark.parametrize("where", ["shortener", "shared hosts", "own domain"])
def test_a_full_url_of_the_ham_counts_wherever_it_lies_until_a_rule_allows_it(
    ham: Ham, hold_back: HoldBack, tmp_path: Path, where: str
) -> None:
    hosts = {
        "shortener": [SHORTENER],
        "shared hosts": ham.below("yahoo.com", "amazon.com", "sourceforge.net"),
        "own domain": ham.below(OWN),
    }[where]
    urls = ham.full_urls(hosts)
    assert urls
    assert not any(hold_back.reason(ObservableType.URL, url) for url in urls)
    snapshots = injected(tmp_path, ObservableType.URL, urls)
    without = judged(ham, snapshots, hold_back)
    assert fired(without) == set(snapshots[0].rows["value"])
    assert without.plan.retractions

    rules = tuple(
        AllowRule.model_validate({"value": f"https://{host}/", "type": "url", "reason": "ours"})
        for host in sorted({urlsplit(url).hostname or "" for url in urls})
    )
    allowed = judged(ham, snapshots, hold_back, POLICY.model_copy(update={"allow": rules}))
    assert not allowed.plan.retractions
    assert {copy.reason for copy in allowed.plan.skipped} == {SkipReason.ALLOWED}
    assert len(allowed.plan.skipped) == len(without.plan.retractions)
    assert all(copy.overruled for copy in allowed.plan.skipped)


def test_with_all_the_feeds_on_no_ham_would_move(
    ham: Ham, hold_back: HoldBack, shared_data: Path
) -> None:
    feeds = FeedsFile.model_validate(
        {
            "sources": [
                {
                    "name": name.replace("_", "-"),
                    "location": str(shared_data / "feeds" / name),
                    "disposition": "malicious",
                    "confidence": 90,
                    # One of the MISP events holds nothing that is meant for detection.
                    "may_be_empty": True,
                    **settings,
                }
                for name, settings in {
                    "openphish.txt": {"format": "plain_list", "type": "url"},
                    "phishing_database_links.txt": {"format": "plain_list", "type": "url"},
                    "phishing_database_domains.txt": {"format": "plain_list", "type": "domain"},
                    "misp_event_mozi.json": {"format": "misp"},
                    "misp_event_badiis.json": {"format": "misp"},
                }.items()
            ]
        }
    )
    snapshots = [read_source(source, NOW) for source in feeds.enabled]
    on = judged(ham, snapshots, hold_back)
    assert on.preview.summary.messages == 387
    assert sum(source.indicators for source in on.preview.summary.sources) > 29_000
    assert not on.plan.retractions
