"""Allow rules: what each covers, what it does not, and how a file that has them is refused."""

import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.allow import NO_ALLOW, Allow, AllowRule
from retract.errors import PolicyError
from retract.model import ObservableType
from retract.observables.lookup import canonical_value, matches
from retract.policy import Policy, parse_policy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Type = ObservableType


def rule(value: str, **more: object) -> AllowRule:
    return AllowRule.model_validate({"value": value, "reason": "ours", **more})


def policy(text: str) -> Policy:
    return parse_policy(("actions: {}\n" + textwrap.dedent(text)).encode(), name="p.yaml")


def refusal(text: str) -> str:
    with pytest.raises(PolicyError) as told:
        policy(text)
    return str(told.value)


# --- what a rule covers ---


@pytest.mark.parametrize(
    ("written", "kind", "value"),
    [
        # a domain
        ("partner.example", Type.DOMAIN, "partner.example"),
        ("hxxps://partner[.]example", Type.URL, "https://partner.example/"),
        ("Partner[.]example", Type.DOMAIN, "mail.eu.partner.example"),
        ("*.partner.example", Type.DOMAIN, "partner.example"),
        ("partner.example", Type.EMAIL_ADDRESS, "@partner.example"),
        ("partner.example", Type.EMAIL_ADDRESS, "@eu.partner.example"),
        ("partner.example", Type.URL, "http://www.partner.example/"),
        ("bücher.example", Type.DOMAIN, "www.xn--bcher-kva.example"),
        # a URL
        ("https://partner.example/a?b=1", Type.URL, "http://Partner.example:8080/a?b=1#c"),
        ("https://partner.example/docs/", Type.URL, "https://partner.example/docs/"),
        ("https://partner.example/docs/", Type.URL, "https://partner.example/docs/a/b.html?c=/"),
        ("https://partner.example/", Type.URL, "https://partner.example/any/page?x=1"),
        ("https://partner.example/", Type.URL, "https://partner.example"),
        ("http://198.51.100.7/", Type.URL, "http://3325256711/a"),
        # an address
        ("Boss@Partner.example", Type.EMAIL_ADDRESS, "boss@partner.example"),
        ("@partner.example", Type.EMAIL_ADDRESS, "anybody@partner.example"),
        ("@partner.example", Type.EMAIL_ADDRESS, "@partner.example"),
        # an IP address or network
        ("198.51.100.7", Type.IP_ADDRESS, "198.51.100.7"),
        ("2001:DB8::1", Type.IP_ADDRESS, "2001:db8:0::1"),
        ("198.51.100.0/24", Type.IP_ADDRESS, "198.51.100.7"),
        ("198[.]51[.]100[.]9/24", Type.IP_ADDRESS, "198.51.100.128/25"),
        ("198.51.100.0/24", Type.IP_ADDRESS, "198.51.100.0/24"),
        ("2001:db8::/32", Type.IP_ADDRESS, "2001:db8:7::1"),
        # a hash
        ("D41D8CD98F00B204E9800998ECF8427E", Type.MD5, "d41d8cd98f00b204e9800998ecf8427e"),
    ],
)
def test_a_rule_covers(written, kind, value):
    allowed = rule(written)

    assert Allow([allowed]).covers(kind, value) == allowed


@pytest.mark.parametrize(
    ("written", "kind", "value"),
    [
        # a page on a good host may be bad
        ("partner.example", Type.URL, "https://partner.example/a"),
        ("partner.example", Type.URL, "https://partner.example/?a=b"),
        ("partner.example", Type.EMAIL_ADDRESS, "anybody@partner.example"),
        ("www.partner.example", Type.DOMAIN, "partner.example"),
        ("partner.example", Type.DOMAIN, "notpartner.example"),
        ("partner.example", Type.DOMAIN, "partner.example.evil.example"),
        ("https://partner.example/a", Type.URL, "https://partner.example/a/b"),
        ("https://partner.example/a", Type.URL, "https://partner.example/a?b"),
        ("https://partner.example/a?b", Type.URL, "https://partner.example/a"),
        ("https://partner.example/a/", Type.URL, "https://partner.example/a"),
        ("https://partner.example/a/", Type.URL, "https://partner.example/A/b"),
        ("https://partner.example/a/?b=/", Type.URL, "https://partner.example/a/"),
        ("https://partner.example/", Type.URL, "https://www.partner.example/"),
        ("https://partner.example/", Type.DOMAIN, "partner.example"),
        ("boss@partner.example", Type.EMAIL_ADDRESS, "@partner.example"),
        ("@partner.example", Type.EMAIL_ADDRESS, "a@eu.partner.example"),
        ("@partner.example", Type.DOMAIN, "partner.example"),
        ("198.51.100.0/24", Type.IP_ADDRESS, "198.51.101.7"),
        ("198.51.100.0/24", Type.IP_ADDRESS, "198.51.0.0/16"),
        ("198.51.100.0/24", Type.IP_ADDRESS, "2001:db8::1"),
        ("198.51.100.7", Type.IP_ADDRESS, "198.51.100.0/24"),
        ("198.51.100.7", Type.URL, "http://198.51.100.7/"),
        ("partner.example", Type.URL, "no url at all:"),
    ],
)
def test_a_rule_does_not_cover(written, kind, value):
    assert Allow([rule(written)]).covers(kind, value) is None


