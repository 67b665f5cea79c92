from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retract.indicators.formats import stix_pattern
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
        ("[network-traffic:src_ref.value = '203.0.113.7']", [("auto", "203.0.113.7")]),
        (
            "[email-message:reply_to_refs[*].value = 'a@b.example']",
            [(Type.EMAIL_ADDRESS, "a@b.example")],
        ),
        (
            "[email-message:sender_ref.value = 'a@b.example']",
            [(Type.EMAIL_ADDRESS, "a@b.example")],
        ),
        ("[ipv4-addr:value = '198.51.100.0/24']", [(Type.IP_ADDRESS, "198.51.100.0/24")]),
        ("[ipv4-addr:value ISSUBSET '198.51.100.0/24']", [(Type.IP_ADDRESS, "198.51.100.0/24")]),
        ("[file:hashes.SHA-256 = 'as feeds write it']", [(Type.SHA256, "as feeds write it")]),
        (
            r"[url:value = 'http://a.example/it\'s\\']",
            [(Type.URL, r"http://a.example/it's\ "[:-1])],
        ),
        ("[url:value = 'a' OR url:value = 'b']", [(Type.URL, "a"), (Type.URL, "b")]),
        ("[(url:value = 'a' OR (url:value = 'b'))]", [(Type.URL, "a"), (Type.URL, "b")]),
        ("[url:value = 'a'] OR [domain-name:value = 'b']", [(Type.URL, "a"), (Type.DOMAIN, "b")]),
        ("([url:value = 'a'] OR [url:value = 'b'])", [(Type.URL, "a"), (Type.URL, "b")]),
        ("[url:value IN ('a', 'b')]", [(Type.URL, "a"), (Type.URL, "b")]),
        ("[url:value IN ('a', 5)]", [(Type.URL, "a")]),
        ("[url:value == 'a']", [(Type.URL, "a")]),
    ],
)
def test_equalities_and_choices_of_them_are_found(pattern, found):
    assert equalities(pattern) == (found, [])


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("[file:hashes.MD5 = 'a' AND file:name = 'x.exe']", (Type.MD5, "a")),
        ("[file:name = 'x.exe' AND file:size = 5 AND file:hashes.MD5 = 'a']", (Type.MD5, "a")),
        (
            "[file:hashes.MD5 = 'a' AND file:hashes.'SHA-256' = 'b' AND file:hashes.SSDEEP = 'c']",
            (Type.SHA256, "b"),
        ),
        (
            "[file:hashes.MD5 = 'a' AND (file:name = 'x' OR file:name = 'y')]",
            (Type.MD5, "a"),
        ),
        (
            "[network-traffic:dst_ref.type = 'ipv4-addr' AND "
            "network-traffic:dst_ref.value = '203.0.113.7']",
            ("auto", "203.0.113.7"),
        ),
    ],
)
def test_what_only_describes_a_hash_or_an_address_is_no_condition(pattern, found):
    assert equalities(pattern) == ([found], [])


@pytest.mark.parametrize(
    "pattern",
    [
        "[file:hashes.MD5 = 'a' AND file:hashes.MD5 = 'b']",
        "[file:hashes.MD5 = 'a' AND file:name != 'x']",
        "[file:hashes.MD5 = 'a' AND NOT EXISTS file:name]",
        "[file:hashes.MD5 = 'a' AND process:name = 'x']",
        "[(file:hashes.MD5 = 'a' OR url:value = 'b') AND file:name = 'x']",
        "[network-traffic:dst_ref.value = 'a.example' AND network-traffic:dst_port = 443]",
        "[network-traffic:dst_ref.value = 'a.example' AND network-traffic:src_ref.type = 'x']",
        "[domain-name:value = 'a.example' AND domain-name:resolves_to_refs[*].value = '1.2.3.4']",
    ],
)
def test_other_parts_of_an_and_stay_conditions(pattern):
    with pytest.raises(Unsupported, match="holds AND"):
        equalities(pattern)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[url:value = 'a' AND file:name = 'b']", "holds AND"),
        ("[url:value = 'a'] AND [url:value = 'b']", "holds AND"),
        ("[url:value = 'a'] FOLLOWEDBY [url:value = 'b']", "holds FOLLOWEDBY"),
        ("[url:value = 'a'] REPEATS 5 TIMES", "holds REPEATS"),
        ("[url:value = 'a'] WITHIN 300 SECONDS", "holds WITHIN"),
        ("[url:value != 'a']", "only equality can be indexed"),
        ("[url:value NOT = 'a']", "only equality can be indexed"),
        ("[url:value NOT IN ('a')]", "only equality can be indexed"),
        ("[url:value MATCHES '^http']", "only equality can be indexed"),
        ("[url:value LIKE '%evil%']", "only equality can be indexed"),
        ("[EXISTS url:value]", "only equality can be indexed"),
        ("[ipv4-addr:value ISSUPERSET '203.0.113.7']", "only equality can be indexed"),
        ("[ipv4-addr:value NOT ISSUBSET '203.0.113.0/24']", "only equality can be indexed"),
        ("[url:value = 5]", "not compared with a text"),
        ("[file:size > 5]", "cannot be matched with mail"),
        ("[process:name = 'cmd.exe']", "cannot be matched with mail"),
        ("[domain-name:resolves_to_refs[*].value = '1.2.3.4']", "cannot be matched with mail"),
        ("[url:value ISSUBSET '203.0.113.0/24']", "cannot be matched with mail"),
        ("[file:hashes.SSDEEP = 'x']", "only MD5, SHA-1 and SHA-256"),
        ("[file:hashes.IMPHASH = 'x']", "only MD5, SHA-1 and SHA-256"),
        ("[file:hashes.'TLSH' = 'x']", "only MD5, SHA-1 and SHA-256"),
        ("[file:hashes.'SHA3-256' = 'x']", "only MD5, SHA-1 and SHA-256"),
        ("[file:name = 'invoice.pdf']", "a file name alone says too little"),
        ("[email-message:subject = 'Invoice']", "subjects are for campaign rules"),
        ("[email-message:from_ref.display_name = 'CEO']", "display names are for campaign rules"),
        ("[email-addr:display_name = 'CEO']", "display names are for campaign rules"),
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


