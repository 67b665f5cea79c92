"""`indicators add` shows what was understood and what it would hit before anything is written."""

from __future__ import annotations

import getpass
import os
import pty
import select
import shlex
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from installed import Installed

from retract.indicators.listed import Listed
from retract.model import ObservableType as Type
from retract.model import Provider, State, Window
from retract.policy import load_policy
from retract.reevaluation.decide import decide
from retract.reevaluation.match import full_match
from retract.retraction.ledger import Ledger
from retract.retraction.plan import Plan, make_plan

REPOSITORY = Path(__file__).parents[2]

PASTE = """\
Ticket INC-7: phishing "Shared document"
• hxxps://docs-share-portal[.]com/view/9f2a
• sender dse@docs-share-portal.com, see annex.pdf
hxxp://localhost/x
"""


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def campaign_mail(installed: Installed) -> Installed:
    """Three copies of a campaign, one of them read, among daily mail."""
    installed.deliver_many(200)
    common = {"subject": "Shared document", "sender": "DSE <dse@docs-share-portal.com>"}
    link = "see https://docs-share-portal.com/view/9f2a?u=ann now"
    installed.deliver("ann", "bob", body=link, **common)  # type: ignore[arg-type]
    installed.deliver("carol", body="https://docs-share-portal.com/other", is_read=True, **common)  # type: ignore[arg-type]
    return installed


# --- what it says ---


def test_what_was_understood_and_what_it_would_hit(campaign_mail: Installed) -> None:
    said = campaign_mail.told("add", "--campaign", "INC-7", "-", input=PASTE)
    assert [
        (one["line"], one["type"], one["value"], one["copies"]) for one in said["understood"]
    ] == [
        (2, "url", "https://docs-share-portal.com/view/9f2a", 2),
        (3, "email_address", "dse@docs-share-portal.com", 3),
    ]
    assert [one["same_host"] for one in said["understood"]] == [3, None]
    assert [one["text"] for one in said["not_understood"]] == ["hxxp://localhost/x"]
    hit = said["would_hit"]
    assert (hit["collected"], hit["met"], hit["retracted"], hit["mailboxes"]) == (203, 3, 3, 3)
    assert (hit["read"], hit["readers"], hit["internal"], hit["held_back"]) == (1, 1, 0, 0)
    assert hit["by_action"] == [
        {"action": "soft_delete", "disposition": "malicious", "copies": 3, "mailboxes": 3}
    ]
    assert hit["subjects"] == [{"text": "Shared document", "copies": 3}]
    assert hit["senders"] == [{"text": "dse@docs-share-portal.com", "copies": 3}]
    assert said["warnings"] == []


def test_what_a_person_at_a_terminal_reads(campaign_mail: Installed) -> None:
    result = campaign_mail.run("add", "--campaign", "INC-7", "-", input=PASTE)
    shown = words(result.stdout)
    assert "Campaign INC-7: 2 values, malicious, confidence 90" in shown
    assert (
        "url hxxps://docs-share-portal[.]com/view/9f2a 2 copies that link to this host: 3" in shown
    )
    assert "4 hxxp://localhost/x not a valid url" in shown
    assert (
        "Would retract 3 of 203 copies delivered in the last 30 days, in 3 mailboxes; 1 read."
        in shown
    )
    assert "malicious soft delete 3 3" in shown
    assert "Shared document 3 dse@docs-share-portal[.]com 3" in shown
    assert "https://" not in shown
    assert result.stderr == ""


def test_copies_left_alone_are_told_with_the_reason(installed: Installed) -> None:
    body = "https://docs-share-portal.com/view/9f2a"
    installed.settle(installed.deliver("ann", "bob", body=body), State.DONE)
    installed.settle(installed.deliver("carol", body=body, days_ago=3), State.GONE)
    installed.deliver("soc", body=body)
    installed.deliver("dan", body=body, provider=Provider.GOOGLE_WORKSPACE)
    installed.deliver("eve", body=body, days_ago=40)  # before the window
    hit = installed.told("add", "--campaign", "x", "-", input=body)["would_hit"]
    assert hit["left_alone"] == {"already_done": 2, "gone": 1, "protected_mailbox": 1}
    assert [(one["action"], one["copies"]) for one in hit["by_action"]] == [("trash", 1)]
    shown = words(installed.run("add", "--campaign", "x", "-", input=body).stdout)
    assert "nothing: already done 2" in shown


