from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.allow import Allow, AllowRule
from retract.errors import FeedConfigurationError
from retract.indicators.hold_back.rules import (
    NAMED,
    NO_HOLD_BACK,
    OWN_ADDRESS,
    OWN_DOMAIN,
    PUBLIC_SUFFIX,
    SHARED_HOST,
    HoldBack,
)
from retract.indicators.hold_back.settings import HoldBackSettings
from retract.indicators.hold_back.shared_hosts import CUSTOMERS_BELOW, SHARED_HOSTS
from retract.model import ObservableType as Type
from retract.observables.domain import canonical_domain, is_public_suffix

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def hold_back() -> HoldBack:
    """By the settings as shipped."""
    return HoldBack.of(HoldBackSettings())


def without_lists(**settings: object) -> HoldBack:
    return HoldBack.of(HoldBackSettings.model_validate({"warninglists": False, **settings}))


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
        (Type.DOMAIN, "list-manage.com", SHARED_HOST),
        (Type.EMAIL_ADDRESS, "@gmail.com", SHARED_HOST),
        (Type.EMAIL_ADDRESS, "@co.uk", PUBLIC_SUFFIX),
        (Type.URL, "https://t.co/", SHARED_HOST),
        (Type.URL, "http://www.google.com/", SHARED_HOST),
    ],
)
def test_what_everybody_uses_is_held_back_even_without_lists(kind, value, reason):
    assert without_lists().reason(kind, value) == reason


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Type.DOMAIN, "cutt.us", "URL shortener (warninglist url-shortener)"),
        (Type.DOMAIN, "linktr.ee", "link-in-bio service (warninglist link-in-bio)"),
        (Type.DOMAIN, "telegra.ph", "trusted service that attackers use too"),
        (
            Type.DOMAIN,
            "login.windows.net",
            "belongs to Microsoft (warninglist microsoft-office365)",
        ),
        (Type.DOMAIN, "bnpparibas.com", "belongs to a bank (warninglist bank-website)"),
        (Type.DOMAIN, "secure.bnpparibas.com", "below bnpparibas.com: belongs to a bank"),
        (Type.DOMAIN, "lists.stanford.edu", "below stanford.edu: belongs to a university"),
        (Type.DOMAIN, "cgi.ebay.com", "below ebay.com: well known, in Tranco's 10,000"),
        (Type.DOMAIN, "us.click.yahoo.com", "below yahoo.com: well known, in Tranco's 10,000"),
        (Type.DOMAIN, "spamassassin.org", "well known, in Tranco's 1,000,000 most visited sites"),
        (Type.DOMAIN, "www.spamassassin.org", "well known, in Tranco's 1,000,000"),
        (Type.DOMAIN, "any.run", "a name below it is listed: malware analysis service"),
        (Type.EMAIL_ADDRESS, "@bnpparibas.com", "belongs to a bank"),
        (Type.EMAIL_ADDRESS, "abuse@evil.example", "address that every domain has for reports"),
        (Type.URL, "https://linktr.ee/", "link-in-bio service"),
        (Type.URL, "http://8.8.8.8/", "public DNS resolver"),
        (Type.URL, "http://[2001:4860:4860::8888]/", "public DNS resolver"),
        (
            Type.IP_ADDRESS,
            "209.85.220.41",
            "mail service: Google's sending addresses (warninglist google-gmail-sending-ips)",
        ),
        (Type.IP_ADDRESS, "10.1.2.3", "private network (warninglist rfc1918)"),
        (Type.IP_ADDRESS, "172.16.0.0/20", "private network"),
        (Type.IP_ADDRESS, "104.16.132.229", "content delivery: Cloudflare"),
        (Type.IP_ADDRESS, "2606:4700::6810:84e5", "content delivery: Cloudflare"),
        (Type.IP_ADDRESS, "1.0.0.0/7", "a network in it is listed: "),
        (Type.IP_ADDRESS, "0.0.0.0/0", "a network in it is listed: "),
        (Type.MD5, "d41d8cd98f00b204e9800998ecf8427e", "empty file (warninglist empty-hashes)"),
        (Type.SHA256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "empty"),
        (Type.SHA1, "da39a3ee5e6b4b0d3255bfef95601890afd80709", "empty file"),
    ],
)
def test_what_a_warninglist_names_is_held_back(hold_back, kind, value, words):
    assert (hold_back.reason(kind, value) or "").startswith(words)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Type.DOMAIN, "evil.example"),
        (Type.DOMAIN, "google.com.evil.example"),
        (Type.DOMAIN, "notgoogle.com.evil.example"),
        # strangers below shared hosts, whoever runs these
        (Type.DOMAIN, "evil.blogspot.com"),
        (Type.DOMAIN, "evil.blogspot.it"),
        (Type.DOMAIN, "evil.github.io"),
        (Type.DOMAIN, "evil-tenant.sharepoint.com"),
        (Type.DOMAIN, "evil.onmicrosoft.com"),
        (Type.DOMAIN, "evil.azurewebsites.net"),
        (Type.DOMAIN, "evil.blob.core.windows.net"),
        (Type.DOMAIN, "7.113.0.203.bc.googleusercontent.com"),
        (Type.DOMAIN, "evil.weebly.com"),
        (Type.DOMAIN, "evil.squarespace.com"),
        (Type.DOMAIN, "evil.teachable.com"),
        (Type.DOMAIN, "evil.duckdns.org"),
        (Type.DOMAIN, "evil.us1.list-manage.com"),
        (Type.DOMAIN, "evil.medium-login.example"),
        # below a name of which no more is known than that it is visited
        (Type.DOMAIN, "evil.spamassassin.org"),
        (Type.EMAIL_ADDRESS, "bob@gmail.com"),
        (Type.EMAIL_ADDRESS, "ceo@bnpparibas.com"),
        (Type.EMAIL_ADDRESS, "abuse"),
        (Type.EMAIL_ADDRESS, "abuse@"),
        (Type.EMAIL_ADDRESS, "@evil.example"),
        (Type.URL, "https://t.co/AbC"),
        (Type.URL, "https://docs.google.com/forms/d/1"),
        (Type.URL, "https://bit.ly/?x=1"),
        (Type.URL, "https://8.8.8.8/login"),
        (Type.URL, "https://203.0.113.7/"),
        (Type.URL, ""),
        # documentation: examples and tests name them
        (Type.IP_ADDRESS, "203.0.113.7"),
        (Type.IP_ADDRESS, "198.51.100.0/24"),
        (Type.IP_ADDRESS, "2001:db8::1"),
        (Type.IP_ADDRESS, "no address"),
        (Type.SHA256, "0" * 64),
        (Type.MD5, "44d88612fea8a8f36de82e1278abb02f"),  # EICAR
        (Type.FILE_NAME, "com"),
        (Type.DISPLAY_NAME, "google.com"),
        (Type.SUBJECT_PATTERN, "google.com"),
    ],
)
def test_what_names_somebody_is_not(hold_back, kind, value):
    assert hold_back.reason(kind, value) is None


