from __future__ import annotations

import pytest
from pydantic import ValidationError

from retract.indicators.hold_back.rules import PUBLIC_SUFFIX, SHARED_HOST, HoldBack
from retract.indicators.hold_back.shared_hosts import SHARED_HOSTS
from retract.model import ObservableType as Type
from retract.observables.domain import canonical_domain


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Type.DOMAIN, "com", PUBLIC_SUFFIX),
        (Type.DOMAIN, "co.uk", PUBLIC_SUFFIX),
        (Type.DOMAIN, "blogspot.com", PUBLIC_SUFFIX),
        (Type.DOMAIN, "github.io", PUBLIC_SUFFIX),
        (Type.DOMAIN, "s3.amazonaws.com", PUBLIC_SUFFIX),
        (Type.DOMAIN, "t.co", SHARED_HOST),
        (Type.DOMAIN, "bit.ly", SHARED_HOST),
        (Type.DOMAIN, "www.dropbox.com", SHARED_HOST),
        (Type.DOMAIN, "docs.google.com", SHARED_HOST),
        (Type.DOMAIN, "forms.office.com", SHARED_HOST),
        (Type.DOMAIN, "sharepoint.com", SHARED_HOST),
        (Type.EMAIL_ADDRESS, "@gmail.com", SHARED_HOST),
        (Type.EMAIL_ADDRESS, "@co.uk", PUBLIC_SUFFIX),
        (Type.URL, "https://t.co/", SHARED_HOST),
        (Type.URL, "http://www.google.com/", SHARED_HOST),
    ],
)
def test_what_everybody_uses_is_held_back(kind, value, reason):
    assert HoldBack().reason(kind, value) == reason


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Type.DOMAIN, "evil.example"),
        (Type.DOMAIN, "evil.blogspot.com"),
        (Type.DOMAIN, "evil.github.io"),
        (Type.DOMAIN, "evil-tenant.sharepoint.com"),
        (Type.DOMAIN, "google.com.evil.example"),
        (Type.DOMAIN, "notgoogle.com"),
        (Type.EMAIL_ADDRESS, "bob@gmail.com"),
        (Type.EMAIL_ADDRESS, "@evil.example"),
        (Type.URL, "https://t.co/AbC"),
        (Type.URL, "https://docs.google.com/forms/d/1"),
        (Type.URL, "https://bit.ly/?x=1"),
        (Type.URL, "https://203.0.113.7/"),
        (Type.SHA256, "0" * 64),
        (Type.FILE_NAME, "com"),
    ],
)
def test_what_names_somebody_is_not(kind, value):
    assert HoldBack().reason(kind, value) is None


def test_own_domains_are_added():
    hold_back = HoldBack(domains=("Own.example", "*.big.example"))

    held = ["own.example", "www.own.example", "a.big.example", "a.b.big.example", "t.co"]
    free = ["sub.own.example", "big.example"]
    assert [hold_back.reason(Type.DOMAIN, host) for host in held] == [SHARED_HOST] * 5
    assert [hold_back.reason(Type.DOMAIN, host) for host in free] == [None] * 2


def test_what_is_no_domain_is_refused():
    with pytest.raises(ValidationError, match="is not a domain"):
        HoldBack(domains=("https://own.example/",))


def test_the_programs_own_list_is_canonical_and_holds_nothing_twice():
    hosts = [host.removeprefix("*.") for host in SHARED_HOSTS]
    assert [canonical_domain(host) for host in hosts] == hosts
    assert len(set(SHARED_HOSTS)) == len(SHARED_HOSTS)