@pytest.mark.parametrize("kind", [Type.DISPLAY_NAME, Type.FILE_NAME])
def test_names_are_covered_by_equality_as_people_read_it(kind):
    allow = Allow([rule("Frau  Müller", type=kind)])

    assert allow.covers(kind, "FRAU MÜLLER") is not None
    assert allow.covers(kind, "Frau Müller-Meier") is None
    assert allow.covers(Type.DISPLAY_NAME_PATTERN, "Frau Müller") is None


@pytest.mark.parametrize("kind", [Type.SUBJECT_PATTERN, Type.DISPLAY_NAME_PATTERN])
def test_no_rule_covers_a_campaign_rule(kind):
    names = [rule("partner.example"), rule("invoice", type="display_name")]

    assert Allow(names).covers(kind, "invoice") is None
    assert Allow(names).covers(kind, "partner.example") is None


def test_the_narrowest_rule_is_told():
    wide, narrow = rule("partner.example"), rule("mail.partner.example")
    folder, page = rule("https://partner.example/"), rule("https://partner.example/a/b")
    net, address = rule("198.51.100.0/24"), rule("198.51.100.7")
    allow = Allow([wide, narrow, folder, page, net, address])

    assert allow.covers(Type.DOMAIN, "www.mail.partner.example") == narrow
    assert allow.covers(Type.DOMAIN, "www.partner.example") == wide
    assert allow.covers(Type.URL, "https://partner.example/a/b") == page
    assert allow.covers(Type.URL, "https://partner.example/a/c") == folder
    assert allow.covers(Type.IP_ADDRESS, "198.51.100.7") == address
    assert allow.covers(Type.IP_ADDRESS, "198.51.100.8") == net


def test_without_rules_nothing_is_covered():
    assert NO_ALLOW.covers(Type.DOMAIN, "partner.example") is None
    assert NO_ALLOW.digest == Allow().digest


HOSTS = st.sampled_from(["a.example", "b.a.example", "c.b.a.example", "ba.example"])
PATHS = st.sampled_from(["/", "/x", "/x/", "/x/y", "/x/y/", "/?q=1", "/x/?q=/"])


@given(HOSTS, PATHS, HOSTS, PATHS)
def test_a_url_rule_covers_no_more_than_an_indicator_with_that_url_would_meet_on_its_own_host(
    host, path, other_host, other_path
):
    """But for the root, which an indicator means as a page and a rule as a host."""
    listed, seen = f"http://{host}{path}", f"http://{other_host}{other_path}"
    covered = Allow([rule(listed)]).covers(Type.URL, seen) is not None

    if host != other_host:
        assert not covered
    elif path == "/":
        assert covered
    elif covered:
        assert matches(Type.URL, seen, listed)
    if canonical_value(Type.URL, listed) == canonical_value(Type.URL, seen):
        assert covered


# --- the time of a rule ---


@pytest.mark.parametrize(
    ("until", "void_from"),
    [
        ("2026-03-01", datetime(2026, 3, 2, tzinfo=UTC)),
        ("'2026-03-01'", datetime(2026, 3, 2, tzinfo=UTC)),
        ("2026-03-01T18:00:00Z", datetime(2026, 3, 1, 18, tzinfo=UTC)),
        ("2026-03-01T18:00:00+02:00", datetime(2026, 3, 1, 16, tzinfo=UTC)),
        ("'2026-03-01T18:00Z'", datetime(2026, 3, 1, 18, tzinfo=UTC)),
    ],
)
def test_a_rule_is_void_after_its_last_day_or_moment(until, void_from):
    made = policy(f"allow: [{{value: partner.example, reason: ours, until: {until}}}]")
    before = made.allowed(void_from - timedelta(seconds=1))

    assert before.covers(Type.DOMAIN, "partner.example") is not None
    assert made.allowed(void_from).covers(Type.DOMAIN, "partner.example") is None
    assert made.allowed(void_from).digest == NO_ALLOW.digest != before.digest


