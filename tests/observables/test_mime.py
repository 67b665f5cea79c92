"""What is seen in a message, and that nothing in one can stop us."""

from __future__ import annotations

import base64
import hashlib
import random
import time
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.model import Extraction, ObservableType
from retract.observables import gathering, structure
from retract.observables.mime import TrustedHeaders, extract

URL, DOMAIN, ADDRESS = ObservableType.URL, ObservableType.DOMAIN, ObservableType.EMAIL_ADDRESS
NAME, FILE, IP = (
    ObservableType.DISPLAY_NAME,
    ObservableType.FILE_NAME,
    ObservableType.IP_ADDRESS,
)


def seen(extraction: Extraction, type_: ObservableType) -> dict[str, str]:
    """Value → found_in."""
    return {one.value: one.found_in for one in extraction.observables if one.type is type_}


def compose(html: str | None = None, text: str = "Hello.", **headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = headers.pop("sender", "Ann <ann@a.example>")
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message


def test_headers() -> None:
    raw = compose(
        sender='"IT  Süpport" <Help@Evil.Example>',
        Subject="Ihr Päckchen\twartet",
        Message_ID="<1@evil.example>",
        Reply_To="other@reply.example, third@reply.example",
        Sender="Mailer <bounce@sender.example>",
        Return_Path="<bounce+1@return.example>",
    ).as_bytes()
    found = extract(raw)
    assert found.subject == "Ihr Päckchen wartet"
    assert found.internet_message_id == "<1@evil.example>"
    assert (found.sender_name, found.sender_address) == ("IT Süpport", "help@evil.example")
    assert seen(found, ADDRESS) == {
        "help@evil.example": "from",
        "bounce@sender.example": "sender",
        "other@reply.example": "reply_to",
        "third@reply.example": "reply_to",
        "bounce+1@return.example": "return_path",
    }
    assert seen(found, NAME) == {"it süpport": "from", "mailer": "sender"}
    assert seen(found, DOMAIN)["reply.example"] == "domain_of_address"
    assert found.problems == ()


@pytest.mark.parametrize(
    ("header", "name", "address"),
    [
        (b"=?utf-8?B?SVQgU8O8cHBvcnQ=?= <a@b.example>", "IT Süpport", "a@b.example"),
        (b"=?utf-8?Q?a=40b=2Eexample_=3Cc=40d=2Eexample=3E?=", "a@b.example", "c@d.example"),
        (b"=?no-such?B?QUJD?= <a@b.example>", "ABC", "a@b.example"),
        (b"=?utf-8?B?%%%?= <a@b.example>", "", "a@b.example"),
        (b"S\xfcpport <a@b.example>", "Süpport", "a@b.example"),
        ("Süpport <a@b.example>".encode(), "Süpport", "a@b.example"),
        (b'"x@bank.example" <a@b.example>', "x@bank.example", "a@b.example"),
        (b"a@b.example", "", "a@b.example"),
        (b"<a@b.example", "", "a@b.example"),
        (b"Name [mailto:a@b.example]", "", "a@b.example"),
        (b"Undisclosed", "", ""),
        (b"", "", ""),
        (b"(" * 3000 + b"a@b.example", "", "a@b.example"),
        (b"boss@bank.example <a@evil.example>", "boss@bank.example", "a@evil.example"),
        (b"One <a@b.example>, boss@bank.example", "One", "a@b.example"),
        (b"a@xn--bcher-kva.example", "", "a@xn--bcher-kva.example"),
    ],
)
def test_senders_as_phish_writes_them(header: bytes, name: str, address: str) -> None:
    found = extract(b"From: " + header + b"\nSubject: x\n\nHello.")
    assert found.sender_address == address
    if name:
        assert found.sender_name == name
    assert not [problem for problem in found.problems if "unexpected" in problem]


def test_two_from_headers_are_both_seen() -> None:
    found = extract(b"From: a@a.example\nFrom: b@b.example\n\nHello.")
    assert found.sender_address == "a@a.example"
    assert set(seen(found, ADDRESS)) == {"a@a.example", "b@b.example"}


def test_urls_of_html_and_text() -> None:
    raw = compose(
        text="Text http://text.example/a?b. Bare www.bare.com/x",
        html='<a href="https://user@HTML.example:8443/A/../B#c">http://shown.example/</a>'
        '<img src="http://3232235777/p.png">',
    ).as_bytes()
    found = extract(raw)
    assert seen(found, URL) == {
        "http://text.example/a?b": "text",
        "http://www.bare.com/x": "text",
        "https://html.example/B": "html",
        "http://192.168.1.1/p.png": "html",
        "http://shown.example/": "html",
    }
    assert seen(found, IP) == {"192.168.1.1": "ip_of_url"}
    assert seen(found, DOMAIN) == {
        "a.example": "domain_of_address",
        "text.example": "domain_of_url",
        "www.bare.com": "domain_of_url",
        "html.example": "domain_of_url",
        "shown.example": "domain_of_url",
    }


def test_both_forms_of_a_wrapped_url_are_kept() -> None:
    wrapped = "https://x.safelinks.protection.outlook.com/?url=" + quote(
        "https://evil.example/a", safe=""
    )
    opaque = "https://protect-eu.mimecast.com/s/AbC"
    raw = compose(html=f'<a href="{wrapped}&amp;data=1">x</a><a href="{opaque}">y</a>').as_bytes()
    assert seen(extract(raw), URL) == {
        "https://x.safelinks.protection.outlook.com/?url=https://evil.example/a&data=1": (
            "html:wrapped"
        ),
        "https://evil.example/a": "html:unwrapped",
        opaque: "html:wrapped_unresolved",
    }


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
def test_transfer_encodings(encoding: str) -> None:
    message = EmailMessage()
    message["From"] = "a@b.example"
    message.set_content(
        "<p>Grüße</p><a href='http://evil.example/a=b'>x</a>", subtype="html", cte=encoding
    )
    found = extract(message.as_bytes())
    assert seen(found, URL) == {"http://evil.example/a=b": "html"}


def test_attachments_are_hashed_decoded() -> None:
    content = b"%PDF-1.4 \x00\xff"
    message = compose()
    message.add_attachment(
        content, maintype="application", subtype="pdf", filename="Rechnung ä.PDF"
    )
    message.add_attachment(b"", maintype="application", subtype="zip", filename="empty.zip")
    found = extract(message.as_bytes())
    assert seen(found, FILE) == {"rechnung ä.pdf": "attachment", "empty.zip": "attachment"}
    for type_, algorithm in (
        (ObservableType.MD5, hashlib.md5),
        (ObservableType.SHA1, hashlib.sha1),
        (ObservableType.SHA256, hashlib.sha256),
    ):
        assert seen(found, type_) == {algorithm(content).hexdigest(): "attachment"}


def test_an_html_attachment_is_read_for_urls() -> None:
    message = compose()
    message.add_attachment(
        b"<form action='https://evil.example/post'>",
        maintype="application",
        subtype="octet-stream",
        filename="invoice.html",
    )
    assert seen(extract(message.as_bytes()), URL) == {"https://evil.example/post": "attachment"}


def _inner() -> EmailMessage:
    inner = compose(sender="Evil <evil@inner.example>", html="<a href='http://in.example/x'>x</a>")
    inner.add_attachment(b"MZ", maintype="application", subtype="x-msdownload", filename="a.exe")
    return inner


def _assert_inner_is_seen(raw: bytes) -> None:
    found = extract(raw)
    assert found.sender_address == "ann@a.example"
    assert seen(found, ADDRESS) == {
        "ann@a.example": "from",
        "evil@inner.example": "attached_message/from",
    }
    assert seen(found, URL) == {"http://in.example/x": "attached_message/html"}
    assert seen(found, FILE)["a.exe"] == "attached_message/attachment"
    assert hashlib.sha256(b"MZ").hexdigest() in seen(found, ObservableType.SHA256)


def test_an_attached_message_is_opened() -> None:
    outer = compose()
    outer.add_attachment(_inner())
    _assert_inner_is_seen(outer.as_bytes())


@pytest.mark.parametrize("subtype", ["octet-stream", "x-unknown"])
def test_an_attached_eml_file_is_opened(subtype: str) -> None:
    outer, inner = compose(), _inner().as_bytes()
    outer.add_attachment(inner, maintype="application", subtype=subtype, filename="Report.EML")
    raw = outer.as_bytes()
    _assert_inner_is_seen(raw)
    assert hashlib.sha256(inner).hexdigest() in seen(extract(raw), ObservableType.SHA256)
    assert seen(extract(raw), FILE)["report.eml"] == "attachment"


def test_a_digest_holds_messages() -> None:
    raw = (
        b"From: a@b.example\nContent-Type: multipart/digest; boundary=x\n\n--x\n\n"
        b"From: c@d.example\n\nhttp://in.example/x\n--x--\n"
    )
    found = extract(raw)
    assert seen(found, ADDRESS)["c@d.example"] == "attached_message/from"
    assert seen(found, URL) == {"http://in.example/x": "attached_message/text"}


def test_line_endings_do_not_matter() -> None:
    raw = compose(html="<a href='http://evil.example/x'>x</a>", Subject="Hi").as_bytes()
    crlf = raw.replace(b"\n", b"\r\n")
    assert extract(crlf) == extract(raw)


def test_a_message_that_is_only_a_body() -> None:
    found = extract(b"\n\nSee http://evil.example/x")
    assert found.problems == ("no headers",)
    assert seen(extract(b"not a header\nSee http://evil.example/x"), URL) == {
        "http://evil.example/x": "text"
    }


def test_parts_behind_a_missing_or_early_closing_boundary_are_read() -> None:
    head = b"From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\n"
    part = b"Content-Type: text/plain\n\nhttp://evil.example/%d\n"
    for body in (
        b"--x\n" + part % 1 + b"--x\n" + part % 2,
        b"--x\n" + part % 1 + b"--x--\n--x\n" + part % 2 + b"--x--\n",
    ):
        assert set(seen(extract(head + body), URL)) == {
            "http://evil.example/1",
            "http://evil.example/2",
        }


def test_a_multipart_without_its_boundary_is_read_as_text() -> None:
    found = extract(b"From: a@b.example\nContent-Type: multipart/mixed\n\nhttp://evil.example/1")
    assert seen(found, URL) == {"http://evil.example/1": "text"}
    assert found.problems == ("a multipart without parts was read as text",)


def test_the_fingerprint_is_of_what_is_shown() -> None:
    letter = "<p>Dear {}, your account is locked, please verify it soon</p>"
    one = extract(compose(html=letter.format("a1"), text="x").as_bytes())
    two = extract(compose(html=letter.format("b2"), text="y").as_bytes())
    assert one.body_fingerprint == two.body_fingerprint != ""
    plain = extract(compose(text="Your account is locked, please verify it soon").as_bytes())
    assert plain.body_fingerprint not in ("", one.body_fingerprint)


# --- bounds ---


def timed(raw: bytes, seconds: float = 5.0) -> Extraction:
    started = time.process_time()
    found = extract(raw)
    assert time.process_time() - started < seconds
    assert not [problem for problem in found.problems if "unexpected" in problem]
    return found


def _nested(depth: int) -> bytes:
    opened = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
        for level in range(depth)
    )
    return b"From: a@b.example\n" + opened + b"Content-Type: text/plain\n\nhttp://in.example/x\n"


