"""Verdicts from the disposition at delivery and the live matches."""

import polars as pl
import pytest

from retract.model import ACTIONABLE_DISPOSITIONS, Disposition
from retract.policy import Policy
from retract.reevaluation.decide import decide

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
}


def messages(**delivered: str) -> pl.DataFrame:
    """Copies by id, with their disposition at delivery."""
    rows = {"copy_id": list(delivered), "delivered_disposition": list(delivered.values())}
    return pl.DataFrame(rows, schema={"copy_id": pl.String, "delivered_disposition": pl.String})


def matches(*changes: dict[str, object]) -> pl.DataFrame:
    schema = {k: pl.Int32 if k == "confidence" else pl.String for k in MATCH}
    return pl.DataFrame([MATCH | change for change in changes], schema=schema)


def judged(delivered: str, *changes: dict[str, object]) -> Disposition | None:
    verdicts = decide(messages(a=delivered), matches(*changes), POLICY)
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
    (verdict,) = decide(messages(a="spam"), matches({"confidence": 10}), POLICY)

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
    )

    assert [match.indicator_id for match in verdict.matches] == ["i3", "i2", "i1"]
    assert verdict.delivered_disposition is Disposition.SPAM


def test_each_copy_is_judged_by_its_own_matches_in_a_stable_order():
    verdicts = decide(
        messages(c="unknown", a="unknown", b="spam", d="unknown"),
        matches({"copy_id": "c"}, {"copy_id": "a", "disposition": "bulk"}, {"copy_id": "stranger"}),
        POLICY,
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
    )
    assert again == verdicts


def test_nothing_in_gives_nothing_out():
    assert decide(messages(), matches(), POLICY) == []
