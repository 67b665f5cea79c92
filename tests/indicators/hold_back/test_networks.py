from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from retract.indicators.hold_back.networks import NetworkTable


def networks(version: int) -> st.SearchStrategy:
    """Few leading bits are drawn, so that many touch."""
    bits = 32 if version == 4 else 128
    return st.builds(
        lambda first, length: ip_network(((first << (bits - 8)), length), strict=False),
        st.integers(0, 255),
        st.integers(0, 12),
    )


ANY = st.one_of(networks(4), networks(6))


@given(st.lists(ANY, max_size=8), ANY)
def test_a_network_is_found_as_ipaddress_finds_it(listed, asked):
    table = NetworkTable((network, str(network)) for network in listed)
    same = [network for network in listed if network.version == asked.version]

    around = [network for network in same if asked.subnet_of(network)]
    narrowest = max(around, key=lambda network: network.prefixlen, default=None)
    assert table.around(asked) == (None if narrowest is None else str(narrowest))
    if narrowest is None:
        inside = {str(network) for network in same if network.subnet_of(asked)}
        assert (table.within(asked) in inside) if inside else (table.within(asked) is None)


def test_of_equal_networks_the_first_label_counts():
    network = ip_network("10.0.0.0/8")
    table = NetworkTable([(network, "first"), (network, "second")])
    assert table.around(ip_network("10.1.0.0/16")) == "first"
