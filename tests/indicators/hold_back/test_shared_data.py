"""What hold-back does to real lists of phishing hosts, and for the hosts of real good mail."""

from __future__ import annotations

import pytest

from retract.indicators.hold_back.rules import HoldBack
from retract.indicators.hold_back.settings import HoldBackSettings
from retract.model import ObservableType as Type
from retract.observables.domain import canonical_domain
from retract.observables.mime import extract
from retract.observables.url import canonicalize, split_canonical


@pytest.fixture(scope="module")
def hold_back() -> HoldBack:
    return HoldBack.of(HoldBackSettings())


@pytest.mark.parametrize(
    ("name", "hosts", "at_most"),
    [
        ("phishing_database_domains.txt", 21_288, 100),
        ("phishing_database_links.txt", 2_634, 5),
        ("openphish.txt", 277, 10),
    ],
)
def test_nearly_no_published_phishing_host_is_held_back(
    shared_data, hold_back, name, hosts, at_most
):
    lines = (shared_data / "feeds" / name).read_text(encoding="utf-8").split()
    listed = {canonical_domain(split_canonical(canonicalize(line))[0]) for line in lines} - {""}

    held = {host for host in listed if hold_back.reason(Type.DOMAIN, host) is not None}

    assert len(listed) == hosts
    assert 0 < len(held) <= at_most, sorted(held)


def test_of_the_hosts_of_good_mail_those_of_known_companies_are_held_back(shared_data, hold_back):
    """The mail is of 2002: many of its hosts are in no list of today."""
    hosts = {
        seen.value
        for path in sorted((shared_data / "mail" / "ham").glob("*.eml"))
        for seen in extract(path.read_bytes()).observables
        if seen.type is Type.DOMAIN
    }
    held = {host for host in hosts if hold_back.reason(Type.DOMAIN, host) is not None}

    known = {"us.click.yahoo.com", "lists.sourceforge.net", "www.linux.ie", "cgi.ebay.com"}
    assert known <= hosts
    assert known <= held
    assert len(held) > len(hosts) / 2