def test_what_is_held_back_is_shown_with_what_it_would_have_hit(installed: Installed) -> None:
    installed.deliver("ann", body="https://bit.ly/abc and https://docs-share-portal.com/")
    installed.deliver("bob", "carol", body="https://bit.ly/other")
    said = installed.add("bit.ly docs-share-portal.com")
    assert [(one["held_back"], one["copies"]) for one in said["understood"]] == [
        ("shared host: good mail names it too", 3),
        (None, 1),
    ]
    assert (said["would_hit"]["retracted"], said["would_hit"]["held_back"]) == (1, 2)
    assert installed.rows()["bit.ly"]["held_back"]
    shown = words(installed.run("add", "--campaign", "x", "-", input="bit.ly").stdout)
    assert "held back: shared host" in shown
    assert "Enter the full URLs or the addresses instead" in shown


def test_a_shared_host_is_no_hint_to_paste_the_host(installed: Installed) -> None:
    installed.deliver("ann", "bob", body="https://bit.ly/other")
    said = installed.told("add", "--campaign", "x", "-", input="https://bit.ly/abc")
    assert said["understood"][0]["same_host"] is None


def test_allow_rules_are_told(installed: Installed) -> None:
    rule = "allow: [{value: 'https://docs-share-portal.com/', reason: our own test}]\n"
    installed.policy_file.write_text(installed.policy_file.read_text() + rule)
    installed.deliver("ann", body="https://docs-share-portal.com/view/9f2a")
    said = installed.told("add", "--campaign", "x", "-", input="docs-share-portal.com/view/9f2a")
    assert said["would_hit"]["left_alone"] == {"allowed": 1}


def test_a_wrapped_link_counts_as_what_it_leads_to(installed: Installed) -> None:
    installed.deliver("ann", body="https://docs-share-portal.com/a")
    wrapped = (
        "https://eur01.safelinks.protection.outlook.com/"
        "?url=https%3A%2F%2Fdocs-share-portal.com%2Fa&data=05"
    )
    said = installed.add(wrapped)
    assert said["understood"][0]["value"] == "https://docs-share-portal.com/a"
    assert said["understood"][0]["note"].startswith("was wrapped by eur01.safelinks")
    assert said["would_hit"]["retracted"] == 1


def test_types_that_do_not_show_in_the_look(installed: Installed) -> None:
    installed.deliver("ann", "bob", subject="Invoice 4711 is overdue")
    said = installed.add("Invoice # is overdue\n", "--type", "subject_pattern")
    assert said["understood"][0]["type"] == "subject_pattern"
    assert said["would_hit"]["retracted"] == 2
    refused = installed.run(
        "add", "--campaign", "x", "--type", "subject_pattern", "-", input="*invoice*\n"
    )
    assert refused.exit_code == 2
    assert "line 1: *invoice*:" in refused.stderr


def test_who_lists_a_value_already_is_told(installed: Installed) -> None:
    installed.refresh("urlhaus", Listed(Type.DOMAIN, "evil-login-7.com"))
    installed.add("evil-login-7.com other-evil-8.com", campaign="spring")
    said = installed.told("add", "--campaign", "summer", "-", input="evil-login-7.com")
    assert said["understood"][0]["listed_by"] == ["analysts", "urlhaus"]
    assert said["understood"][0]["replaces"] == "spring"


def test_what_it_says_is_what_the_next_run_plans(campaign_mail: Installed) -> None:
    done = campaign_mail.deliver("eve", body="https://docs-share-portal.com/x", days_ago=5)
    campaign_mail.settle(done, State.DONE)
    campaign_mail.deliver("soc", body="https://bit.ly/x and https://docs-share-portal.com/y")
    said = campaign_mail.add(f"{PASTE} docs-share-portal.com 203.0.113.0/24 bit.ly")["would_hit"]
    plan = planned(campaign_mail)
    assert plan.judged == said["collected"]
    assert plan.matched == said["met"]
    assert len(plan.retractions) == said["retracted"] == 3
    assert Counter(one.reason for one in plan.skipped) == said["left_alone"]