def test_hosts_named_in_the_feeds_file_are_added():
    hold_back = without_lists(domains=("Own.example", "*.big.example"), hosting=("sites.example",))

    held = ["own.example", "www.own.example", "a.big.example", "a.b.big.example", "sites.example"]
    free = ["sub.own.example", "evil.sites.example"]
    assert [hold_back.reason(Type.DOMAIN, host) for host in held] == [NAMED] * len(held)
    assert [hold_back.reason(Type.DOMAIN, host) for host in free] == [None] * 2
    # It would also hit what is named below it.
    assert hold_back.reason(Type.DOMAIN, "big.example") == NAMED


def test_below_a_named_hosting_company_are_its_customers(hold_back):
    told = HoldBack.of(HoldBackSettings(hosting=("ebay.com",)))

    assert hold_back.reason(Type.DOMAIN, "cgi.ebay.com") is not None
    assert told.reason(Type.DOMAIN, "cgi.ebay.com") is None
    assert told.reason(Type.DOMAIN, "ebay.com") == NAMED


@pytest.mark.parametrize("given", ["settings", "mailboxes"])
def test_the_organisations_own_domains_are_held_back(given):
    own = ("mail.contoso.example",)
    hold_back = (
        without_lists(own_domains=own)
        if given == "settings"
        else HoldBack.of(HoldBackSettings(warninglists=False), own_domains=own)
    )

    def reason(kind: Type, value: str) -> str | None:
        return hold_back.reason(kind, value)

    for host in ("mail.contoso.example", "contoso.example", "a.b.mail.contoso.example"):
        assert reason(Type.DOMAIN, host) == OWN_DOMAIN
        assert reason(Type.DOMAIN, f"www.{host}") == OWN_DOMAIN
        assert reason(Type.EMAIL_ADDRESS, f"@{host}") == OWN_DOMAIN
        assert reason(Type.URL, f"https://{host}/") == OWN_DOMAIN
        assert reason(Type.URL, f"https://{host}/page") is None
    assert reason(Type.EMAIL_ADDRESS, "ceo@mail.contoso.example") == OWN_ADDRESS
    assert reason(Type.EMAIL_ADDRESS, "ceo@hr.mail.contoso.example") == OWN_ADDRESS
    assert reason(Type.EMAIL_ADDRESS, "ceo@contoso.example") is None
    assert reason(Type.DOMAIN, "other.contoso.example") is None
    assert reason(Type.DOMAIN, "notcontoso.example") is None


