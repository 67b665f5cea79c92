"""Verdicts from the disposition at delivery and the live matches."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retract.model import ACTIONABLE_DISPOSITIONS, Disposition, ObservableType, Verdict
from retract.policy import Policy
from retract.reevaluation.decide import decide, may_be_something
from retract.reevaluation.match import MATCHES

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy.model_validate({"actions": {}, "confidence_floor": 50})
MATCH = {
    "copy_id": "a",
    "indicator_id": "i1",
    "type": "url",
    "observable": "https://bad.example/",
    "indicator": "bad.example/",
    "disposition": "malicious",
    "confidence": 80,
    "source": "feed",
    "campaign": "",
    "reference": "",
    "all_met": [],
}


def messages(**delivered: str) -> pl.DataFrame:
    """Copies by id, with their disposition at delivery."""
    rows = {"copy_id": list(delivered), "delivered_disposition": list(delivered.values())}
    return pl.DataFrame(rows, schema={"copy_id": pl.String, "delivered_disposition": pl.String})


def matches(*changes: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame([MATCH | change for change in changes], schema=MATCHES)


def judged(delivered: str, *changes: dict[str, object]) -> Disposition | None:
    verdicts = decide(messages(a=delivered), matches(*changes), POLICY, NOW)
    return verdicts[0].disposition if verdicts else None


@pytest.mark.parametrize("disposition", ACTIONABLE_DISPOSITIONS)
def test_the_disposition_at_delivery_is_a_verdict_by_itself(disposition):
    assert judged(disposition) is disposition


@pytest.mark.parametrize("delivered", ["none", "unknown"])
def test_without_a_match_or_disposition_there_is_no_verdict(delivered):
    assert judged(delivered) is None


@pytest.mark.parametrize(
    ("delivered", "matched", "verdict"),
    [
        ("unknown", "spam", "spam"),
        ("none", "malicious", "malicious"),
        ("spam", "malicious", "malicious"),
        ("malicious", "bulk", "malicious"),
        ("bulk", "spoof", "spoof"),
    ],
)
def test_the_graver_of_delivery_and_match_counts(delivered, matched, verdict):
    assert judged(delivered, {"disposition": matched}) == verdict


@pytest.mark.parametrize(
    ("confidence", "verdict"), [(49, None), (50, "malicious"), (100, "malicious")]
)
def test_a_match_counts_from_the_confidence_floor_on(confidence, verdict):
    assert judged("unknown", {"confidence": confidence}) == verdict


def test_a_match_below_the_floor_does_not_explain_either():
    (verdict,) = decide(messages(a="spam"), matches({"confidence": 10}), POLICY, NOW)

    assert (verdict.disposition, verdict.matches) == (Disposition.SPAM, ())


def test_an_indicator_that_says_nothing_grave_makes_no_verdict():
    assert judged("unknown", {"disposition": "none"}) is None


def test_the_explanation_comes_gravest_and_most_confident_first():
    (verdict,) = decide(
        messages(a="spam"),
        matches(
            {"indicator_id": "i1", "disposition": "bulk", "confidence": 100},
            {"indicator_id": "i2", "disposition": "malicious", "confidence": 60},
            {"indicator_id": "i3", "disposition": "malicious", "confidence": 90},
        ),
        POLICY,
        NOW,
    )

    assert [match.indicator_id for match in verdict.matches] == ["i3", "i2", "i1"]
    assert verdict.delivered_disposition is Disposition.SPAM


def test_each_copy_is_judged_by_its_own_matches_in_a_stable_order():
    verdicts = decide(
        messages(c="unknown", a="unknown", b="spam", d="unknown"),
        matches({"copy_id": "c"}, {"copy_id": "a", "disposition": "bulk"}, {"copy_id": "stranger"}),
        POLICY,
        NOW,
    )

    assert [(v.copy_id, v.disposition) for v in verdicts] == [
        ("a", "bulk"),
        ("b", "spam"),
        ("c", "malicious"),
    ]
    again = decide(
        messages(d="unknown", b="spam", a="unknown", c="unknown"),
        matches({"copy_id": "stranger"}, {"copy_id": "a", "disposition": "bulk"}, {"copy_id": "c"}),
        POLICY,
        NOW,
    )
    assert again == verdicts


def test_copies_that_nothing_speaks_against_make_no_difference_and_are_left_out():
    copies = messages(a="unknown", b="none", c="spam", d="unknown", e="malicious")
    met = matches({"copy_id": "a"}, {"copy_id": "c"}, {"copy_id": "elsewhere"})
    suspects = may_be_something(copies.lazy(), met).collect()
    assert sorted(suspects["copy_id"]) == ["a", "c", "e"]
    assert decide(suspects, met, POLICY, NOW) == decide(copies, met, POLICY, NOW)


def test_nothing_in_gives_nothing_out():
    assert decide(messages(), matches(), POLICY, NOW) == []


# --- allow rules ---


def allowing(*values: str, **more: object) -> Policy:
    rules = [{"value": value, "reason": f"about {value}"} | more for value in values]
    return Policy.model_validate({"actions": {}, "confidence_floor": 50, "allow": rules})


def verdict_on(delivered: str, policy: Policy, *changes: dict[str, object]) -> Verdict | None:
    verdicts = decide(messages(a=delivered), matches(*changes), policy, NOW)
    return verdicts[0] if verdicts else None


PAGE = {"observable": "https://bad.example/a/b", "indicator": "https://bad.example/a/"}


@pytest.mark.parametrize(
    ("rule", "overruled"),
    [
        ("https://bad.example/a/", True),  # what is listed
        ("https://bad.example/a/b", True),  # what was seen
        ("https://bad.example/", True),
        ("https://bad.example/a/c", False),
        ("bad.example", False),  # a domain rule covers no single URL
    ],
)
def test_a_rule_beats_a_match_by_what_is_listed_or_by_what_was_seen(rule, overruled):
    verdict = verdict_on("unknown", allowing(rule), PAGE)

    assert [(one.rule, one.reason) for one in verdict.overruled] == (
        [(rule, f"about {rule}")] if overruled else []
    )
    assert (verdict.disposition in ACTIONABLE_DISPOSITIONS) is not overruled
    assert verdict.without_rules is Disposition.MALICIOUS


def test_what_is_not_overruled_still_counts():
    verdict = verdict_on(
        "unknown",
        allowing("good.example"),
        {"indicator_id": "i1", "type": "domain", "observable": "a.b.good.example",
         "indicator": "b.good.example"},
        {"indicator_id": "i2", "disposition": "spam"},
    )  # fmt: skip

    assert verdict.disposition is Disposition.SPAM
    assert [match.indicator_id for match in verdict.matches] == ["i2"]
    assert [one.match.indicator_id for one in verdict.overruled] == ["i1"]
    assert verdict.without_rules is Disposition.MALICIOUS


def test_the_disposition_at_delivery_is_not_overruled():
    verdict = verdict_on("spam", allowing("https://bad.example/"), PAGE)

    assert verdict.disposition is Disposition.SPAM
    assert len(verdict.overruled) == 1


def test_a_match_below_the_floor_is_not_told_as_overruled():
    assert verdict_on("unknown", allowing("bad.example/"), PAGE | {"confidence": 49}) is None


def test_a_rule_whose_time_is_over_beats_nothing():
    policy = allowing("https://bad.example/", until=NOW)

    assert verdict_on("unknown", policy, PAGE).disposition is Disposition.MALICIOUS
    earlier = decide(messages(a="unknown"), matches(PAGE), policy, NOW - timedelta(seconds=1))
    assert earlier[0].overruled


def test_an_allowed_link_does_not_cover_for_another_that_meets_the_same_indicator():
    """A match tells one of the links; the mail may hold others below the same folder."""
    links = ["https://bad.example/a/b", "https://bad.example/a/c"]
    both = PAGE | {"observable": links[0], "all_met": links}

    verdict = verdict_on("unknown", allowing(links[0]), both)
    assert verdict.disposition is Disposition.MALICIOUS
    assert [match.observable for match in verdict.matches] == [links[1]]
    assert verdict.overruled == ()

    assert len(verdict_on("unknown", allowing(*links), both).overruled) == 1


def test_a_campaign_rule_is_not_overruled():
    pattern = {"type": "subject_pattern", "observable": "Invoice", "indicator": "bad.example"}
    rules = Policy.model_validate(
        {
            "actions": {},
            "allow": [
                {"value": "bad.example", "reason": "x"},
                {"value": "Invoice", "type": "display_name", "reason": "x"},
            ],
        }
    )

    assert verdict_on("unknown", rules, pattern).overruled == ()


_HOSTS = st.sampled_from(["a.example", "b.a.example", "c.example"])
_PATHS = st.sampled_from(["/", "/x", "/x/", "/x/y"])
_URLS = st.builds(lambda host, path: f"https://{host}{path}", _HOSTS, _PATHS)
_MET = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("url"),
            "observable": _URLS,
            "indicator": _URLS,
            "all_met": st.lists(_URLS, max_size=2),
        }
    ),
    st.fixed_dictionaries({"type": st.just("domain"), "observable": _HOSTS, "indicator": _HOSTS}),
)
_MATCHES = st.lists(
    st.builds(
        lambda met, more: met | more,
        _MET,
        st.fixed_dictionaries(
            {
                "copy_id": st.sampled_from("abc"),
                "disposition": st.sampled_from([*ACTIONABLE_DISPOSITIONS, "none"]),
                "confidence": st.sampled_from([40, 60]),
            }
        ),
    ),
    max_size=8,
).map(lambda found: [one | {"indicator_id": f"i{n}"} for n, one in enumerate(found)])
_DELIVERED = st.fixed_dictionaries({c: st.sampled_from([*Disposition]) for c in "abc"})
_RULES = st.lists(st.one_of(_HOSTS, _URLS), max_size=4, unique=True)


@given(_DELIVERED, _MATCHES, _RULES, st.one_of(_HOSTS, _URLS))
def test_one_rule_more_makes_no_verdict_graver_and_hides_no_match(delivered, met, rules, one_more):
    found = matches(*met)
    before = decide(messages(**delivered), found, allowing(*rules), NOW)
    after = decide(messages(**delivered), found, allowing(*{*rules, one_more}), NOW)

    assert [verdict.copy_id for verdict in after] == [verdict.copy_id for verdict in before]
    for one, two in zip(before, after, strict=True):
        assert two.disposition.severity <= one.disposition.severity
        assert two.disposition.severity >= two.delivered_disposition.severity
        assert two.without_rules.severity == one.without_rules.severity
        assert _ids(one) == _ids(two)
        assert {o.match.indicator_id for o in one.overruled} <= {
            o.match.indicator_id for o in two.overruled
        }


@given(_DELIVERED, _MATCHES, _RULES)
def test_rules_change_nothing_for_copies_in_which_they_cover_nothing(delivered, met, rules):
    found = matches(*met)
    policy = allowing(*rules)
    allow = policy.allowed(NOW)
    covered = {
        row["copy_id"]
        for row in found.iter_rows(named=True)
        for value in (row["observable"], row["indicator"], *row["all_met"])
        if allow.covers(ObservableType(row["type"]), value)
    }

    with_rules = {v.copy_id: v for v in decide(messages(**delivered), found, policy, NOW)}
    without = {v.copy_id: v for v in decide(messages(**delivered), found, allowing(), NOW)}
    assert with_rules.keys() == without.keys()
    for copy_id in without.keys() - covered:
        assert with_rules[copy_id] == without[copy_id]


def _ids(verdict: Verdict) -> set[str]:
    live = {match.indicator_id for match in verdict.matches}
    return live | {one.match.indicator_id for one in verdict.overruled}
