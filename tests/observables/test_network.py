"""Networks, as feeds list them, and the addresses they hold."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.observables.network import (
    canonical_network,
    in_networks,
    is_in_network,
    is_internal,
    problem_with_network,
)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("198.51.100.0/24", "198.51.100.0/24"),
        (" 198.51.100.7/24 ", "198.51.100.0/24"),
        ("198.51.100.7/32", "198.51.100.7"),
        ("198.51.100.7/31", "198.51.100.6/31"),
        ("8.1.2.3/8", "8.0.0.0/8"),
        ("2001:DB8:0:1::1/32", "2001:db8::/32"),
        ("[2001:db8::]/48", "2001:db8::/48"),
        ("2001:db8::1/128", "2001:db8::1"),
        ("2001::/16", "2001::/16"),
        ("2001:db8::1/127", "2001:db8::/127"),
        ("::ffff:198.51.100.7/120", "198.51.100.0/24"),
        ("64:ff9b::198.51.100.7/128", "198.51.100.7"),
    ],
)
def test_a_network_has_one_spelling(text, network):
    assert canonical_network(text) == network
    assert problem_with_network(text) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("198.51.100.7/255.255.255.0", "address/prefix length"),
        ("198.51.100.0/", "address/prefix length"),
        ("198.51.100.0/024444", "address/prefix length"),
        ("198.51.100.0/²", "address/prefix length"),
        ("198.51.100.0/33", "longer than an address"),
        ("2001:db8::/129", "longer than an address"),
        ("198.51.100/24", "no IP address"),
        ("evil.example/24", "no IP address"),
        ("::ffff:198.51.100.0/95", "longer than an address"),
        ("0.0.0.0/0", "too wide: /8"),
        ("8.0.0.0/7", "too wide: /8"),
        ("2001::/15", "too wide: /16"),
        ("::/0", "too wide: /16"),
        ("::ffff:0:0/96", "too wide: /8"),
        ("10.0.0.0/8", "private, local or reserved"),
        ("192.168.7.0/24", "private, local or reserved"),
        ("fd00::/16", "private, local or reserved"),
        ("224.0.0.0/8", "private, local or reserved"),
    ],
)
def test_what_is_no_network_to_list_is_refused_with_its_reason(text, reason):
    assert canonical_network(text) == ""
    assert reason in problem_with_network(text)


@pytest.mark.parametrize(
    ("address", "internal"),
    [
        ("10.1.2.3", True),
        ("100.64.0.1", True),
        ("172.31.255.255", True),
        ("172.32.0.1", False),
        ("::1", True),
        ("fe80::1", True),
        ("2001:db8::1", False),
        ("203.0.113.7", False),
    ],
)
def test_an_internal_address_is_told_from_others(address, internal):
    assert is_internal(address) is internal


ADDRESSES = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.sampled_from(["10.1.2.3", "198.51.100.7", "198.51.100.8", "2001:db8::1"]).map(ip_address),
)


@st.composite
def networks(draw: st.DrawFn) -> str:
    address = draw(ADDRESSES)
    shortest = 8 if address.version == 4 else 16
    length = draw(st.integers(shortest, address.max_prefixlen - 1))
    return canonical_network(f"{address}/{length}")


@given(st.lists(ADDRESSES.map(str), unique=True), st.lists(networks().filter(bool), unique=True))
def test_the_index_finds_what_the_definition_says(addresses, listed):
    listed = [network for network in listed if "/" in network]
    expected = {(a, n) for a in addresses for n in listed if is_in_network(a, n)}
    found = list(in_networks(addresses, listed))
    assert set(found) == expected
    assert len(found) == len(expected)


@given(ADDRESSES.map(str), st.integers(8, 32))
def test_a_network_around_an_outside_address_holds_it(address, length):
    network = canonical_network(f"{address}/{length}")
    if not network or "/" not in network:
        return
    assert canonical_network(network) == network
    if ":" not in address:
        assert is_in_network(address, network) is not is_internal(address)
        assert ip_address(address) in ip_network(network)


@given(st.text())
def test_any_text_is_a_network_or_has_a_problem(text):
    network = canonical_network(text)
    assert bool(network) is not bool(problem_with_network(text))
    assert canonical_network(network) in ("", network)
