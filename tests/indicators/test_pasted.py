"""What an analyst pastes: advisories, mails, tables, chats."""

from __future__ import annotations

import time
from textwrap import dedent

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from retract.indicators.pasted import NotUnderstood, Pasted, pasted
from retract.model import ObservableType as Type
from retract.observables.lookup import canonical_value
from retract.reports.text import defanged


def values(text: str) -> list[tuple[str, str]]:
    return [(found.type.value, found.value) for found in pasted(text).found]


def only(text: str) -> str:
    [found] = pasted(text).found
    return found.value


ADVISORY = dedent("""\
    TLP:AMBER
    CERT advisory 2026-014: credential phishing against universities (T1566.002, CVE-2026-1234)

    Summary
    Since 2026-02-11 at 10.30 UTC mails that pretend to come from the library (e.g. "Your account
    expires in 24 hrs.") lead to a copy of the sign-in page. The kit is v2.3; see annex.pdf.

    1. Indicators of compromise

    URLs
      • hxxps://library-renewal[.]com/login.php?id=7
      • hxxps[://]sso.library-renewal[.]com/
      • hxxp://203[.]0[.]113[.]77:8080/x/gate.php

    Domains: library-renewal[.]com, library–help is NOT part of it
    mx1(dot)renewal-notice{.}org; news-bib.info

    E-mail: support@library-renewal[.]com / no-reply (at) renewal-notice (dot) org

    | File name        | SHA-256                                                          |
    |------------------|------------------------------------------------------------------|
    | Invoice_0211.zip | 9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08 |
    MD5:    d41d8cd98f00b204e9800998ecf8427e
    imphash: f34d5f2d4577ed6d9ceec516c1f5a744
    SHA512: cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e
    C2: 198.51.100[.]23:443, [2001:db8::23]
    """)  # noqa: E501


