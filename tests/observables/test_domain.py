"""Domains: one form, and the Public Suffix List with its private section."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.observables.domain import (
    canonical_domain,
    is_public_suffix,
    registrable_domain,
    suffix_rules,
    widened_hosts,
)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Example.COM", "example.com"),
        (" example.com. ", "example.com"),
        ("a..example.com", "a.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("my_host.example", "my_host.example"),
        ("com", "com"),
        ("xn--p1ai", "xn--p1ai"),
        ("рф", "xn--p1ai"),
        # no domains
        ("", ""),
        ("hello", ""),
        ("localhost", ""),
        ("1.2.3.4", ""),
        ("0x7f.1", ""),
        ("[::1]", ""),
        ("a.b.123", ""),
        ("-a.example", ""),
        ("two words.example", ""),
        ("*.example.com", ""),
        ("a@b.example", ""),
        ("http://a.example", ""),
        ("a." * 200 + "example", ""),
        ("a" * 64 + ".example", ""),
    ],
)
def test_canonical_domain(text: str, domain: str) -> None:
    assert canonical_domain(text) == domain


@pytest.mark.parametrize(
    ("domain", "registrable"),
    [
        ("a.b.example.com", "example.com"),
        ("example.com", "example.com"),
        ("a.b.co.uk", "b.co.uk"),
        ("x.tenant.blogspot.com", "tenant.blogspot.com"),
        ("x.user.github.io", "user.github.io"),
        ("a.b.unknown", "b.unknown"),
        ("www.ck", "www.ck"),
        ("a.b.ck", "a.b.ck"),
        ("com", ""),
        ("co.uk", ""),
        ("blogspot.com", ""),
        ("unknown", ""),
        ("1.2.3.4", ""),
        ("", ""),
    ],
)
def test_registrable_domain(domain: str, registrable: str) -> None:
    assert registrable_domain(domain) == registrable
    assert is_public_suffix(domain) is (registrable == "")


def test_around_every_rule_of_the_list_a_suffix_has_no_registrable_domain() -> None:
    for rule in suffix_rules():
        host = rule.removeprefix("!").replace("*", "any")
        for domain in (host, host.partition(".")[2], f"below.{host}"):
            assert is_public_suffix(domain) is (registrable_domain(domain) == ""), domain


def test_the_rules_of_the_list_are_in_its_notation_and_in_punycode() -> None:
    assert {"com", "co.uk", "*.ck", "!www.ck", "blogspot.com", "xn--p1ai"} <= suffix_rules()
    assert all(rule.isascii() for rule in suffix_rules())


@given(st.text())
def test_canonical_domain_is_total_and_idempotent(text: str) -> None:
    domain = canonical_domain(text)
    assert canonical_domain(domain) == domain
    assert domain.isascii()


@given(
    st.lists(st.text("aZ09-_é", max_size=4), min_size=1, max_size=4).map(".".join),
    st.sampled_from(["", ".com", ".0x1", ".1", ".x--", ".", ".\n"]),
)
def test_what_is_canonical_as_it_comes_is_so_by_the_rules(name: str, end: str) -> None:
    # The space in front makes it take the long way.
    assert canonical_domain(name + end) == canonical_domain(" " + name + end)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=9),
    st.sampled_from(["com", "co.uk", "blogspot.com", "unknown"]),
    st.integers(0, 20),
)
def test_widened_hosts_are_parents_at_or_below_the_registrable_domain(
    labels: list[str], suffix: str, most: int
) -> None:
    host = ".".join([*labels, suffix])
    parents = widened_hosts(host, most)
    assert len(parents) == min(most, len(labels) - 1)
    for parent in parents:
        assert host.endswith("." + parent)
        assert parent.endswith(registrable_domain(host))
        assert not is_public_suffix(parent)
