"""The report's numbers are the plan's and the ledger's, whatever order they come in."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from retract.model import (
    Action,
    Disposition,
    Location,
    Mode,
    ObservableType,
    Place,
    Provider,
    State,
)
from retract.reevaluation.held_back import HeldBackHit, HeldBackHits
from retract.reports.build import MAX_BEATEN, judged_by_day, sources_of
from retract.reports.model import Exposure, Result, SourceFacts
from retract.retraction.plan import SkipReason


def test_golden_counts(
    planned: Any, skipped: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    states = [State.DONE] * 4 + [State.ALREADY_THERE, State.GONE, State.FAILED, State.PLANNED]
    copies = [
        planned(
            number,
            provider=Provider.GOOGLE_WORKSPACE if number < 2 else Provider.MICROSOFT365,
            disposition=Disposition.SPAM if number == 3 else Disposition.MALICIOUS,
            action=Action.JUNK if number == 3 else Action.SOFT_DELETE,
        )
        for number in range(8)
    ]
    left_alone = [
        skipped(20, SkipReason.ALREADY_DONE),
        skipped(21, SkipReason.ALREADY_DONE),
        skipped(22, SkipReason.PROTECTED_MAILBOX),
    ]
    outcomes = [outcome(c, s, reason=s) for c, s in zip(copies, states, strict=True)]
    made = report(make_plan(copies, left_alone, judged=321), outcomes)
    assert made.counts.model_dump(mode="json") == {
        "judged": 321,
        "matched": 11,
        "planned": 8,
        "by_result": {
            "failed": 1,
            "unfinished": 1,
            "done": 4,
            "already_there": 1,
            "gone": 1,
        },
        "by_disposition": {"malicious": 7, "spam": 1},
        "by_action": {"junk": 1, "soft_delete": 7},
        "by_provider": {"microsoft365": 6, "google_workspace": 2},
        "skipped_by_reason": {"protected_mailbox": 1, "already_done": 2},
        "by_exposure": {"read": 7},
        "unwatched_by_reason": {},
    }
    assert made.counts.skipped == 3
    assert [copy.result for copy in made.copies[:3]] == ["failed", "unfinished", "done"]
    assert made.needing_attention == 2
    assert made.failed
    assert sum(mailbox.planned for mailbox in made.mailboxes) == 8
    assert sum(mailbox.skipped for mailbox in made.mailboxes) == 3
    assert sum(day.planned for day in made.days) == 8
    assert sum(day.done for day in made.days) == 4


def test_a_done_copy_tells_where_it_was_and_where_it_is(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copy = planned(3)
    [row] = report(make_plan([copy]), [outcome(copy)]).copies
    assert (row.was.place, row.was.folder) == (Place.INBOX, "Inbox")
    assert row.exposure is Exposure.READ
    assert (row.now.place, row.now.folder) == (Place.TRASH, "Deleted Items")
    assert row.time_to_result == timedelta(hours=3, minutes=1)


@pytest.mark.parametrize(
    ("marks", "exposure"),
    [
        ({}, Exposure.UNREAD),
        ({"is_read": True}, Exposure.READ),
        ({"is_read": True, "replied": True}, Exposure.REPLIED),
        ({"is_read": True, "replied": True, "forwarded": True}, Exposure.FORWARDED),
        ({"is_read": True, "replied": False, "forwarded": False}, Exposure.READ),
    ],
)
def test_what_the_owner_had_done_with_it_is_told_by_the_worst(
    planned: Any,
    make_plan: Any,
    outcome: Any,
    report: Any,
    marks: dict[str, bool],
    exposure: Exposure,
) -> None:
    copy = planned(1)
    before = Location(Place.INBOX, **marks)
    made = report(make_plan([copy]), [outcome(copy, location_before=before)])
    assert made.copies[0].exposure is exposure
    assert made.counts.by_exposure == {exposure: 1}
    assert len(made.met_by_owner) == (exposure is not Exposure.UNREAD)


def test_who_passed_it_on_comes_before_who_read_it(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copies = [planned(number) for number in range(3)]
    befores = [
        Location(Place.INBOX, is_read=True),
        Location(Place.INBOX, is_read=True, replied=True),
        Location(Place.INBOX, is_read=True, forwarded=True),
    ]
    outcomes = [outcome(c, location_before=b) for c, b in zip(copies, befores, strict=True)]
    met = report(make_plan(copies), outcomes).met_by_owner
    assert [copy.exposure for copy in met] == [
        Exposure.FORWARDED,
        Exposure.REPLIED,
        Exposure.READ,
    ]


def test_a_message_found_under_another_id_is_a_copy_of_the_report(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copy = planned(1)
    gone = outcome(copy, State.GONE, reason="now under another id")
    its = replace(gone.copy, message_id="another")
    found = replace(outcome(copy), copy=its)
    made = report(make_plan([copy]), [gone, found])
    assert sorted((one.result, one.message_id) for one in made.copies) == [
        (Result.DONE, "another"),
        (Result.GONE, copy.message_id),
    ]
    assert made.counts.by_result == {Result.DONE: 1, Result.GONE: 1}


def test_what_is_amiss_is_counted_by_reason_whatever_the_mailbox(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copies = [planned(number) for number in range(4)]
    outcomes = [
        outcome(copies[0], State.FAILED, reason=f"denied in {copies[0].mailbox}"),
        outcome(copies[1], State.FAILED, reason=f"denied in {copies[1].mailbox}"),
        outcome(copies[2], State.PLANNED, reason="throttled"),
        outcome(copies[3]),
    ]
    troubles = report(make_plan(copies), outcomes).troubles
    assert [(one.result, one.reason, one.copies, one.mailboxes) for one in troubles] == [
        (Result.FAILED, "denied in the mailbox", 2, 2),
        (Result.UNFINISHED, "throttled", 1, 1),
    ]


def test_labels_stand_in_for_a_folder(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copy = planned(1)
    labels = Location(Place.INBOX, labels=("INBOX", "UNREAD"))
    [row] = report(make_plan([copy]), [outcome(copy, location_before=labels)]).copies
    assert row.was.folder == "INBOX, UNREAD"


def test_without_an_outcome_a_copy_is_unfinished_and_the_run_failed(
    planned: Any, make_plan: Any, report: Any
) -> None:
    made = report(make_plan([planned(1)]))
    assert made.copies[0].result is Result.UNFINISHED
    assert made.failed


def test_in_preview_it_would_be_retracted_and_nothing_failed(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copy, other = planned(1), planned(2)
    unfinished = outcome(other, State.PLANNED, reason="not tried yet", location_before=None)
    made = report(make_plan([copy, other], mode=Mode.PREVIEW), [unfinished])
    assert [(c.result, c.note) for c in made.copies] == [(Result.WOULD_RETRACT, "")] * 2
    assert made.preview
    assert not made.failed


def test_what_an_earlier_plan_of_the_run_finished_is_the_runs_doing(
    planned: Any, skipped: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    before, now = planned(1), planned(2)
    plan = make_plan([now], [skipped(1, SkipReason.ALREADY_DONE), skipped(3)])
    made = report(plan, [outcome(before), outcome(now)])
    assert made.counts.by_result == {Result.DONE: 2}
    assert made.counts.skipped_by_reason == {SkipReason.ALREADY_DONE: 1}
    assert len(made.skipped) == 1


def test_a_mailbox_that_could_not_be_read_is_named_first_and_fails_the_run(
    planned: Any, make_plan: Any, outcome: Any, report: Any
) -> None:
    copy = planned(1)
    problems = {"away@north.example": "no such mailbox", copy.mailbox: "read half"}
    made = report(make_plan([copy]), [outcome(copy)], mailbox_problems=problems)
    assert [(m.mailbox, m.problem) for m in made.mailboxes] == [
        (copy.mailbox, "read half"),
        ("away@north.example", "no such mailbox"),
    ]
    assert made.failed


@pytest.mark.parametrize(("problems", "failed"), [((), False), (("feed unreachable",), True)])
def test_a_problem_fails_the_run(
    problems: tuple[str, ...], failed: bool, make_plan: Any, report: Any
) -> None:
    assert report(make_plan(), problems=problems).failed is failed


def test_days_without_mail_are_there_but_not_for_centuries(
    planned: Any, make_plan: Any, report: Any
) -> None:
    plan = make_plan()
    short = report(plan, judged_by_day={date(2026, 1, 1): 3, date(2026, 1, 4): 1})
    assert [day.judged for day in short.days] == [3, 0, 0, 1]
    long = report(plan, judged_by_day={date(1, 1, 1): 3, date(9999, 12, 31): 1})
    assert [day.judged for day in long.days] == [3, 1]


def test_sources_tell_what_they_met(
    planned: Any, skipped: Any, because: Any, make_plan: Any, report: Any
) -> None:
    twice = (because(source="a"), because(source="a", indicator="x"), because(source="b"))
    plan = make_plan([planned(1, reasons=twice)], [skipped(2, reasons=(because(source="a"),))])
    made = report(plan, sources=[SourceFacts(source="a", active=9), SourceFacts(source="c")])
    assert [(s.source, s.active, s.matched) for s in made.sources] == [
        ("a", 9, 2),
        ("b", None, 1),
        ("c", None, 0),
    ]


def test_each_allow_rule_is_told_with_what_it_beat(
    planned: Any, skipped: Any, because: Any, overruled: Any, make_plan: Any, report: Any
) -> None:
    page = overruled(rule="x.example/", rule_reason="ours", indicator="x.example/a", source="a")
    again = overruled(rule="x.example/", rule_reason="ours", indicator="x.example/a", source="b")
    other = overruled(rule="y.example", rule_reason="theirs", indicator="y.example", source="a")
    plan = make_plan(
        [planned(1, overruled=(page, page, again))],
        [
            skipped(2, SkipReason.ALLOWED, reasons=(), overruled=(page, other)),
            skipped(3, SkipReason.ALLOWED, reasons=(), overruled=(page,)),
            skipped(4, SkipReason.ALREADY_DONE, overruled=(other,)),
        ],
    )
    made = report(plan)
    assert [(r.rule, r.reason, r.copies, r.left_alone, r.beaten) for r in made.rules] == [
        ("x.example/", "ours", 3, 2, 2),
        ("y.example", "theirs", 2, 1, 1),
    ]
    assert [(b.indicator, b.source, b.copies) for b in made.rules[0].examples] == [
        ("x.example/a", "a", 3),
        ("x.example/a", "b", 1),
    ]
    assert made.counts.skipped_by_reason == {SkipReason.ALLOWED: 2, SkipReason.ALREADY_DONE: 1}
    assert {s.source: s.matched for s in made.sources} == {"a": 4, "openphish": 2, "b": 1}


def test_of_the_indicators_a_rule_beat_the_first_are_named_and_all_are_counted(
    skipped: Any, overruled: Any, make_plan: Any, report: Any
) -> None:
    many = tuple(overruled(indicator=f"{n}.example") for n in range(MAX_BEATEN + 5))
    (rule,) = report(make_plan([], [skipped(1, SkipReason.ALLOWED, overruled=many)])).rules
    assert (rule.copies, rule.beaten, len(rule.examples)) == (1, MAX_BEATEN + 5, MAX_BEATEN)


def test_what_was_held_back_is_handed_on(make_plan: Any, report: Any) -> None:
    hit = HeldBackHit(
        type=ObservableType.DOMAIN,
        value="google.com",
        reason="shared host",
        sources=("a",),
        disposition=Disposition.MALICIOUS,
        copies=7,
    )
    found = HeldBackHits(values=1, top=(hit,))
    assert report(make_plan(), held_back=found).held_back == found
    assert report(make_plan()).held_back == HeldBackHits()


def test_sources_are_counted_as_they_can_match(run_facts: Any) -> None:
    now = run_facts.started_at
    indicators = pl.LazyFrame(
        {
            "source": ["a", "a", "a", "a", "b"],
            "active": [True, True, True, False, True],
            "held_back": [None, "shared host", None, None, None],
            "expires_at": [None, None, now - timedelta(days=1), None, now + timedelta(days=1)],
        },
        schema_overrides={"expires_at": pl.Datetime("us", "UTC"), "held_back": pl.String},
    )
    assert sources_of(indicators, now) == [
        SourceFacts(source="a", active=1, held_back=1),
        SourceFacts(source="b", active=1, held_back=0),
    ]


def test_deliveries_are_counted_by_day() -> None:
    days = [date(2026, 1, 2), date(2026, 1, 1), date(2026, 1, 2)]
    assert judged_by_day(pl.DataFrame({"delivery_date": days})) == {
        date(2026, 1, 1): 1,
        date(2026, 1, 2): 2,
    }