def test_an_advisory_of_a_cert() -> None:
    found, not_understood = pasted(ADVISORY)
    assert [(one.line, one.type.value, one.value) for one in found] == [
        (11, "url", "https://library-renewal.com/login.php?id=7"),
        (12, "url", "https://sso.library-renewal.com/"),
        (13, "url", "http://203.0.113.77/x/gate.php"),
        (15, "domain", "library-renewal.com"),
        (16, "domain", "mx1.renewal-notice.org"),
        (16, "domain", "news-bib.info"),
        (18, "email_address", "support@library-renewal.com"),
        (18, "email_address", "no-reply@renewal-notice.org"),
        (22, "sha256", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        (23, "md5", "d41d8cd98f00b204e9800998ecf8427e"),
        (26, "ip_address", "198.51.100.23"),
        (26, "ip_address", "2001:db8::23"),
    ]
    assert [(one.line, one.text[:12]) for one in not_understood] == [
        (6, "annex.pdf"),
        (24, "f34d5f2d4577"),
        (25, "cf83e1357eef"),
    ]
    assert "imphash" in not_understood[1].reason
    assert "128 hex digits" in not_understood[2].reason


OUTLOOK = dedent("""\
    Von: Mailbox Service <it-service@mail-quota.net>
    Gesendet: Montag, 2. März 2026 08:14
    An: Ann North <ann@north.example>
    Cc: bob@north.example; Carol <carol@north.example>
    Betreff: Ihr Postfach ist voll

    Sehr geehrte Frau North,

    melden Sie sich unter www.north.example<https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fmail-quota.net%2Fowa%2F%3Fu%3Dann&data=05%7C02&sdata=x&reserved=0> an.
    [cid:image001.png@01DC9A3F.4B7C1E20]
    IT-Service<mailto:it-service@mail-quota.net?subject=Postfach> | Tel: +49 30 1234567
    https://urldefense.com/v3/__https://mail-quota.net/b.php__;!!AbC!x-Y_z$
    https://protect-eu.mimecast.com/s/AbCdEfGh1234
    """)  # noqa: E501


def test_a_mail_out_of_outlook() -> None:
    found, not_understood = pasted(OUTLOOK)
    assert [(one.line, one.value, one.note.partition(":")[0]) for one in found] == [
        (1, "it-service@mail-quota.net", ""),
        (
            9,
            "https://mail-quota.net/owa/?u=ann",
            "was wrapped by eur01.safelinks.protection.outlook.com",
        ),
        (12, "https://mail-quota.net/b.php", "was wrapped by urldefense.com"),
        (13, "https://protect-eu.mimecast.com/s/AbCdEfGh1234", "wrapped"),
    ]
    assert [one.line for one in not_understood] == [3, 4]
    assert "recipients" in not_understood[0].reason


CELLS = dedent("""\
    indicator,type,first seen,comment
    "hxxps://pay-portal[.]com/a,b/c?x=1,2",url,2026-01-01T10:00:00.000Z,"landing page, live"
    pay-portal.com,domain,2026-01-01T10:00:00.000Z,
    http://pay-portal.com/kit.zip,url,2026-01-02,kit
    billing@pay-portal.com,email,,sender
    """)


def test_cells_of_a_csv_file() -> None:
    assert values(CELLS) == [
        ("url", "https://pay-portal.com/a,b/c?x=1,2"),
        ("domain", "pay-portal.com"),
        ("url", "http://pay-portal.com/kit.zip"),
        ("email_address", "billing@pay-portal.com"),
    ]
    assert values(CELLS.replace(",", ";").replace("a;b/c?x=1;2", "a,b")) == [
        ("url", "https://pay-portal.com/a,b"),
        ("domain", "pay-portal.com"),
        ("url", "http://pay-portal.com/kit.zip"),
        ("email_address", "billing@pay-portal.com"),
    ]


CHAT = dedent("""\
    [09:41] Ann North
    @Bob can you block these, 3 people clicked already 😬
    hxxps://docs-share[.]app/view/9f2a\u200b
    <https://docs-share.app/dl|docs.google.com> and [the invoice](https://docs-share.app/inv_(1).html "Invoice").
    [09:42] Bob
    sure. also docs-share\u00ad[.]app itself? sender was "DocuSign" <dse@docs-share.app>.
    """)  # noqa: E501


def test_a_chat() -> None:
    found, not_understood = pasted(CHAT)
    assert [(one.line, one.value) for one in found] == [
        (3, "https://docs-share.app/view/9f2a"),
        (4, "https://docs-share.app/dl"),
        (4, "https://docs-share.app/inv_(1).html"),
        (6, "docs-share.app"),
        (6, "dse@docs-share.app"),
    ]
    assert [(one.line, one.text) for one in not_understood] == [(4, "docs.google.com")]
    assert "leads elsewhere" in not_understood[0].reason


HTML = dedent("""\
    <!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"
      "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">
    <html xmlns="http://www.w3.org/1999/xhtml"><body>
    <td><a style="color:#fff"
      href="https://secure-id.co/verify?a=1&amp;b=2">https://www.bank.com/
      login</a></td>
    <img src='http://secure-id.co/pixel.gif'>
    <a href=hxxp://secure-id[.]co/2>secure-id.co</a>
    """)


def test_the_source_of_a_page() -> None:
    found, not_understood = pasted(HTML)
    assert [(one.line, one.value) for one in found] == [
        (4, "https://secure-id.co/verify?a=1&b=2"),
        (7, "http://secure-id.co/pixel.gif"),
        (8, "http://secure-id.co/2"),
    ]
    assert [one.text for one in not_understood] == ["https://www.bank.com/"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("IOC: hxxp://evil[.]com/a", "http://evil.com/a"),
        ("ioc:url:hxxp://evil[.]com/a", "http://evil.com/a"),
        ("url=http://evil.com/a", "http://evil.com/a"),
        ("mailto:eve@evil.com?subject=x", "eve@evil.com"),
        ("sha1: " + "AB" * 20, "ab" * 20),
        ("1) evil.com", "evil.com"),
        ("- [ ] evil.com", "evil.com"),
        ("**evil.com**,", "evil.com"),
        ("(“evil.com”).", "evil.com"),
        ("[evil[.]com]", "evil.com"),
        ("<evil.com>", "evil.com"),
        ("*.evil.com", "evil.com"),
        ("evil.com:8443", "evil.com"),
        ("evil.com/a?b=c;d", "http://evil.com/a?b=c;d"),
        ("http:\\\\evil.com\\a", "http://evil.com/a"),
        ("//evil.com/a", "http://evil.com/a"),
        ("(http://evil.com/a_(b))", "http://evil.com/a_(b)"),
        ("'http://evil.com/a'", "http://evil.com/a"),
        ("http://evil.com/a!", "http://evil.com/a"),
        ("evil [.] com", "evil.com"),
        ("eve[at]evil[dot]com", "eve@evil.com"),
        ("@evil.com", "@evil.com"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1", "fe80::1"),
        ("203.0.113.7/login", "http://203.0.113.7/login"),
        ("bücher-gewinn.de", "xn--bcher-gewinn-dlb.de"),
        ("evil[.]corp-internal", "evil.corp-internal"),
        ("_x.evil.com", "_x.evil.com"),
        ("readme.md", "readme.md"),
        ("• setup.zip", "setup.zip"),
        ("Domain: setup.zip", "setup.zip"),
        ("open setup[.]zip now", "setup.zip"),
        ("http://x.co/r?u=https://y.co/z", "http://x.co/r?u=https://y.co/z"),
    ],
)  # fmt: skip
def test_one_value_as_people_write_it(written: str, value: str) -> None:
    assert only(written) == value
    assert pasted(written).not_understood == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("evil.com, evil.net;evil.org", ["evil.com", "evil.net", "evil.org"]),
        ("http://a.co/1,http://b.co/2", ["http://a.co/1", "http://b.co/2"]),
        ("('http://a.co/1','http://b.co/2')", ["http://a.co/1", "http://b.co/2"]),
        ('"a.co"|"b.co"', ["a.co", "b.co"]),
        ("1.2.3.4 -> 5.6.7.8", ["1.2.3.4", "5.6.7.8"]),
        ("http://a.co/x,y;z.html", ["http://a.co/x,y;z.html"]),
        ("evil.com\tdomain\t90", ["evil.com"]),
        ("evil.com and EVIL[.]com", ["evil.com"]),
    ],
)
def test_several_values_on_a_line(line: str, expected: list[str]) -> None:
    assert [value for _, value in values(line)] == expected


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Dear all,",
        "e.g. on 12.05.2024 and/or at 10:30, 24/7, i.e. always...",
        "v1.2.3 of 3.4 kg costs 1,234.56 € (+19 %)",
        "see std::vector, a::b and C++",
        "@Bob please",
        "Subject: Re: AW: your order #1234567890123456",
        "-----BEGIN-----",
        "call tel:+491234567 or cid:image001.png@01D9ABCD.12345678",
        "T1566.002",
        "[x](y)",
    ],
)
def test_what_is_plainly_words_is_passed_over(words: str) -> None:
    assert pasted(words) == Pasted((), ())


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        ("invoice.pdf", "invoice.pdf", "no such public suffix"),
        ("open the setup.zip", "setup.zip", "file's name or a domain"),
        ("corp.local", "corp.local", "no such public suffix"),
        ("999.1.1.1", "999.1.1.1", "no valid IP"),
        ("tcp://1.2.3.4:4444", "tcp://1.2.3.4:4444", "not a valid url"),
        ("hxxp://localhost/x", "hxxp://localhost/x", "not a valid url"),
        ("hxxps://", "hxxps://", "not a valid url"),
        ("eve@corp.local", "eve@corp.local", "no such public suffix"),
        ("d41d8cd98f00b204e9800998ecf8427", "d41d8cd98f00b204e9800998ecf8427", "31 hex digits"),
        ("ssdeep:3:abc:def", "ssdeep:3:abc:def", "no ssdeep"),
        ("AB:CD:EF:00:11:22:33:44:55:66:77", "AB:CD:EF:00:11:22:33:44:55:66:77", "fingerprint"),
        ("Message-ID: <1@evil.com>", "Message-ID: <1@evil.com>", "messages"),
    ],
)
def test_what_may_have_been_meant_is_told(line: str, text: str, said: str) -> None:
    found, (told,) = pasted("first line\n" + line)
    assert found == ()
    assert (told.line, told.text) == (2, text)
    assert said in told.reason


