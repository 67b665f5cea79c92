"""The lists of the installed package, and what they mean here."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest
from pymispwarninglists import WarningLists

from retract.errors import FeedConfigurationError
from retract.indicators.hold_back import roles, warninglists
from retract.indicators.hold_back.names import listed_name, parents
from retract.indicators.hold_back.warninglists import Warninglists
from retract.observables.domain import canonical_domain

FOLDER = resources.files("pymispwarninglists") / "data" / "misp-warninglists" / "lists"
INSTALLED = sorted(folder.name for folder in FOLDER.iterdir())


def entries(slug: str) -> list[str]:
    return json.loads((FOLDER / slug / "list.json").read_bytes())["list"]


def test_every_list_of_the_package_has_one_role_or_is_left_out_on_purpose():
    """So that an upgrade of the package brings nothing in, and takes nothing away, unseen."""
    placed = [
        slug
        for role in (
            *(roles.HOSTING, roles.OPERATORS, roles.LARGE_SITES, roles.NAMES, roles.TEN_THOUSAND),
            *(roles.MILLION, roles.ADDRESSES, roles.HASHES, roles.ROLE_ADDRESSES, roles.LEFT_OUT),
        )
        for slug in role
    ]
    assert sorted(placed) == INSTALLED
    assert {*placed} == {*roles.IN_USE, *roles.LEFT_OUT}


def test_the_package_reads_as_many_lists_as_are_known_here():
    names = {json.loads((FOLDER / slug / "list.json").read_bytes())["name"] for slug in INSTALLED}
    assert names == set(WarningLists())


@pytest.mark.parametrize("slug", sorted(roles.OF_HOSTS))
def test_of_a_list_of_hosts_nearly_all_entries_are_domains(slug):
    listed = entries(slug)
    odd = [one for one in listed if "." in one and not canonical_domain(one)]
    assert len(odd) <= max(3, len(listed) // 1000), odd[:20]


@pytest.mark.parametrize("slug", sorted(roles.HASHES))
def test_of_a_list_of_files_nearly_all_entries_are_hashes(slug):
    listed = entries(slug)
    odd = [one for one in listed if not re.fullmatch(r"[0-9A-Fa-f]{32,128}", one)]
    assert len(odd) <= 1, odd[:20]


def test_what_is_said_to_be_within_another_list_is():
    ten_thousand = set(entries("cisco_top10k"))
    assert set(entries("cisco_top1000")) <= ten_thousand
    assert set(entries("cisco_top5k")) <= ten_thousand


def test_each_entry_of_a_list_is_found_with_what_the_list_says():
    for slug in ("url-shortener", "bank-website", "whats-my-ip"):
        only = Warninglists({slug})
        for entry in entries(slug):
            host = listed_name(entry)
            assert f"(warninglist {slug})" in (only.says_of_host(host, parents(host)) or ""), entry
    for slug in ("cloudflare", "public-dns-v6", "smtp-sending-ips"):
        only = Warninglists({slug})
        for entry in entries(slug):
            network = warninglists._network(entry, slug)
            assert f"(warninglist {slug})" in (only.says_of_network(network) or ""), entry


def test_a_list_that_is_left_out_says_nothing():
    assert Warninglists({"bank-website"}).says_of_host("bnpparibas.com", ()) is not None
    assert (
        Warninglists(roles.IN_USE - {"bank-website", *roles.MILLION}).says_of_host(
            "02bancorp.com", ()
        )
        is None
    )


@pytest.mark.parametrize(
    "content", [None, b"", b"<html>", b"[]", b"{}", b'{"list": ["no network"]}']
)
def test_a_list_that_cannot_be_read_is_told_by_name(tmp_path, monkeypatch, content):
    folder = tmp_path / "data" / "misp-warninglists" / "lists" / "rfc1918"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "list.json").write_bytes(content)
    monkeypatch.setattr(warninglists.resources, "files", lambda package: tmp_path)
    warninglists._networks.cache_clear()

    with pytest.raises(FeedConfigurationError, match=r"rfc1918 cannot be read .*leave_out"):
        Warninglists({"rfc1918"}).says_of_network(warninglists._network("10.0.0.0/8", "rfc1918"))


def test_lists_are_read_once(monkeypatch):
    read: list[str] = []
    original = warninglists._entries
    monkeypatch.setattr(warninglists, "_entries", lambda slug: read.append(slug) or original(slug))
    warninglists._hosts.cache_clear()

    for _ in range(2):
        Warninglists({"url-shortener", "tlds"}).says_of_host("evil.example", ())

    assert sorted(read) == ["tlds", "url-shortener"]