def test_a_long_list_of_equalities_is_read_though_its_tree_would_be_too_deep():
    pattern = "[" + " OR ".join(f"url:value = 'http://{n}.example/'" for n in range(4000)) + "]"

    assert len(equalities(pattern)[0]) == 4000
    with pytest.raises(Unsupported, match="nested too deeply"):
        stix_pattern._parsed(pattern)


TEXTS = st.text(alphabet="ab =][OR\n\x85é\u2028", max_size=6).map("'{}'".format)
ODD_VALUES = st.sampled_from([r"'\''", r"'\\'", "'", "5", "-5", "5.0", "true", "h'ab'"])
KNOWN = st.sampled_from(
    [
        *("url:value", "email-message:reply_to_refs[*].value", "network-traffic:dst_ref.value"),
        *("file:hashes.'SHA-256'", "file:hashes.MD5"),
    ]
)
DESCRIBING = st.sampled_from(
    ["file:name", "file:hashes.SSDEEP", "file:hashes.MD5", "network-traffic:dst_ref.type"]
)
OTHERS = st.sampled_from(
    [
        *("file:size", "file:hashes.'MD5", "x-own:value", "url:'value'", "URL:value", "url:"),
        *("file:name", "file:hashes.sha1", "domain-name:value"),
    ]
)


@st.composite
def _choices(draw: st.DrawFn) -> str:
    """One equality or some that are joined: as the grammar wants them, or nearly so."""
    blank = st.text(alphabet=" \t\r\n", max_size=2)

    def test(path: str, equals: str, value: str) -> str:
        return f"{draw(blank)}{path}{draw(blank)}{equals}{draw(blank)}{value}{draw(blank)}"

    if draw(st.booleans()):
        word, others = draw(st.sampled_from([("OR", KNOWN), ("AND", DESCRIBING)]))
        paths = [draw(KNOWN), *draw(st.lists(others, max_size=2))]
        tests = [test(path, "=", draw(TEXTS)) for path in draw(st.permutations(paths))]
        return f"{draw(blank)}[{(word + ' ').join(tests)}]{draw(blank)}"
    tests = [
        test(
            draw(KNOWN | OTHERS),
            draw(st.sampled_from(["=", "=", "=", "==", "= =", "!=", "IN"])),
            draw(TEXTS | ODD_VALUES),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    word = draw(st.sampled_from(["OR", "OR ", "AND\t", ""]))
    end = draw(st.sampled_from(["]", " ] ", "]\n", "", "] x", "] OR [url:value = 'b']", "]\x85"]))
    return f"[{word.join(tests)}{end}"


@given(_choices())
@settings(max_examples=700, deadline=None)
@example("[url:value='a'\x85]")
@example("[file:name = 'b' AND file:hashes.MD5 = 'a' AND file:size = 5]")
@example("[file:name = 'b' OR file:size = 5]")
@example("[url:value = 'a' OR url:value = 'b' AND url:value = 'c']")
@example("[file:hashes.MD5 = 'a' OR file:hashes.MD5 = 'b' AND file:name = 'c']")
@example("[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = 'a']")
@example("[url:value='a']\x1c")
@example("[url:value = 'a' ORurl:value = 'b']")
@example("[file:hashes.'MD5 = 'a']")
@example(r"[url:value = 'a\\']")
def test_what_is_read_without_the_grammar_is_what_the_grammar_says(pattern):
    if (plain := stix_pattern._plainly(pattern)) is not None:
        assert stix_pattern._parsed(pattern) == (plain, [])


@settings(deadline=None)
@given(
    st.sampled_from(["url:value", "file:hashes.'SHA-256'", "domain-name:value"]),
    st.text(alphabet=st.characters(exclude_characters="'\\")),
)
def test_one_equality_needs_no_grammar(path, text):
    assert stix_pattern._plainly(f"[{path} = '{text}']") == equalities(f"[{path} IN ('{text}')]")[0]


@settings(deadline=None)
@given(st.text(alphabet="[]()'=:. ORANDurlvaluefilehashesMD5\\", max_size=60))
def test_any_text_gives_equalities_or_a_reason(text):
    try:
        found, _ = equalities(text)
    except Unsupported:
        return
    assert found
