from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.indicators.formats.stix_pattern import LONGEST_PATTERN, Unsupported, equalities
from retract.model import ObservableType as Type

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("[url:value = 'http://a.example/']", [(Type.URL, "http://a.example/")]),
        ("[ domain-name:value='a.example' ]", [(Type.DOMAIN, "a.example")]),
        (f"[file:hashes.'SHA-256' = '{DIGEST}']", [(Type.SHA256, DIGEST)]),
        (f"[file:hashes.SHA256 = '{DIGEST}']", [(Type.SHA256, DIGEST)]),
        (f"[file:hashes.'SHA256' = '{DIGEST}']", [(Type.SHA256, DIGEST)]),
        ("[file:hashes.MD5 = 'aa']", [(Type.MD5, "aa")]),
        ("[file:hashes.'SHA-1' = 'aa']", [(Type.SHA1, "aa")]),
        ("[email-message:from_ref.value = 'a@b.example']", [(Type.EMAIL_ADDRESS, "a@b.example")]),
        ("[email-addr:value = 'a@b.example']", [(Type.EMAIL_ADDRESS, "a@b.example")]),
        ("[ipv4-addr:value = '203.0.113.7']", [(Type.IP_ADDRESS, "203.0.113.7")]),
        ("[network-traffic:dst_ref.value = 'a.example']", [("auto", "a.example")]),
        (
            r"[url:value = 'http://a.example/it\'s\\']",
            [(Type.URL, r"http://a.example/it's\ "[:-1])],
        ),
        ("[url:value = 'a' OR url:value = 'b']", [(Type.URL, "a"), (Type.URL, "b")]),
        ("[(url:value = 'a' OR (url:value = 'b'))]", [(Type.URL, "a"), (Type.URL, "b")]),
        ("[url:value = 'a'] OR [domain-name:value = 'b']", [(Type.URL, "a"), (Type.DOMAIN, "b")]),
        ("([url:value = 'a'] OR [url:value = 'b'])", [(Type.URL, "a"), (Type.URL, "b")]),
        ("[url:value IN ('a', 'b')]", [(Type.URL, "a"), (Type.URL, "b")]),
    ],
)
def test_equalities_and_choices_of_them_are_found(pattern, found):
    assert equalities(pattern) == (found, [])


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[url:value = 'a' AND file:name = 'b']", "holds AND"),
        ("[url:value = 'a'] AND [url:value = 'b']", "holds AND"),
        ("[url:value = 'a'] FOLLOWEDBY [url:value = 'b']", "holds FOLLOWEDBY"),
        ("[url:value = 'a'] REPEATS 5 TIMES", "holds REPEATS"),
        ("[url:value = 'a'] WITHIN 300 SECONDS", "holds WITHIN"),
        ("[url:value != 'a']", "cannot be matched with mail"),
        ("[url:value NOT = 'a']", "cannot be matched with mail"),
        ("[url:value NOT IN ('a')]", "cannot be matched with mail"),
        ("[url:value MATCHES '^http']", "cannot be matched with mail"),
        ("[url:value LIKE '%evil%']", "cannot be matched with mail"),
        ("[file:size > 5]", "cannot be matched with mail"),
        ("[file:hashes.SSDEEP = 'x']", "cannot be matched with mail"),
        ("[process:name = 'cmd.exe']", "cannot be matched with mail"),
        ("[ipv4-addr:value ISSUBSET '203.0.113.0/24']", "cannot be matched with mail"),
        ("[url:value = ", "cannot be parsed"),
        ("", "cannot be parsed"),
        ("not a pattern", "cannot be parsed"),
        ("(" * 3000 + "[url:value='a']" + ")" * 3000, "nested too deeply"),
        ("x" * (LONGEST_PATTERN + 1), "longer than"),
    ],
)
def test_what_cannot_be_indexed_is_refused_with_the_reason(pattern, reason):
    with pytest.raises(Unsupported, match=reason):
        equalities(pattern)


def test_the_rest_of_a_choice_counts_when_a_part_cannot_be_matched():
    found, unsupported = equalities("[url:value = 'a' OR process:name = 'b' OR url:value LIKE 'c']")

    assert found == [(Type.URL, "a")]
    assert len(unsupported) == 2
    assert "process:name" in unsupported[0]


@given(st.text(alphabet="[]()'=:. ORurlvalue\\", max_size=60))
def test_any_text_gives_equalities_or_a_reason(text):
    try:
        found, _ = equalities(text)
    except Unsupported:
        return
    assert found