def test_ten_thousand_nested_multiparts() -> None:
    found = timed(_nested(10_000))
    assert (
        f"nested deeper than {structure.MAX_DEPTH}: the inside was read as text" in found.problems
    )
    assert seen(found, URL) == {"http://in.example/x": "text"}


def test_ten_thousand_nested_messages() -> None:
    found = timed(b"From: a@b.example\nContent-Type: message/rfc822\n\n" * 10_000)
    assert found.sender_address == "a@b.example"
    assert any("nested deeper" in problem for problem in found.problems)


def test_ten_thousand_parts_beside_each_other() -> None:
    parts = b"".join(
        b"--x\nContent-Type: image/png; name=p%d.png\n\n%d\n" % (number, number)
        for number in range(10_000)
    )
    found = timed(b"From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\n" + parts)
    assert any("parts: the rest was not read" in problem for problem in found.problems)
    assert any("the rest was not hashed" in problem for problem in found.problems)
    assert len(seen(found, FILE)) == gathering.MAX_ATTACHMENTS


def test_more_urls_than_are_kept() -> None:
    text = "\n".join(f"http://h{number}.example/{number}" for number in range(20_000))
    found = timed(compose(text=text).as_bytes())
    assert len(seen(found, URL)) == gathering.MAX_URLS
    assert found.problems == ("too many URLs: the rest was left out",)