def planned(installed: Installed) -> Plan:
    """What a run of post_delivery_response plans now, by the same steps."""
    lake, policy, now = installed.lake, load_policy(installed.policy_file), datetime.now(UTC)
    versions, window = lake.versions(), Window(now - policy.lookback, now)
    messages = lake.scan_messages(versions.messages, window)
    matches = full_match(
        messages,
        lake.scan_observables(versions.observables, window),
        lake.scan_lookups(versions.lookups, window),
        lake.scan_indicators(versions.indicators),
        window,
        now,
    )
    with Ledger(f"sqlite:///{installed.home / 'ledger.db'}") as ledger:
        states = ledger.current(matches["copy_id"])
    return make_plan(
        decide(messages.collect(), matches, policy, now),
        messages.collect(),
        states,
        policy,
        run_id="run",
        mode=policy.mode,
        window=window,
        lake_versions=versions,
        made_at=now,
    )


# --- warnings ---


def test_much_mail_is_a_loud_warning(installed: Installed) -> None:
    installed.deliver_many(400, mailboxes=40)
    result = installed.run("add", "--campaign", "x", "-", input="daily-news.org")
    shown = words(result.stdout)
    assert "WARNING: it would retract 100.0 % of all copies delivered in the window" in shown
    assert "WARNING: 20 people have read a copy that would be retracted" in shown


def test_the_own_organisation_among_the_values_is_a_loud_warning(installed: Installed) -> None:
    installed.deliver("ann", sender="Bob <bob@sub.south.example>", body="https://x-login-9.com/a")
    installed.feeds_file.write_text(
        "hold_back: {warninglists: false, own_domains: [south.example]}\n"
    )
    text = "x-login-9.com bob@sub.south[.]example eve@evil-login-7.com ann@north[.]example"
    warnings = installed.told("add", "--campaign", "x", "-", input=text)["warnings"]
    assert len(warnings) == 2
    assert "ann@north.example, bob@sub.south.example" in warnings[0]
    assert "eve@" not in warnings[0]
    assert "1 of the copies that would be retracted came from your own domains" in warnings[1]


def test_confidence_below_the_policys_floor_is_a_loud_warning(installed: Installed) -> None:
    installed.policy_file.write_text(installed.policy_file.read_text() + "confidence_floor: 80\n")
    installed.deliver("ann", body="https://docs-share-portal.com/a")
    said = installed.told(
        "add", "--campaign", "x", "--confidence", "60", "-", input="docs-share-portal.com"
    )
    assert said["would_hit"]["retracted"] == 0
    assert "nothing will come of it" in said["warnings"][0]


# --- what it writes ---


def test_nothing_is_written_where_nobody_can_be_asked(campaign_mail: Installed) -> None:
    result = campaign_mail.run("add", "--campaign", "INC-7", "-", input=PASTE)
    assert result.exit_code == 1
    assert "Nothing was written: there is nobody to ask" in result.stdout
    assert campaign_mail.lake.versions().indicators is None


def test_yes_writes_what_was_said(campaign_mail: Installed) -> None:
    result = campaign_mail.run(
        *("add", "--campaign", "INC-7", "--yes", "--disposition", "suspicious"),
        *("--confidence", "75", "--expires", "P30D", "--reference", "https://tickets/7"),
        *("--by", "ann", "-"),
        input=PASTE,
    )
    assert result.exit_code == 0
    assert "Entered as version 1 of the indicators" in result.stdout
    assert "The next run of post_delivery_response will act on it (mode: enforce)" in words(
        result.stdout
    )
    rows = campaign_mail.rows()
    assert set(rows) == {"https://docs-share-portal.com/view/9f2a", "dse@docs-share-portal.com"}
    for row in rows.values():
        assert (row["source"], row["campaign"]) == ("analysts", "INC-7")
        assert (row["disposition"], row["confidence"]) == ("suspicious", 75)
        assert row["reference"] == "entered by ann; https://tickets/7"
        assert timedelta(days=29) < row["expires_at"] - datetime.now(UTC) < timedelta(days=30)


def test_the_login_name_stands_for_who_enters_it(installed: Installed) -> None:
    said = installed.add("evil-login-7.com")
    assert said["entered_by"] == getpass.getuser()
    [row] = installed.rows().values()
    assert row["reference"] == f"entered by {getpass.getuser()}"