def test_a_broken_value_beside_a_sound_one_is_told() -> None:
    found, not_understood = pasted("evil.com hxxp://localhost/ invoice.pdf")
    assert [one.value for one in found] == ["evil.com"]
    assert [one.text for one in not_understood] == ["hxxp://localhost/"]


def test_with_a_type_each_line_is_one_value() -> None:
    text = "- Rechnung Nr. 4711.zip\n\n“Scan 2026.pdf”\n"
    assert [one.value for one in pasted(text, Type.FILE_NAME).found] == [
        "rechnung nr. 4711.zip",
        "scan 2026.pdf",
    ]
    found, not_understood = pasted("corp.local\nhttp://evil.com/\n", Type.DOMAIN)
    assert [one.value for one in found] == ["corp.local"]
    assert [(one.line, one.text) for one in not_understood] == [(2, "http://evil.com/")]
    wrapped = "https://eur01.safelinks.protection.outlook.com/?url=http%3A%2F%2Fevil.com%2F"
    assert only_typed(wrapped, Type.URL) == "http://evil.com/"


def only_typed(text: str, kind: Type) -> str:
    [found] = pasted(text, kind).found
    assert found.type is kind
    return found.value


# --- properties ---

_PIECES = st.sampled_from(
    [
        *("hxxp://", "https://", "[.]", ".", "@", "[at]", "evil", "com", "/", "<", ">", "[", "]("),
        *(")", '"', "'", ",", ";", "|", "</a>", "mailto:", "1.2.3.4", "::", "%", "\u200b"),
        *("\u202e", "\x00", "\udc80", "é", "。", "=", ":", "url:", "ssdeep:", "-", "1)", "::1"),
        *("fe80::", "\n", "\r", "\t", " ", "<a href=", "To: ", "a" * 32),
    ]
)