def test_of_the_mailboxes_domains_what_is_no_domain_of_ones_own_does_not_count():
    hold_back = HoldBack.of(
        HoldBackSettings(warninglists=False),
        own_domains=["", "no domain", "com", "Contoso.EXAMPLE."],
    )

    assert hold_back.reason(Type.DOMAIN, "evil.com") is None
    assert hold_back.reason(Type.DOMAIN, "contoso.example") == OWN_DOMAIN


def test_what_the_policy_allows_is_held_back_with_its_reason():
    rules = [
        AllowRule(value=value, reason=f"partner {number}")
        for number, value in enumerate(
            ["partner.example", "198.51.100.0/24", "a" * 64, "https://evil.example/page"]
        )
    ]
    hold_back = HoldBack.of(HoldBackSettings(warninglists=False), allow=Allow.at(rules, NOW))

    held = [
        (Type.DOMAIN, "shop.partner.example", "allow list: partner 0"),
        (Type.URL, "https://partner.example/", "allow list: partner 0"),
        (Type.IP_ADDRESS, "198.51.100.7", "allow list: partner 1"),
        (Type.SHA256, "a" * 64, "allow list: partner 2"),
    ]
    for kind, value, reason in held:
        assert hold_back.reason(kind, value) == reason
    # Of these the decision says that a rule beat them: they match.
    assert hold_back.reason(Type.URL, "https://evil.example/page") is None
    assert hold_back.reason(Type.URL, "https://partner.example/page") is None


def test_without_hold_back_nothing_is():
    for kind, value in [(Type.DOMAIN, "com"), (Type.IP_ADDRESS, "10.0.0.1"), (Type.URL, "//t.co")]:
        assert NO_HOLD_BACK.reason(kind, value) is None


def test_popularity_counts_as_far_as_it_is_wanted(tmp_path):
    def held(**settings: object) -> list[bool]:
        hold_back = HoldBack.of(HoldBackSettings.model_validate(settings))
        hosts = ["spamassassin.org", "cgi.ebay.com", "new-and-big.example"]
        return [hold_back.reason(Type.DOMAIN, host) is not None for host in hosts]

    own = tmp_path / "top-1m.csv"
    own.write_text("1,google.com\n2,new-and-big.example\n", encoding="ascii")

    assert held() == [True, True, False]
    assert held(popular="10k") == [False, True, False]
    assert held(popular="off") == [False, False, False]
    assert held(leave_out=["tranco"]) == [False, True, False]
    assert held(tranco=own) == [False, True, True]
    assert held(tranco=own, tranco_rank=1) == [False, True, False]
    assert held(warninglists=False) == [False, False, False]
    assert held(warninglists=False, tranco=own) == [False, False, True]