def test_a_url_longer_than_is_kept() -> None:
    found = timed(compose(html=f"<a href='http://e.example/a/{'b' * 100_000}'>x</a>").as_bytes())
    (url,) = seen(found, URL)
    assert url.startswith("http://e.example/a/b")
    assert len(url) == gathering.MAX_URL_LENGTH
    assert len(found.problems) == 1


def test_headers_longer_than_are_read() -> None:
    found = timed(b"From: a@b.example\nX: " + b"x" * 400_000 + b"\nSubject: late\n\nHello.")
    assert found.sender_address == "a@b.example"
    assert found.subject == ""
    assert found.problems == ("the headers are too long: the rest counts as body",)


_TOP = b"From: a@b.example\nMIME-Version: 1.0\n"
HOSTILE = {
    "empty": b"",
    "one byte": b"\xff",
    "nulls": b"\x00" * 1_000_000,
    "newlines": b"\n" * 3_000_000,
    "one header": b"a:" * 3_000_000,
    "many headers": b"a:\n" * 1_000_000,
    "semicolons": _TOP + b"Content-Type: text/plain" + b';"' * 100_000 + b"\n\nx",
    "parameters": _TOP + b"Content-Type: text/plain" + b";a=b" * 50_000 + b"\n\nx",
    "rfc2231": _TOP
    + b"Content-Disposition: attachment"
    + b"".join(b";\n filename*%d*=a" % number for number in range(900))
    + b"\n\nx",
    "rfc2231 mixed": _TOP
    + b"Content-Disposition: attachment; filename*=a''b; filename*0=c; filename*x=d\n\nx",
    "charset of nulls": _TOP + b"Content-Type: text/plain; charset*=a\x00b'x'%00\n\nx",
    "encoded words": b"Subject: " + b"=?a?q?x" * 2_000 + b"\nFrom: " + b"=?=?" * 3_000 + b"\n\nx",
    "commas": b"From: " + b"," * 100_000 + b"\n\nx",
    "parentheses": b"From: " + b"(" * 100_000 + b"\nReply-To: " + b"()" * 50_000 + b"\n\nx",
    "punycode body": _TOP + b"Content-Type: text/plain; charset=punycode\n\n" + b"a-" * 500_000,
    "utf-7 body": _TOP + b"Content-Type: text/plain; charset=utf-7\n\n" + b"+AAA-" * 500_000,
    "broken base64": _TOP + b"Content-Transfer-Encoding: base64\n\n" + b"====A" * 300_000,
    "broken uuencode": _TOP + b"Content-Transfer-Encoding: uuencode\n\nbegin x\nM\xff\xff\n",
    "dashes": _TOP + b'Content-Type: multipart/mixed; boundary="-"\n\n' + b"---\n" * 500_000,
    "empty boundary": _TOP + b'Content-Type: multipart/mixed; boundary=""\n\n' + b"--\n" * 100_000,
    "boundary of 8 bits": _TOP + b'Content-Type: multipart/mixed; boundary="\xff"\n\n--\xff\n\nx',
    "dots": _TOP + b"\n" + b"a." * 1_000_000,
    "hosts": _TOP + b"\n" + b"a.com" * 500_000,
    "brackets": _TOP + b"\nhttp://a.example/" + b")" * 2_000_000,
    "slashes": _TOP + b"\n" + b"http://" * 500_000,
    "html attributes": _TOP
    + b"Content-Type: text/html\n\n<a "
    + b" ".join(b"a%d" % number for number in range(100_000)),
    "many htmls": _TOP
    + b"Content-Type: multipart/mixed; boundary=x\n\n"
    + (b"--x\nContent-Type: text/html\n\n" + b"<font a>" * 4_000 + b"<p>" * 4_000 + b"\n") * 60,
    "deep parts with big bodies": _nested(30) + b"a.b " * 1_000_000,
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_messages(raw: bytes) -> None:
    timed(raw)


@given(st.binary(max_size=2_000))
def test_any_bytes(raw: bytes) -> None:
    check(extract(raw, trusted=TrustedHeaders(forefront=True, authserv_ids=("a",))))


_FRAGMENTS = st.sampled_from(
    [
        b"From: ", b"Subject: ", b"Content-Type: ", b"multipart/mixed; boundary=x", b"\n", b"\n\n",
        b"\r\n", b"\r", b"--x", b"--x--", b"text/html", b"; charset=", b"utf-8", b"utf-16",
        b"message/rfc822", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable", b"=",
        b"=?utf-8?q?", b"?=", b"<a href='", b"http://", b"[", b"]", b"@", b"evil.com", b"/", b"'",
        b"\xff", b"\x00", b"%", b"%41", b"Authentication-Results: a; dmarc=", b"fail", b";", b"(",
        b"X-Forefront-Antispam-Report: CAT:", b"PHSH", b"Received: from x (1.2.3.4) by y",
        b"Content-Disposition: attachment; filename*0*=", b"filename*=utf-8''%ff", b".eml", b'"',
        b"<base href=", b">", b" ", b"name=", b"\xe2\x84\x80.com",
    ]
)  # fmt: skip


@given(st.lists(_FRAGMENTS, max_size=60).map(b"".join))
def test_anything_like_a_message(raw: bytes) -> None:
    check(extract(raw, trusted=TrustedHeaders(forefront=True, authserv_ids=("a",))))


def check(found: Extraction) -> None:
    """What holds for every extraction: no internal error, and every value can be stored."""
    assert not [problem for problem in found.problems if "unexpected" in problem], found.problems
    values = [one.value for one in found.observables]
    for text in (found.subject, found.sender_name, found.internet_message_id, *values):
        text.encode("utf-8")
        assert "\x00" not in text
    assert all(values)
    assert len({(one.type, one.value) for one in found.observables}) == len(values)


# --- real mail ---


def test_every_real_and_malformed_message(real_mail: list[Path]) -> None:
    for path in real_mail:
        raw = path.read_bytes()
        started = time.process_time()
        found = extract(raw)
        assert time.process_time() - started < 2.0, path.name
        check(found)


def test_mutated_real_mail(real_mail: list[Path]) -> None:
    chance = random.Random(20_240_501)
    for path in chance.sample(real_mail, 120):
        raw = bytearray(path.read_bytes()[:60_000])
        for _ in range(chance.randint(1, 40)):
            at = chance.randrange(len(raw) + 1)
            match chance.randrange(4):
                case 0:
                    raw[at : at + chance.randint(1, 30)] = b""
                case 1:
                    raw[at:at] = chance.randbytes(chance.randint(1, 8))
                case 2:
                    raw[at : at + 1] = bytes([chance.choice(b'\r\n<>"=%;:-/@.[]()&?')])
                case _:
                    start = chance.randrange(len(raw) + 1)
                    raw[at:at] = raw[start : start + 200]
        started = time.process_time()
        check(extract(bytes(raw)))
        assert time.process_time() - started < 2.0, path.name


def test_real_phish_through_wrappers_is_seen(real_mail: list[Path]) -> None:
    """google.*/amp and awstrack.me occur in the data: their targets must come out."""
    hosts = set()
    for path in real_mail:
        for one in extract(path.read_bytes()).observables:
            if one.type is URL and one.found_in.endswith(":unwrapped"):
                hosts.add(one.value.split("/")[2])
    assert {"tosuchapel.info", "revision-online.info", "freebitco.in"} <= hosts


def test_base64_of_an_attached_message_is_decoded() -> None:
    encoded = base64.b64encode(_inner().as_bytes())
    raw = (
        b"From: ann@a.example\nContent-Type: message/rfc822\n"
        b"Content-Transfer-Encoding: base64\n\n" + encoded
    )
    assert "http://in.example/x" in seen(extract(raw), URL)
