"""Looking inside wrapped URLs."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.observables.rewriters import is_opaque
from retract.observables.url import MAX_UNWRAP_DEPTH, MAX_UNWRAP_LENGTH, unwrap

INNER = "https://evil.example/login.php?id=7&to=a%40b.example"
ESCAPED = quote(INNER, safe="")
COLON_KEPT = quote(INNER, safe=":")
BASE64 = base64.urlsafe_b64encode(INNER.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "wrapped",
    [
        f"https://nam02.safelinks.protection.outlook.com/?url={ESCAPED}&data=05%7C01&reserved=0",
        f"https://nam02.safelinks.protection.outlook.com/ap/t-59584e83/?url={ESCAPED}&amp;data=0",
        f"https://gcc01.safelinks.protection.office365.us/?data=1&amp;url={ESCAPED}",
        f"HTTPS://EUR01.SafeLinks.Protection.Outlook.com:443/?URL={ESCAPED}",
        "https://statics.teams.cdn.office.net/evergreen-assets/safelinks/1/atp-safelinks.html"
        f"?url={ESCAPED}&locale=en",
        f"https://urldefense.proofpoint.com/v1/url?u={ESCAPED}&k=abc",
        "https://urldefense.proofpoint.com/v2/url?u=https-3A__evil.example_login.php-3Fid-3D7"
        "-26to-3Da-2540b.example&d=DwMFaQ&c=x",
        f"https://linkprotect.cudasvc.com/url?a={ESCAPED}&c=E,1,abc&typo=1",
        f"https://secure-web.cisco.com/1abc-_DEF/{ESCAPED}",
        f"https://us.clicktime.trendmicro.com:443/wis/clicktime/v1/query?url={ESCAPED}&umid=1",
        f"https://imsva91-ctp.trendmicro.com/wis/clicktime/v1/query?url={ESCAPED}",
        f"https://protect2.fireeye.com/v1/url?k=84f6&q=1&e=6739&u={ESCAPED}",
        f"https://protect.fireeye.com/url?k=3fbd&u={ESCAPED}",
        f"https://clicktime.symantec.com/39e8TeBHakB1PfMJjJ1h1zf7V?u={ESCAPED}",
        f"https://bq11v59f.r.us-east-1.awstrack.me/L0/{ESCAPED}/1/0100-000000/p_cF6=447",
        f"https://bq11v59f.r.us-east-1.awstrack.me/L0/{COLON_KEPT}/2/0100018c-0000/MTIz=358",
        f"https://rp5x7b.r.eu-central-1.awstrack.me/CL0/{COLON_KEPT}/1/0107018c-0000/c2ln=325",
        f"https://www.google.com/url?sa=t&q={ESCAPED}&usg=1",
        f"https://google.co.uk/url?url={ESCAPED}",
        f"https://www.bing.com/ck/a?!&&p=b655&u=a1{BASE64}&ntb=1",
    ],
)
def test_services(wrapped: str) -> None:
    assert unwrap(wrapped) == [wrapped, INNER]


@pytest.mark.parametrize(
    ("wrapped", "inner"),
    [
        ("https://www.google.co.uk/amp/evil.example/a?b=c", "http://evil.example/a?b=c"),
        ("https://google.vg/amp/s/evil.example?id=1", "https://evil.example?id=1"),
    ],
)
def test_google_amp(wrapped: str, inner: str) -> None:
    assert unwrap(wrapped) == [wrapped, inner]


_URLDEFENSE = json.loads(
    (Path(__file__).parent / "data" / "proofpoint_url_decoder.json").read_text(encoding="utf-8")
)
"""The cases of decode_test.py of cardi/proofpoint-url-decoder (Calvin Ardi, 2022, CC0 1.0)."""


def test_the_urldefense_cases_are_whole() -> None:
    assert _URLDEFENSE["licence"] == "CC0-1.0"
    assert len(_URLDEFENSE["cases"]) == 29


@pytest.mark.parametrize("case", _URLDEFENSE["cases"], ids=lambda case: case["name"])
def test_urldefense(case: dict[str, str]) -> None:
    urls = unwrap(case["wrapped"])
    if case["inner"] in ("", case["wrapped"]):  # empty or incomplete: nothing to unwrap
        assert urls == [case["wrapped"]]
        return
    inner = unquote(urls[1]) if case["percent_unescaped"] else urls[1]
    assert inner == case["inner"]


def test_urldefense_v3_after_a_client_collapsed_its_slashes() -> None:
    wrapped = "https://urldefense.com/v3/__https:/evil.example/x__;!!foo!bar$"
    assert unwrap(wrapped) == [wrapped, "https://evil.example/x"]


def test_urldefense_v3_with_too_few_bytes_keeps_its_stars() -> None:
    wrapped = "https://urldefense.com/v3/__https://evil.example/**Aa*b__;Iw!!foo!bar$"
    assert unwrap(wrapped) == [wrapped, "https://evil.example/#a*b"]


@pytest.mark.parametrize(
    "url",
    [
        INNER,
        "",
        "not a url",
        "https://safelinks.protection.outlook.com.evil.example/?url=https%3A%2F%2Fb.example",
        "https://evilgoogle.com/url?q=https://b.example",
        "https://www.google.com/search?q=https://b.example",
        "https://www.google.com/url?q=",
        "https://www.google.com/url?q=mailto%3Aa%40b.example",
        "https://www.bing.com/ck/a?u=a1%FF%FE",
        "https://www.bing.com/ck/a?u=b2abc",
        "https://secure-web.cisco.com/token-only",
        "https://x.awstrack.me/L0/",
        "https://protect-eu.mimecast.com/s/AbCdEf?domain=evil.example",
    ],
)
def test_nothing_to_unwrap(url: str) -> None:
    assert unwrap(url) == [url]


@pytest.mark.parametrize(
    ("url", "opaque"),
    [
        ("https://protect-eu.mimecast.com/s/AbCdEf?domain=evil.example", True),
        ("https://url.uk.m.mimecastprotect.com/s/AbCdEf", True),
        ("https://www.mimecast.com/products/", False),
        (f"https://linkprotect.cudasvc.com/url?a={ESCAPED}", False),
        (INNER, False),
    ],
)
def test_opaque(url: str, opaque: bool) -> None:
    assert is_opaque(url) is opaque


def _safelink(url: str) -> str:
    return f"https://x.safelinks.protection.outlook.com/?url={quote(url, safe='')}&reserved=0"


def test_layers_come_off_one_by_one() -> None:
    barracuda = f"https://linkprotect.cudasvc.com/url?a={ESCAPED}&c=1"
    outlook = _safelink(barracuda)
    assert unwrap(outlook) == [outlook, barracuda, INNER]


def test_depth_and_length_are_bounded() -> None:
    url = INNER
    for _ in range(MAX_UNWRAP_DEPTH + 3):
        url = _safelink(url)
    assert len(unwrap(url)) == MAX_UNWRAP_DEPTH + 1
    long = _safelink(INNER + "x" * MAX_UNWRAP_LENGTH)
    assert unwrap(long) == [long]
    just = _safelink(INNER)
    just += "x" * (MAX_UNWRAP_LENGTH - len(just))
    assert unwrap(just) == [just, INNER]
    assert unwrap(just + "x") == [just + "x"]


_WRAPPERS = st.sampled_from(
    [
        "https://x.safelinks.protection.outlook.com/?url=", "https://urldefense.com/v3/__",
        "https://urldefense.com/v2/url?u=", "https://urldefense.com/v1/url?u=",
        "https://secure-web.cisco.com/a/", "https://x.awstrack.me/L0/",
        "https://www.bing.com/ck/a?u=a1", "https://www.google.com/amp/s/",
        "https://www.google.com/url?q=", "https://x.mimecast.com/s/",
    ]
)  # fmt: skip
_TAILS = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(["__;", "!!", "*", "**", "**A", "Iw", "%", "%25", "/", "&", "u=", "$", "é"])
    ).map("".join),
)


@given(_WRAPPERS, _TAILS)
def test_total(wrapper: str, tail: str) -> None:
    urls = unwrap(wrapper + tail)
    assert urls[0] == wrapper + tail
    assert 1 <= len(urls) <= MAX_UNWRAP_DEPTH + 1
    assert all(url.encode("utf-8", "surrogatepass") for url in urls)
    is_opaque(wrapper + tail)


@pytest.mark.parametrize(
    "tail", ["__;" * 5_000, "__;A" * 4_000, "*" * 16_000, "%25" * 5_000, "&" * 16_000, "@" * 16_000]
)
def test_length_costs_time_in_proportion(tail: str) -> None:
    started = time.process_time()
    for start in ("https://urldefense.com/v3/__", "https://urldefense.com/v2/url?u=", "https://"):
        unwrap(start + tail)
    assert time.process_time() - started < 0.5