def test_an_own_list_that_is_none_is_refused_with_its_name(tmp_path):
    page = tmp_path / "top-1m.csv"
    page.write_text("<!DOCTYPE html>\n", encoding="ascii")

    with pytest.raises(FeedConfigurationError, match=r"top-1m\.csv is no list .* line 1"):
        HoldBack.of(HoldBackSettings(tranco=page)).reason(Type.DOMAIN, "new-and-big.example")


# --- digest ---


def test_the_digest_changes_with_all_that_reasons_depend_on(tmp_path, monkeypatch):
    own = tmp_path / "top-1m.csv"
    own.write_text("1,google.com\n", encoding="ascii")
    settings = HoldBackSettings(tranco=own)
    rule = AllowRule(value="partner.example", reason="partner")

    def digest() -> str:
        return HoldBack.of(settings).digest

    same = digest()
    others = [
        HoldBack.of(HoldBackSettings()).digest,
        HoldBack.of(settings.model_copy(update={"domains": ("big.example",)})).digest,
        HoldBack.of(settings, own_domains=["contoso.example"]).digest,
        HoldBack.of(settings, allow=Allow([rule])).digest,
        NO_HOLD_BACK.digest,
    ]
    own.write_text("1,google.com\n2,new-and-big.example\n", encoding="ascii")
    others.append(digest())
    own.write_text("1,google.com\n", encoding="ascii")
    assert digest() == same
    with monkeypatch.context() as patch:
        patch.setattr("retract.indicators.hold_back.rules.package_version", lambda: "99.0")
        others.append(digest())
    assert len({same, *others}) == len(others) + 1


def test_the_digest_does_not_depend_on_order_or_on_where_an_own_list_lies(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("1,google.com\n", encoding="ascii")

    settings = [HoldBackSettings(tranco=tmp_path / name) for name in ("a.csv", "b.csv")]
    first, second = (
        HoldBack.of(one, own_domains=own).digest
        for one, own in zip(
            settings, [["a.example", "b.test"], ["b.test", "A.example"]], strict=True
        )
    )

    assert first == second


def test_the_digest_reads_no_list(monkeypatch):
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail("a list was read"))
    assert len(HoldBack.of(HoldBackSettings()).digest) == 64


def test_a_missing_own_list_is_told_with_its_path(tmp_path):
    hold_back = HoldBack.of(HoldBackSettings(tranco=tmp_path / "missing.csv"))
    with pytest.raises(FeedConfigurationError, match=r"hold_back.tranco: .*missing\.csv"):
        _ = hold_back.digest


# --- what holds for any indicator ---

_WORDS = """
www a evil google docs sharepoint blogspot windows core blob ebay cgi com co uk org net edu
stanford amazonaws s3 localto sites big own example xn--p1ai ck kobe jp city github io t yahoo
wikipedia en customer-oci oci weebly teachable medium
"""
_LABELS = st.sampled_from(_WORDS.split())
_HOSTS = st.lists(_LABELS, min_size=1, max_size=5).map(".".join).filter(canonical_domain)


@pytest.fixture(
    scope="module",
    params=[
        {},
        {"popular": "10k"},
        {"popular": "off"},
        {"warninglists": False},
        {"hosting": ["ebay.com"], "domains": ["*.big.example", "a.evil.org"]},
    ],
    ids=lambda settings: " ".join(settings) or "as shipped",
)
def any_hold_back(request) -> HoldBack:
    settings = HoldBackSettings.model_validate(request.param)
    hold_back = HoldBack.of(settings, own_domains=["own.example", "a.own.co.uk"])
    for kind, value in [(Type.DOMAIN, "a.evil.test"), (Type.IP_ADDRESS, "::"), (Type.MD5, "")]:
        hold_back.reason(kind, value)  # reads the lists
    return hold_back


