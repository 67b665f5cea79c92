"""The steps of post_delivery_response, without Airflow: what a step that fails leaves behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.orchestration.fake_installation import (
    ANN,
    BAD_URL,
    BOB,
    FEEDS,
    POLICY,
    Installation,
    WorkerDied,
)

from retract.errors import ConfigurationError, MailboxError
from retract.indicators.hold_back.rules import OWN_DOMAIN
from retract.installation import Settings
from retract.model import Observable, ObservableType, Place
from retract.orchestration import response
from retract.orchestration.response.pinned import HELD_BACK, PLAN
from retract.orchestration.runs import RunFolder
from retract.reevaluation.held_back import HeldBackHits
from retract.retraction.plan import SkipReason, read_plan


def test_a_run_retracts_what_is_listed_and_nothing_else(installation: Installation) -> None:
    north = installation.tenant("north")
    bad = north.deliver(ANN)
    good = north.deliver(ANN, "http://bad.example.net/other")
    installation.learn(BAD_URL)
    folder = installation.run()
    assert installation.problems(folder) == []
    counts = installation.report(folder).counts
    assert (counts.judged, counts.planned) == (2, 1)
    assert north.places == {bad.message_id: Place.TRASH, good.message_id: Place.INBOX}


def test_campaign_rules_that_are_too_many_to_evaluate_are_a_problem_of_the_run(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retract.reevaluation.late_lookups.MAX_RULES", 1)
    north = installation.tenant("north")
    copy = north.deliver(ANN, "http://good.example.net/")
    feeds_file = installation.settings.feeds_file
    feeds_file.write_text(
        FEEDS.replace("url", "display_name_pattern, campaign: Winter, time_to_live: P30D")
    )
    installation.learn("the name of the campaign", "another campaign's name")
    folder = installation.run()
    (problem,) = installation.problems(folder)
    assert "2 campaign rules are in force, and only the 1 first seen" in problem
    assert north.places == {copy.message_id: Place.INBOX}


ALLOWING = POLICY + "allow: [{value: 'http://bad.example.net/login', reason: our own test}]\n"


def test_an_allow_rule_of_the_run_s_policy_leaves_a_listed_link_alone_and_is_reported(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    allowed, other = north.deliver(ANN), north.deliver(BOB, "http://bad.example.net/other")
    installation.learn(BAD_URL, "http://bad.example.net/other")
    installation.settings.policy_file.write_text(ALLOWING)
    folder = installation.run()
    assert installation.problems(folder) == []
    assert north.places == {allowed.message_id: Place.INBOX, other.message_id: Place.TRASH}
    report = installation.report(folder)
    assert report.counts.skipped_by_reason == {SkipReason.ALLOWED: 1}
    assert [(rule.rule, rule.reason, rule.left_alone) for rule in report.rules] == [
        (BAD_URL, "our own test", 1)
    ]


def test_a_rule_that_is_taken_out_of_the_policy_beats_nothing_any_more(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    copy = north.deliver(ANN)
    installation.learn(BAD_URL)
    installation.settings.policy_file.write_text(ALLOWING)
    installation.run()
    assert north.places == {copy.message_id: Place.INBOX}
    installation.settings.policy_file.write_text(POLICY)
    installation.run()
    assert north.places == {copy.message_id: Place.TRASH}


def test_what_is_held_back_is_counted_in_the_run_s_folder_and_reported(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    bad = north.deliver(ANN)
    for _ in range(2):
        north.deliver(BOB, "http://docs.google.com/")
    installation.learn(BAD_URL, "http://docs.google.com/")
    folder = installation.run()
    assert installation.problems(folder) == []
    assert [m for m, place in north.places.items() if place is Place.TRASH] == [bad.message_id]
    held_back = installation.report(folder).held_back
    assert held_back == RunFolder(folder).read(HELD_BACK, HeldBackHits)
    assert [(hit.value, hit.sources, hit.copies) for hit in held_back.top] == [
        ("http://docs.google.com/", ("list",), 2)
    ]


def test_without_mail_and_indicators_a_run_ends_well(installation: Installation) -> None:
    installation.tenant("north").boxes[ANN] = []
    folder = installation.run()
    assert installation.problems(folder) == []
    assert installation.report(folder).counts.judged == 0


@pytest.mark.parametrize("connections", ["", " , "])
def test_without_connections_no_run_is_opened(installation: Installation, connections: str) -> None:
    installation.configure(connections)
    with pytest.raises(ConfigurationError, match="RETRACT_CONNECTIONS"):
        installation.open_run()


def test_a_connection_whose_listing_ended_without_a_word_is_told(
    installation: Installation,
) -> None:
    installation.configure("north,south")
    installation.tenant("north").deliver(ANN)
    installation.tenant("south").fails = WorkerDied()
    folder = installation.run()
    assert any("south" in problem for problem in installation.problems(folder))
    assert installation.report(folder).counts.judged == 1


def test_a_connection_id_may_hold_what_a_file_name_may_not(installation: Installation) -> None:
    installation.configure("tenants/north,../south")
    for connection in ("tenants/north", "../south"):
        installation.tenant(connection).deliver(ANN)
    folder = installation.run()
    assert installation.problems(folder) == []
    assert installation.report(folder).counts.judged == 2


def test_a_tenant_that_was_taken_out_is_left_alone(installation: Installation) -> None:
    installation.configure("north,south")
    for connection in ("north", "south"):
        installation.tenant(connection).deliver(ANN)
    installation.run()
    installation.configure("north")
    installation.learn(BAD_URL)
    folder = installation.run()
    assert installation.problems(folder) == []
    counts = installation.report(folder).counts
    assert (counts.judged, counts.planned) == (1, 1)
    assert set(installation.tenant("south").places.values()) == {Place.INBOX}


def test_a_mailbox_that_was_closed_is_left_alone(installation: Installation) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    of_bob = north.deliver(BOB)
    installation.run()
    del north.boxes[BOB]
    installation.learn(BAD_URL)
    folder = installation.run()
    assert installation.problems(folder) == []
    counts = installation.report(folder).counts
    assert (counts.judged, counts.planned) == (1, 1)
    assert north.places[of_bob.message_id] is Place.INBOX


def test_a_run_narrowed_to_a_mailbox_judges_that_one(installation: Installation) -> None:
    north = installation.tenant("north")
    of_ann, of_bob = north.deliver(ANN), north.deliver(BOB)
    installation.run()
    installation.learn(BAD_URL)
    folder = installation.run(mailboxes=[BOB])
    assert installation.problems(folder) == []
    assert north.places == {of_ann.message_id: Place.INBOX, of_bob.message_id: Place.TRASH}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("protected_mailboxes: [soc@north.example]\n", SkipReason.PROTECTED_MAILBOX),
        ("exempt: {mailboxes: [soc@north.example]}\n", SkipReason.EXEMPT_MAILBOX),
    ],
)
@pytest.mark.parametrize("narrowed_to", [[], [ANN, BOB]])
def test_a_mailbox_is_left_alone_by_any_of_its_addresses(
    installation: Installation, settings: str, reason: SkipReason, narrowed_to: list[str]
) -> None:
    north = installation.tenant("north")
    of_ann, of_bob = north.deliver(ANN), north.deliver(BOB)
    north.aliases[ANN] = ("security@north.example", "SOC@north.example")
    installation.learn(BAD_URL)
    installation.settings.policy_file.write_text(POLICY + settings)
    folder = installation.run(mailboxes=narrowed_to)
    assert installation.problems(folder) == []
    assert north.places == {of_ann.message_id: Place.INBOX, of_bob.message_id: Place.TRASH}
    assert installation.report(folder).counts.skipped_by_reason == {reason: 1}


def test_a_mailbox_that_got_another_address_is_acted_on_under_that_one(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    installation.run()
    renamed = "ann.new@north.example"
    north.boxes[renamed] = north.boxes.pop(ANN)
    north.ids[renamed] = f"id of {ANN}"
    installation.learn(BAD_URL)
    folder = installation.run()
    (planned,) = read_plan(RunFolder(folder).path / PLAN).retractions
    assert planned.mailbox == renamed


@pytest.mark.parametrize("error", [MailboxError("down"), WorkerDied()])
def test_a_mailbox_that_fails_after_its_task_was_cleared_is_told(
    installation: Installation, error: BaseException
) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    folder = installation.run()
    assert installation.problems(folder) == []
    north.fails = error
    installation.collect(folder)
    assert installation.problems(folder) != []


def match_first_part(settings: Settings, folder: str) -> None:
    response.match(settings, folder, {"index": 0, "label": "", "tasks": 1})


@pytest.mark.parametrize(
    ("step", "inside"),
    [
        (response.pin, "retract.lake.store.Lake.versions"),
        (match_first_part, "retract.reevaluation.days.Matching.run"),
        (response.make_plan, "retract.reevaluation.match.matches_of"),
        (response.make_plan, "retract.reevaluation.held_back.held_back_hits"),
        (response.make_plan, "retract.reevaluation.decide.decide"),
    ],
)
def test_a_step_that_fails_after_it_was_cleared_is_not_covered_by_the_earlier_plan(
    installation: Installation, step: object, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.tenant("north").deliver(ANN)
    folder = installation.run()
    assert installation.problems(folder) == []

    def die(*_: object) -> None:
        raise WorkerDied

    monkeypatch.setattr(inside, die)
    with pytest.raises(WorkerDied):
        step(installation.settings, folder)  # type: ignore[operator]
    assert "before a plan was made" in installation.problems(folder)[0]


def test_a_mailbox_that_is_there_when_the_listing_is_cleared_is_not_missed_any_more(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    folder = installation.run(mailboxes=[ANN, BOB])
    assert any(BOB in problem for problem in installation.problems(folder))
    north.boxes[BOB] = []
    installation.list_mailboxes(folder)
    installation.collect(folder)
    installation.judge(folder)
    assert installation.problems(folder) == []


def test_a_mailbox_that_is_gone_when_the_listing_is_cleared_is_not_collected_any_more(
    installation: Installation,
) -> None:
    north = installation.tenant("north")
    north.deliver(ANN)
    north.boxes[BOB] = []
    folder = installation.run()
    del north.boxes[BOB]
    installation.list_mailboxes(folder)
    installation.collect(folder)
    installation.judge(folder)
    assert installation.problems(folder) == []
    assert installation.report(folder).run.mailboxes == 1


def test_the_tenants_own_domain_is_known_in_the_run_that_first_collects_its_mail(
    installation: Installation,
) -> None:
    tenant = installation.tenant("north")
    copy = tenant.deliver(ANN)
    (message,) = tenant.boxes[ANN]
    seen = Observable(ObservableType.DOMAIN, "intranet.north.example", "text")
    extraction = replace(message.extraction, observables=(seen,))
    tenant.boxes[ANN] = [replace(message, extraction=extraction)]
    feeds = installation.settings.feeds_file
    feeds.write_text(FEEDS.replace("type: url", "type: domain"))
    installation.learn("north.example")

    folder = installation.run()

    assert tenant.places[copy.message_id] is Place.INBOX
    hits = RunFolder(folder).read("held_back.json", HeldBackHits)
    assert [(hit.value, hit.reason, hit.copies) for hit in hits.top] == [
        ("north.example", OWN_DOMAIN, 1)
    ]
    assert installation.problems(folder) == []
    (facts,) = installation.report(folder).sources
    assert facts.held_back == 1