def test_a_rule_without_an_end_stays():
    made = policy("allow: [{value: partner.example, reason: ours}]")

    assert made.allowed(datetime(9999, 1, 1, tzinfo=UTC)).rules == made.allow


# --- the policy file ---


def test_a_policy_without_rules_is_read_without_what_rules_are_held_to(tmp_path):
    """Airflow reads it whenever it parses a DAG."""
    (tmp_path / "p.yaml").write_text("actions: {}\n")
    program = (
        "import sys; from retract.policy import load_policy; load_policy(sys.argv[1]); "
        "print('tldextract' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "p.yaml")],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "plugins")},
    )
    assert done.stdout == "False\n"


def test_the_digest_covers_the_rules_and_not_how_they_are_written():
    one = policy("""
        allow:
          - {value: partner.example, reason: ours}
          - {value: "https://x.example/a", reason: a page of ours}
        """)
    same = policy("""
        allow:
          - {reason: a page of ours, value: "hxxps://X[.]example/a", type: url}
          - {value: "Partner[.]Example", type: domain, reason: " ours "}
        """)
    digests = {
        one.digest,
        policy("").digest,
        policy("allow: [{value: partner.example, reason: ours}]").digest,
        policy("allow: [{value: partner.example, reason: others}]").digest,
        policy("allow: [{value: partner.example, reason: ours, until: 2026-01-01}]").digest,
    }

    assert one.digest == same.digest
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("item", "setting", "said"),
    [
        ("value: partner.example", "", "reason: missing"),
        ("reason: ours", "value", "missing"),
        ("value: partner.example\n    reason: ''", "reason", "say in one line"),
        ('value: partner.example\n    reason: "a\\tb"', "reason", "say in one line"),
        (f"value: partner.example\n    reason: {'x' * 301}", "reason", "300 characters"),
        ("value: partner.example\n    reason: 7", "reason", "valid string"),
        ("value: 7\n    reason: ours", "value", "valid string"),
        ("value: ''\n    reason: ours", "value", "empty"),
        ("value: not a domain\n    reason: ours", "value", "not a valid domain: 'not a domain'"),
        ("value: co.uk\n    reason: ours", "value", "public suffix"),
        ("value: 0.0.0.0/0\n    reason: ours", "value", "0.0.0.0/0"),
        ("value: x.example\n    reason: ours\n    type: host", "type", "one of auto, url, domain"),
        ("value: x\n    reason: ours\n    type: subject_pattern", "type", "one of auto"),
        ("value: x.example\n    reason: ours\n    type: md5", "value", "not a valid md5"),
        ("value: x.example\n    reason: ours\n    until: soon", "until", "write a day"),
        ("value: x.example\n    reason: ours\n    until: 2026-01-01 12:00:00", "until", "its zone"),
        ("value: x.example\n    reason: ours\n    until: 9999-12-31", "until", "leave until out"),
        ("value: x.example\n    reason: ours\n    until: 7", "until", "write a day"),
        ("value: x.example\n    reason: ours\n    till: 2026-01-01", "till", "unknown setting"),
        ("x.example", "", "valid dictionary"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_the_line_and_the_reason(item, setting, said):
    told = refusal(f"allow:\n  - {{value: fine.example, reason: ours}}\n  - {item}\n")
    below = item.splitlines()
    at = next((n for n, line in enumerate(below) if line.strip().startswith(f"{setting}:")), 0)

    assert told.startswith(f"p.yaml line {4 + at}: allow rule number 2")
    assert said in told
    assert "\n" not in told


def test_a_rule_that_repeats_another_is_refused():
    told = refusal("""\
        allow:
          - {value: "https://x.example/a", reason: ours}
          - {value: y.example, reason: ours}
          - {value: "http://X.example/a", reason: theirs, until: 2026-01-01}
        """)

    assert told == (
        "p.yaml line 5: allow rule number 3, value: the same as allow rule number 1: "
        "keep one of them"
    )


_SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.datetimes()
_RULES = st.fixed_dictionaries(
    {},
    optional={
        "value": _SCALARS | st.sampled_from(["a.example", "a@b.example", "10.0.0.0/8", "x/"]),
        "type": _SCALARS | st.sampled_from(["auto", *Type]),
        "reason": _SCALARS | st.just("ours"),
        "until": _SCALARS | st.dates() | st.datetimes(timezones=st.just(UTC)),
    },
)


@given(_RULES | _SCALARS)
def test_any_settings_give_a_rule_that_covers_itself_or_a_refusal(fields):
    try:
        made = AllowRule.model_validate(fields)
    except ValueError:
        return
    assert Allow([made]).covers(made.type, made.value) == made
    assert AllowRule.model_validate(made.model_dump(mode="json")) == made
