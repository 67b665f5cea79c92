"""What is still to do, what is not and why; and the file it is kept in."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from fake_provider import INBOX
from hypothesis import given, settings
from hypothesis import strategies as st
from words import RUN, START, WINDOW, copy, messages, plan, policy, verdict

from retract.errors import PlanError
from retract.lake.store import LakeVersions
from retract.model import (
    Action,
    Copy,
    Disposition,
    Mode,
    Overruled,
    Provider,
    State,
    Verdict,
)
from retract.policy import Policy
from retract.retraction.plan import Plan, make_plan, read_plan, write_plan
from retract.retraction.records import CopyState, Purpose

VERSIONS = LakeVersions(messages=3, observables=4, indicators=None)


def made(
    verdicts, rows, states: Mapping[str, CopyState] | None = None, by: Policy | None = None, **more
) -> Plan:
    settings = {
        "run_id": RUN,
        "mode": Mode.ENFORCE,
        "window": WINDOW,
        "lake_versions": VERSIONS,
        "made_at": START,
    }
    return make_plan(verdicts, rows, states or {}, by or policy(), **(settings | more))


def skip_reason(by: Policy, of: Copy, sender: str = "eve@sender.example") -> str | None:
    result = made([verdict(of)], messages([of], sender), by=by)
    return result.skipped[0].reason.value if result.skipped else None


def known(of: Copy, state: State, settled: Action | None = None, **more: object) -> CopyState:
    return CopyState(
        copy_id=of.copy_id,
        disposition=Disposition.MALICIOUS,
        state=state,
        action=settled or Action.TRASH,
        purpose=Purpose.RETRACT,
        token=1,
        claim_expires_at=None,
        settled_action=settled,
        before=None,
        origin=INBOX if settled else None,
        location=None,
        reason="",
        run_id="earlier",
        updated_at=START,
        **more,
    )


# --- what is planned ---


def test_a_plan_says_what_to_do_with_which_copy_and_why():
    one, two = copy(1), copy(2)
    result = made([verdict(one), verdict(two, Disposition.SPAM)], messages([one, two, copy(3)]))

    first = result.retractions[0]
    assert first.to_copy() == one
    assert (first.action, first.disposition) == (Action.TRASH, Disposition.MALICIOUS)
    assert (first.subject, first.sender) == ("Subject m1", "eve@sender.example")
    assert first.copy_id == one.copy_id
    assert first.reasons[0].indicator == "bad.example/login"
    assert (result.judged, result.matched) == (3, 2)
    assert (result.window_start, result.window_end) == (WINDOW.start, WINDOW.end)
    assert result.policy_digest == policy().digest


def test_the_disposition_at_delivery_is_planned_without_a_match():
    one = copy(1)
    delivered = replace(verdict(one, Disposition.SPAM), matches=())

    result = made([delivered], messages([one]))

    assert (len(result.retractions), result.matched) == (1, 0)


def test_each_provider_has_its_own_action():
    one, two = copy(1), copy(2, provider=Provider.GOOGLE_WORKSPACE)
    by = policy(
        actions={"malicious": "soft_delete"},
        providers={"google_workspace": {"actions": {"malicious": "trash"}}},
    )
    result = made([verdict(one), verdict(two)], messages([one, two]), by=by)

    assert {r.provider: r.action for r in result.retractions} == {
        Provider.MICROSOFT365: Action.SOFT_DELETE,
        Provider.GOOGLE_WORKSPACE: Action.TRASH,
    }


@pytest.mark.parametrize(
    ("file", "run", "planned"),
    [
        (Mode.ENFORCE, Mode.ENFORCE, Mode.ENFORCE),
        (Mode.ENFORCE, Mode.PREVIEW, Mode.PREVIEW),
        (Mode.PREVIEW, Mode.ENFORCE, Mode.PREVIEW),
        (Mode.PREVIEW, Mode.PREVIEW, Mode.PREVIEW),
    ],
)
def test_a_run_narrows_the_mode_and_never_widens_it(file, run, planned):
    assert made([], messages([copy(1)]), by=policy(file), mode=run).mode is planned


# --- what is not, and why ---


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"actions": {}}, "no_action"),
        ({"protected_mailboxes": ["Ann@north.example"]}, "protected_mailbox"),
        ({"exempt": {"mailboxes": ["ann@north.example"]}}, "exempt_mailbox"),
        ({"exempt": {"recipients_domains": ["north.example"]}}, "exempt_recipient_domain"),
        ({"exempt": {"senders": ["eve@sender.example"]}}, "exempt_sender"),
        ({"exempt": {"senders": ["@sender.example"]}}, "exempt_sender"),
        ({"protected_mailboxes": ["bob@north.example"]}, None),
        ({"exempt": {"senders": ["@example"]}}, None),
    ],
)
def test_the_policy_s_reasons_to_leave_a_copy_alone(settings, reason):
    assert skip_reason(policy(**settings), copy(1)) == reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"protected_mailboxes": ["soc@north.example"]}, "protected_mailbox"),
        ({"exempt": {"mailboxes": ["soc@north.example"]}}, "exempt_mailbox"),
        ({"exempt": {"recipients_domains": ["lab.example"]}}, None),
    ],
)
def test_a_mailbox_is_named_by_any_of_its_addresses_but_of_the_domain_of_its_own(settings, reason):
    ann, bob = copy(1), copy(2, "bob")
    aliases = {(ann.connection, ann.mailbox_id): ("SOC@north.example", "ann@lab.example")}
    verdicts = [verdict(ann), verdict(bob)]
    result = made(verdicts, messages([ann, bob]), by=policy(**settings), aliases=aliases)
    assert [s.reason for s in result.skipped] == ([reason] if reason else [])
    assert bob.copy_id in {r.copy_id for r in result.retractions}


@pytest.mark.parametrize(
    ("state", "settled", "reason"),
    [
        (State.DONE, Action.TRASH, "already_done"),
        (State.DONE, Action.HARD_DELETE, "already_done"),
        (State.DONE, Action.JUNK, None),
        (State.ALREADY_THERE, Action.TRASH, "already_there"),
        (State.ALREADY_THERE, Action.JUNK, None),
        (State.FAILED, None, None),
        (State.FAILED, Action.JUNK, None),
        (State.FAILED, Action.TRASH, "already_done"),
        (State.SKIPPED, None, None),
        (State.PLANNED, None, None),
        (State.GONE, None, "gone"),
        (State.RESTORED, Action.JUNK, "restored"),
    ],
)
def test_only_a_graver_action_than_the_one_settled_is_planned(state, settled, reason):
    one = copy(1)
    result = made([verdict(one)], messages([one]), {one.copy_id: known(one, state, settled)})

    assert [s.reason for s in result.skipped] == ([] if reason is None else [reason])
    assert len(result.retractions) == (reason is None)


def test_a_copy_being_restored_is_left_alone():
    one = copy(1)
    restoring = replace(known(one, State.PLANNED), purpose=Purpose.RESTORE)

    result = made([verdict(one)], messages([one]), {one.copy_id: restoring})

    assert result.skipped[0].reason == "restored"


# --- what a connection's service does not offer ---


def without_hard_delete(by: Policy, *copies: Copy, **more) -> Plan:
    missing = {"tenant": frozenset({Action.HARD_DELETE})}
    judged = [verdict(each, Disposition.SPOOF) for each in copies]
    return made(judged, messages(copies), by=by, missing_actions=missing, **more)


def fallback(provider: str, instead: str) -> dict[str, object]:
    return {"providers": {provider: {"hard_delete_fallback": instead}}}


def test_an_action_that_the_service_does_not_offer_is_refused_unless_the_policy_names_another():
    one, other = copy(1), replace(copy(2), connection="elsewhere")
    result = without_hard_delete(policy(), one, other)

    (left,), (planned,) = result.skipped, result.retractions
    assert (left.copy_id, left.reason, left.action) == (
        one.copy_id,
        "action_missing",
        "hard_delete",
    )
    assert (planned.copy_id, planned.action) == (other.copy_id, "hard_delete")
    assert left.instead_of is planned.instead_of is None


@pytest.mark.parametrize(
    ("provider", "instead"),
    [(Provider.MICROSOFT365, "soft_delete"), (Provider.GOOGLE_WORKSPACE, "trash")],
)
def test_the_next_best_action_is_planned_and_says_what_it_stands_for(provider, instead):
    one = copy(1, provider=provider)
    by = policy(**fallback(provider, instead))
    (planned,) = without_hard_delete(by, one).retractions

    assert (planned.action, planned.instead_of) == (instead, "hard_delete")
    (as_wanted,) = made([verdict(one, Disposition.SPOOF)], messages([one]), by=by).retractions
    assert (as_wanted.action, as_wanted.instead_of) == ("hard_delete", None)


def test_the_ledger_is_asked_about_the_next_best_action():
    one = copy(1)
    by = policy(**fallback("microsoft365", "soft_delete"))
    done = known(one, State.DONE, Action.SOFT_DELETE)
    missing = {"tenant": frozenset({Action.HARD_DELETE})}
    judged = [verdict(one, Disposition.SPOOF)]
    (left,) = made(
        judged, messages([one]), {one.copy_id: done}, by, missing_actions=missing
    ).skipped
    assert (left.reason, left.action, left.instead_of) == (
        "already_done",
        "soft_delete",
        "hard_delete",
    )


def test_the_digest_covers_what_an_action_stands_for():
    one = copy(1)
    by = policy(**fallback("microsoft365", "soft_delete"))
    planned = without_hard_delete(by, one)
    (row,) = planned.retractions
    altered = planned.model_copy(
        update={"retractions": (row.model_copy(update={"instead_of": None}),)}
    )
    with pytest.raises(ValueError, match="altered"):
        Plan.model_validate_json(altered.model_dump_json())


# --- what a mailbox sent itself ---


@pytest.mark.parametrize(
    ("place", "said", "reason"),
    [
        ("sent", {}, "sent"),
        ("sent", {"sent_copies": "leave"}, "sent"),
        ("sent", {"sent_copies": "retract"}, None),
        ("inbox", {}, None),
        ("other", {}, None),
    ],
)
def test_a_copy_that_its_mailbox_sent_is_left_unless_the_policy_says_otherwise(place, said, reason):
    one = copy(1)
    result = made([verdict(one)], messages([one], place=place), by=policy(**said))
    assert [s.reason for s in result.skipped] == ([] if reason is None else [reason])


def beaten(of: Copy, live: Disposition, *, by: str = "bad.example/login") -> Verdict:
    """Judged ``live``; without the rule, malicious."""
    judged = verdict(of)
    overruled = Overruled(judged.matches[0], by, "our own page")
    return replace(judged, disposition=live, matches=(), overruled=(overruled,))


@pytest.mark.parametrize("live", [Disposition.UNKNOWN, Disposition.NONE])
def test_a_copy_that_only_overruled_matches_speak_against_is_left_alone_as_allowed(live):
    one = copy(1)
    result = made([beaten(one, live)], messages([one, copy(2)]))

    (left,) = result.skipped
    assert result.retractions == ()
    assert (left.reason, left.disposition, left.action) == ("allowed", "malicious", "trash")
    assert left.reasons == ()
    assert [(o.indicator, o.rule, o.rule_reason) for o in left.overruled] == [
        ("bad.example/login", "bad.example/login", "our own page")
    ]
    assert (result.judged, result.matched) == (2, 1)


def test_what_remains_is_acted_on_and_what_was_overruled_is_told():
    one = copy(1)
    (planned,) = made([beaten(one, Disposition.SPAM)], messages([one])).retractions

    assert (planned.disposition, planned.action) == (Disposition.SPAM, Action.JUNK)
    assert [o.rule for o in planned.overruled] == ["bad.example/login"]


def test_a_copy_whose_remaining_disposition_gets_no_action_is_left_alone_by_the_rule():
    one = copy(1)
    (left,) = made([beaten(one, Disposition.BULK)], messages([one])).skipped

    assert (left.reason, left.disposition) == ("allowed", Disposition.MALICIOUS)


def test_a_rule_that_changes_nothing_is_not_the_reason():
    one = copy(1)
    (left,) = made(
        [beaten(one, Disposition.BULK)], messages([one]), by=policy(actions={"spam": "junk"})
    ).skipped

    assert (left.reason, left.disposition) == ("no_action", Disposition.BULK)
    assert left.overruled


# --- order, digest, file ---


def test_a_mailbox_s_gravest_and_newest_come_first():
    copies = [copy(1, "bob"), copy(2), copy(3), copy(4)]
    dispositions = [Disposition.SPAM, Disposition.SPAM, Disposition.MALICIOUS, Disposition.SPAM]
    verdicts = [verdict(*pair) for pair in zip(copies, dispositions, strict=True)]

    result = made(verdicts, messages(copies))

    assert [r.message_id for r in result.retractions] == ["m3", "m2", "m4", "m1"]


@settings(deadline=None)
@given(st.permutations(range(6)), st.permutations(range(6)))
def test_the_order_of_what_goes_in_does_not_matter(verdict_order, row_order):
    copies = [copy(number, f"box{number % 2}") for number in range(6)]
    rows = messages(copies)

    one = made([verdict(each) for each in copies], rows)
    other = made([verdict(copies[n]) for n in verdict_order], rows[list(row_order)])

    assert one == other
    assert one.digest == other.digest


def test_the_digest_covers_everything_but_the_time_of_making():
    one = copy(1)
    base = plan(one)

    assert made([verdict(one)], messages([one])).digest != base.digest  # other lake versions
    assert plan(one, action=Action.JUNK).digest != base.digest
    assert plan(one, run_id="another").digest != base.digest
    assert plan(one, mode=Mode.PREVIEW).digest != base.digest
    assert plan(one, copy(2)).digest != base.digest
    by_rule = [
        made([beaten(one, Disposition.SPAM, by=rule)], messages([one])) for rule in ("a", "b")
    ]
    assert by_rule[0].digest != by_rule[1].digest
    early = made([], messages([one]))
    late = made([], messages([one]), made_at=START + timedelta(hours=1))
    assert (early.digest, early.made_at) != (late.digest, late.made_at)
    assert early.digest == late.digest


def test_a_plan_comes_back_from_its_file_as_it_was(tmp_path):
    copies = copy(1), copy(2, "bob", Provider.GOOGLE_WORKSPACE), copy(3)
    verdicts = [verdict(copies[0]), *(beaten(one, Disposition.NONE) for one in copies[1:])]
    before = made(verdicts, messages(copies))
    write_plan(before, tmp_path / "run" / "plan.json")

    assert read_plan(tmp_path / "run" / "plan.json") == before
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    "alter",
    [
        lambda plan: plan["retractions"].pop(),
        lambda plan: plan["retractions"][0].update(action="hard_delete"),
        lambda plan: plan["retractions"][0].update(message_id="other"),
        lambda plan: plan.update(mode="enforce"),
        lambda plan: plan.update(run_id="other"),
        lambda plan: plan.update(extra=1),
        lambda plan: plan.pop("digest"),
    ],
)
def test_an_altered_plan_is_refused(tmp_path, alter):
    path = tmp_path / "plan.json"
    write_plan(plan(copy(1), mode=Mode.PREVIEW), path)
    content = json.loads(path.read_text())
    alter(content)
    path.write_text(json.dumps(content))

    with pytest.raises(PlanError, match=r"plan\.json"):
        read_plan(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_a_damaged_plan_is_refused(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content)

    with pytest.raises(PlanError):
        read_plan(path)


def test_a_missing_plan_is_told_as_such(tmp_path):
    with pytest.raises(PlanError, match="No such file"):
        read_plan(tmp_path / "plan.json")


def test_any_subject_survives_the_file(tmp_path):
    one = copy(1)
    rows = messages([one]).with_columns(subject=pl.lit("☃ \u2028 \x00 \"' <b>"))
    before = made([verdict(one)], rows)
    write_plan(before, tmp_path / "plan.json")

    assert read_plan(tmp_path / "plan.json").retractions[0].subject == "☃ \u2028 \x00 \"' <b>"
