"""Deliver, learn, re-evaluate, retract, report: judged by the tenant's own word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_system import check
from retract.model import Action, Disposition, Provider
from retract.reports.model import Result

if TYPE_CHECKING:
    from tests.end_to_end.conftest import System

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def system(start_system: Callable[..., System]) -> System:
    return start_system("--messages", "220", "--mailboxes", "10", "--seed", "7")


@pytest.fixture(scope="module")
def first_run(system: System) -> dict[check.CopyKey, check.TenantCopy]:
    """Where everything was before the first run; the run is made."""
    before = system.copies()
    assert system.refresh() == 0, system.log("refresh_indicators")[-3000:]
    assert system.respond() == 0, system.log("post_delivery_response")[-3000:]
    return before


def test_everything_that_should_move_is_where_the_policy_says_and_nothing_else_moved(
    system: System, first_run: dict[check.CopyKey, check.TenantCopy]
) -> None:
    expected = system.truth()
    assert len(expected) > 20
    assert check.differences(first_run, system.copies(), expected) == []


def test_the_run_exercised_every_disposition_action_and_provider(
    system: System, first_run: object
) -> None:
    report = system.report()
    done = Counter((c.provider, c.action) for c in report.copies if c.result is Result.DONE)
    microsoft = {action for provider, action in done if provider is Provider.MICROSOFT365}
    google = {action for provider, action in done if provider is Provider.GOOGLE_WORKSPACE}
    assert microsoft >= {Action.JUNK, Action.SOFT_DELETE}
    assert google >= {Action.JUNK, Action.TRASH}
    judged = {c.disposition for c in (*report.copies, *report.skipped)}
    assert judged == {d for d in Disposition if d.severity}


def test_the_tenant_saw_each_copy_moved_once_and_the_report_agrees(
    system: System, first_run: object
) -> None:
    moved = Counter(
        (entry["provider"], entry["mailbox"], entry["message_id"]) for entry in system.audit()
    )
    assert set(moved.values()) == {1}
    report = system.report()
    assert set(moved) == {
        (c.provider.value, c.mailbox, c.message_id)
        for c in report.copies
        if c.result is Result.DONE
    }
    assert not report.failed


def test_running_again_does_nothing_again(system: System, first_run: object) -> None:
    before = system.audit()
    assert system.respond() == 0
    assert system.audit() == before
    assert system.report().counts.planned == 0


LATE = b"""\
From: "Payroll" <payroll@late-campaign.example>
To: undisclosed-recipients:;
Subject: Your salary statement
Message-ID: <late-1@late-campaign.example>
Content-Type: text/html; charset=utf-8

<p>Please <a href="https://late-campaign.example/statement?u=1">confirm your account</a>.</p>
"""


def test_a_later_indicator_meets_old_mail_in_preview_and_then_in_earnest(
    system: System, first_run: object, tmp_path: Path
) -> None:
    victims = [a for a in system.mailboxes() if a.endswith("north.example")][:2]
    victims += [a for a in system.mailboxes() if a.endswith("south.example")][:2]
    system.deliver(LATE, victims)
    assert system.respond() == 0
    before, audit = system.copies(), system.audit()
    expected = {
        key: "soft_delete" if key[0] == "microsoft365" else "trash"
        for key in before
        if before[key].internet_message_id == "<late-1@late-campaign.example>"
    }
    assert len(expected) == 4
    taught = system.environment({"RETRACT_FEEDS_FILE": str(_feed(tmp_path))})
    assert taught.refresh() == 0, taught.log("refresh_indicators")[-3000:]

    assert taught.respond(mode="preview") == 0
    preview = taught.report()
    assert preview.preview
    assert {c.result for c in preview.copies} == {Result.WOULD_RETRACT}
    assert {(c.provider.value, c.mailbox, c.message_id) for c in preview.copies} == set(expected)
    assert system.audit() == audit

    assert taught.respond() == 0
    assert check.differences(before, system.copies(), expected) == []
    assert len(system.audit()) == len(audit) + 4


def _feed(folder: Path) -> Path:
    (folder / "late.txt").write_text("hxxps://late-campaign[.]example/statement\n")
    feeds = folder / "feeds.yaml"
    feeds.write_text(
        "sources:\n"
        "  - name: analyst\n"
        "    format: plain_list\n"
        "    type: url\n"
        "    location: late.txt\n"
        "    disposition: malicious\n"
        "    confidence: 90\n"
        "    time_to_live: P30D\n"
    )
    return feeds


def test_a_run_can_be_narrowed_to_mailboxes(system: System, first_run: object) -> None:
    mailbox = min(key[1] for key in system.copies())
    assert system.respond(mailboxes=[mailbox.upper()]) == 0
    report = system.report()
    assert report.run.mailboxes == 1
    held = [key for key in system.copies() if key[1] == mailbox]
    assert 0 < report.counts.judged <= len(held)