def test_a_day_counts_to_its_end(installed: Installed) -> None:
    day = (datetime.now(UTC) + timedelta(days=10)).date()
    installed.add("evil-login-7.com", "--expires", day.isoformat())
    [row] = installed.rows().values()
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    assert row["expires_at"] == midnight


def test_the_rows_of_feeds_stay(installed: Installed) -> None:
    installed.refresh("urlhaus", Listed(Type.DOMAIN, "evil-login-7.com"))
    installed.add("evil-login-7.com")
    frame = installed.lake.scan_indicators(installed.lake.versions().indicators).collect()
    assert sorted(frame["source"]) == ["analysts", "urlhaus"]


def test_before_anything_was_collected_it_says_so_and_still_adds(installed: Installed) -> None:
    result = installed.run("add", "--campaign", "x", "--yes", "-", input="evil-login-7.com")
    assert result.exit_code == 0
    assert "nobody can say what it would hit" in words(result.stdout)
    assert list(installed.rows()) == ["evil-login-7.com"]
    assert not (installed.home / "ledger.db").exists()


def test_in_preview_mode_it_says_that_nothing_will_move(installed: Installed) -> None:
    installed.policy_file.write_text(
        installed.policy_file.read_text().replace("enforce", "preview")
        + "post_delivery_response: false\n"
    )
    installed.deliver("ann", body="https://evil-login-7.com/")
    shown = words(
        installed.run("add", "--campaign", "x", "--yes", "-", input="evil-login-7.com").stdout
    )
    assert "nothing would be moved" in shown
    assert "will only write down what it would do (mode: preview)" in shown
    assert "post_delivery_response is false" in shown


# --- asking ---


def at_a_terminal(
    installed: Installed, answer: str, *arguments: str, stdin: Path | None = None
) -> tuple[str, int]:
    """What a person sees who answers the question, and the exit code.

    The process has a terminal of its own; with ``stdin`` its standard input is that file.
    """
    ours, theirs = pty.openpty()
    terminal = os.ttyname(theirs)
    # The first terminal that the leader of a session opens becomes the session's.
    command = shlex.join([sys.executable, "-m", "retract", "indicators", *arguments])
    redirected = f"exec {command} < {shlex.quote(str(stdin or terminal))}"
    environment = {**os.environ, **installed.environment, "PYTHONPATH": str(REPOSITORY / "plugins")}
    process = subprocess.Popen(
        ["sh", "-c", f"exec < {terminal} > {terminal} 2>&1; {redirected}"],
        env=environment | {"COLUMNS": "120"},
        start_new_session=True,
    )
    shown, answered = b"", False
    try:
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 4096)
            if not answered and b"[y/N] " in shown:
                os.write(ours, answer.encode() + b"\n")
                answered = True
        return shown.decode(), process.returncode
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_a_file_is_asked_about_and_yes_writes(installed: Installed, tmp_path: Path) -> None:
    file = tmp_path / "paste.txt"
    file.write_text("evil-login-7[.]com")
    shown, code = at_a_terminal(installed, "y", "add", "--campaign", "x", str(file))
    assert "Enter 1 value? [y/N]" in shown
    assert "Entered as version" in shown
    assert code == 0
    assert list(installed.rows()) == ["evil-login-7.com"]


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("yes", 0)])
def test_what_comes_from_stdin_is_asked_about_at_the_terminal(
    installed: Installed, tmp_path: Path, answer: str, code: int
) -> None:
    file = tmp_path / "paste.txt"
    file.write_text("evil-login-7[.]com\ny\n")
    shown, ended = at_a_terminal(installed, answer, "add", "--campaign", "x", "-", stdin=file)
    assert "Enter 1 value? [y/N]" in shown
    assert ended == code
    assert (installed.lake.versions().indicators is None) == (code == 1)
    assert ("Nothing was written." in shown) == (code == 1)