@given(kind=st.sampled_from(Type), value=st.text())
def test_every_text_gets_an_answer_on_one_line(any_hold_back, kind, value):
    reason = any_hold_back.reason(kind, value)
    assert reason is None or reason.isprintable()


@given(
    kind=st.sampled_from([Type.DOMAIN, Type.EMAIL_ADDRESS, Type.URL, Type.IP_ADDRESS]),
    value=st.text(alphabet=st.sampled_from("@.:/[]%0a1fxn-é\ud800 \n"), max_size=30),
)
def test_every_text_that_looks_like_a_value_gets_an_answer(any_hold_back, kind, value):
    reason = any_hold_back.reason(kind, value)
    assert reason is None or reason.isprintable()


@given(host=_HOSTS)
def test_a_wider_domain_is_never_freer_than_one_below_it(any_hold_back, host):
    held = any_hold_back.reason(Type.DOMAIN, host) is not None
    while held and "." in host:
        host = host.partition(".")[2]
        assert any_hold_back.reason(Type.DOMAIN, host) is not None, host


@given(host=_HOSTS.filter(lambda host: not is_public_suffix(f"www.{host}")))
def test_www_in_front_changes_nothing(any_hold_back, host):
    if is_public_suffix(host):
        return  # www.gov.uk is one site, gov.uk are many
    bare, www = (any_hold_back.reason(Type.DOMAIN, one) for one in (host, f"www.{host}"))
    assert bare == www


@given(host=_HOSTS)
def test_a_domain_its_addresses_and_its_front_page_are_judged_alike(any_hold_back, host):
    reason = any_hold_back.reason(Type.DOMAIN, host)
    assert any_hold_back.reason(Type.EMAIL_ADDRESS, f"@{host}") == reason
    assert any_hold_back.reason(Type.URL, f"http://{host}/") == reason


@given(st.ip_addresses(), st.integers(0, 128), st.integers(0, 128))
def test_a_wider_network_is_never_freer_than_one_in_it(any_hold_back, address, one, other):
    narrow, wide = max(one, other), min(one, other)
    if narrow > address.max_prefixlen:
        return
    if any_hold_back.reason(Type.IP_ADDRESS, f"{address}/{narrow}") is not None:
        assert any_hold_back.reason(Type.IP_ADDRESS, f"{address}/{wide}") is not None


# --- the program's own hosts ---


def test_the_programs_own_hosts_are_canonical_and_none_is_named_twice():
    hosts = [host.removeprefix("*.") for host in SHARED_HOSTS]
    customers = sorted(CUSTOMERS_BELOW)
    assert [canonical_domain(host) for host in hosts] == hosts
    assert [canonical_domain(host) for host in customers] == customers
    assert len({*SHARED_HOSTS, *customers}) == len(SHARED_HOSTS) + len(customers)
    assert not any(is_public_suffix(host) for host in customers)


def test_what_the_settings_release_no_list_holds_back():
    held = HoldBack.of(HoldBackSettings())
    freed = HoldBack.of(HoldBackSettings(release=("tinyurl.com", "kernel.org")))
    for host in ("tinyurl.com", "www.tinyurl.com", "git.kernel.org"):
        assert held.reason(Type.DOMAIN, host)
        assert freed.reason(Type.DOMAIN, host) is None
    assert freed.reason(Type.DOMAIN, "bit.ly")
    assert freed.digest != held.digest


def test_what_is_released_is_still_held_back_where_it_is_named_or_the_organisations_own():
    settings = HoldBackSettings(release=("kernel.org", "tinyurl.com"), domains=("tinyurl.com",))
    hold_back = HoldBack.of(settings, own_domains=["kernel.org"])
    assert hold_back.reason(Type.DOMAIN, "git.kernel.org") == OWN_DOMAIN
    assert hold_back.reason(Type.DOMAIN, "tinyurl.com") == NAMED