@given(st.one_of(st.text(), st.lists(_PIECES).map("".join)), st.sampled_from(["auto", *Type]))
def test_any_text_is_read_and_every_value_is_canonical(text: str, kind: Type) -> None:
    found, not_understood = pasted(text, kind)
    lines = max(len(text.splitlines()), 1)
    for one in found:
        assert canonical_value(one.type, one.value) == one.value != ""
        assert kind in ("auto", one.type)
    for said in (*found, *not_understood):
        assert 1 <= said.line <= lines
    assert len({(one.type, one.value) for one in found}) == len(found)
    assert all(isinstance(one, NotUnderstood) and one.reason for one in not_understood)


_LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_DOMAINS = st.builds(
    "{}.{}".format,
    st.lists(_LABELS, min_size=1, max_size=3).map(".".join),
    st.sampled_from(["com", "co.uk", "org", "app", "xn--p1ai", "zip", "internal"]),
).filter(lambda domain: canonical_value(Type.DOMAIN, domain) == domain)
_URLS = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https"]),
    _DOMAINS,
    st.from_regex(
        r"(/[A-Za-z0-9._~!$&'()*+=:@%-]{0,12}){0,4}(\?[A-Za-z0-9=&%/?.-]{0,20})?", fullmatch=True
    ),
).map(lambda url: canonical_value(Type.URL, url))  # fmt: skip
_ADDRESSES = st.builds(
    "{}@{}".format,
    st.from_regex(r"[a-z0-9_]([a-z0-9._+-]{0,10}[a-z0-9])?", fullmatch=True),
    _DOMAINS,
)
_HASHES = st.sampled_from([(Type.MD5, 32), (Type.SHA1, 40), (Type.SHA256, 64)]).flatmap(
    lambda kind: st.tuples(
        st.just(kind[0]), st.text("0123456789abcdef", min_size=kind[1], max_size=kind[1])
    )
)
_CANONICAL = st.one_of(
    st.tuples(st.just(Type.DOMAIN), _DOMAINS),
    st.tuples(st.just(Type.URL), _URLS),
    st.tuples(st.just(Type.EMAIL_ADDRESS), _ADDRESSES),
    st.tuples(st.just(Type.IP_ADDRESS), st.ip_addresses().map(str)),
    _HASHES,
)


@given(_CANONICAL, st.sampled_from(["{}", "- {}", "IOC: {}", "<{}>", '"{}",', "| {} |", "{};"]))
@example((Type.IP_ADDRESS, "::ffff:1.2.3.4"), "{}")
def test_what_the_program_shows_can_be_pasted_back(shown: tuple[Type, str], around: str) -> None:
    kind, value = shown
    value = canonical_value(kind, value)
    if kind is Type.IP_ADDRESS:
        assume(any(character.isdigit() for character in value))  # a::b is C++
    else:
        assume(value[-1] not in ".:!?'*~)")  # ends as a sentence does
    found, not_understood = pasted(around.format(defanged(value)))
    assert [(one.type, one.value) for one in found] == [(kind, value)]
    assert not_understood == ()


@pytest.mark.parametrize(
    "piece",
    [
        *"a[<.( @\né",
        *("](", "[x](", "<a ", '<a href="', "a:", "a/,", "%25", "a.b,", "<http://a|", "xmlns='"),
        *("[.]", "1.", "https://", "To: ", "<!doctype"),
    ],
)
def test_long_text_takes_time_in_proportion(piece: str) -> None:
    started = time.perf_counter()
    pasted(piece * (200_000 // len(piece)))
    assert time.perf_counter() - started < 10