# --- what it refuses ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--campaign", " "), "--campaign is empty"),
        (("--campaign", "x", "--expires", "soon"), "write how long, as P30D"),
        (("--campaign", "x", "--expires", "P1Y"), "write how long, as P30D"),
        (("--campaign", "x", "--expires", "2020-01-01"), "is past"),
        (("--campaign", "x", "--expires", "9999-12-31"), "write how long"),
        (("--campaign", "x", "--type", "domain"), "line 1:"),
    ],
)
def test_what_is_refused_is_a_message_and_exit_2(
    installed: Installed, arguments: tuple[str, ...], said: str
) -> None:
    result = installed.run("add", *arguments, "--yes", "-", input="https://evil-login-7.com/x")
    assert result.exit_code == 2
    assert said in words(result.stderr)
    assert "Traceback" not in result.stderr
    assert installed.lake.versions().indicators is None


def test_text_without_values_says_what_it_saw(installed: Installed) -> None:
    text = "Dear all,\nplease see invoice.pdf\nthanks \x1b[2J[red]\u202e\n"
    result = installed.run("add", "--campaign", "x", "-", input=text)
    assert result.exit_code == 2
    assert "nothing in it was understood" in words(result.stderr)
    assert "line 2: invoice[.]pdf" in words(result.stderr)
    assert "--type" in result.stderr


def test_files_that_are_no_text_are_refused(installed: Installed, tmp_path: Path) -> None:
    binary, long = tmp_path / "x.msg", tmp_path / "long.txt"
    binary.write_bytes(b"\xd0\xcf\x11\xe0\x00\x00")
    long.write_text("evil.com\n" * 200_000)
    for file, said in (
        (binary, "binary data"),
        (long, "that is a feed"),
        (tmp_path / "gone", "cannot be read"),
        (tmp_path, "cannot be read"),
    ):
        result = installed.run("add", "--campaign", "x", file)
        assert result.exit_code == 2
        assert said in words(result.stderr)


def test_text_as_windows_saves_it(installed: Installed, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    for encoding in ("utf-16", "utf-8-sig", "cp1252"):
        file.write_text("für evil-login-7.com", encoding=encoding)
        said = installed.told("add", "--campaign", "x", file)
        assert [one["value"] for one in said["understood"]] == ["evil-login-7.com"]


def test_a_broken_policy_or_setting_is_a_message(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.policy_file.write_text("mode: [")
    result = installed.run("add", "--campaign", "x", "-", input="evil-login-7.com")
    assert (result.exit_code, "policy.yaml line" in words(result.stderr)) == (2, True)
    monkeypatch.setenv("RETRACT_MAX_SHARDS", "many")
    result = installed.run("add", "--campaign", "x", "-", input="evil-login-7.com")
    assert (result.exit_code, "RETRACT_MAX_SHARDS" in result.stderr) == (2, True)


def test_hostile_mail_and_paste_do_nothing_to_the_terminal(installed: Installed) -> None:
    subject = "=?utf-8?q?=1B[2J[bold red]x[/] =E2=80=AEtxt?="
    installed.deliver("ann", subject=subject, body="https://evil-login-7.com/[red]x")
    text = "https://evil-login-7.com/[red]x \x1b]0;owned\x07 hxxp://\x1b[31m\u202e"
    result = installed.run("add", "--campaign", "[red]c\x1b[2J\u202e", "--yes", "-", input=text)
    assert result.exit_code == 0, result.stderr
    shown = result.stdout + result.stderr
    assert "[bold red]x[/]" in shown
    assert not {c for c in shown if not c.isprintable()} - {"\n"}


# --- speed ---


def test_as_a_program_of_its_own_it_does_not_import_airflow(installed: Installed) -> None:
    program = (
        "import runpy, sys\n"
        "try: runpy.run_module('retract', run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    heavy = {'airflow', 'altair', 'googleapiclient', 'msal'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, "indicators", "add", "--campaign", "x", "--yes", "-"],
        input="evil-login-7.com",
        env={**os.environ, **installed.environment, "PYTHONPATH": str(REPOSITORY / "plugins")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "Entered as version" in result.stdout


def test_a_mails_source_is_refused_with_what_to_paste_instead(installed: Installed) -> None:
    source = (
        "Received: from a by b\nMIME-Version: 1.0\nContent-Type: text/plain\n\n"
        "https://ev=\nil.example/\n"
    )
    result = installed.run("add", "--campaign", "W", "-", input=source)
    assert result.exit_code == 2
    assert "as it is displayed" in words(result.stderr)
