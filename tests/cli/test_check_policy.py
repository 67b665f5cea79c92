"""`policy check` prints the matrix as it will act, or what is wrong and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from retract.__main__ import DEFAULT_POLICY, app
from retract.model import ACTIONABLE_DISPOSITIONS


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["policy", "check", *map(str, arguments)])


def test_the_matrix_of_the_policy_that_ships() -> None:
    result = run()
    assert result.exit_code == 0, result.stderr
    assert result.stdout == run(DEFAULT_POLICY).stdout
    microsoft, _, google = result.stdout.partition("Google Workspace")
    for disposition in ACTIONABLE_DISPOSITIONS:
        assert disposition in microsoft
        assert disposition in google
    assert "soft delete" in microsoft
    assert "soft delete" not in google
    assert "judges anew every 15 minutes · mail of the last 30 days" in result.stdout
    assert "mode is preview" in result.stdout


def test_who_can_recover_it_is_said(policy_file: Path) -> None:
    policy_file.write_text(policy_file.read_text().replace("spam: junk", "spam: hard_delete"))
    words = " ".join(run(policy_file).stdout.split())
    assert "Recoverable Items" in words
    assert "an administrator" in words
    assert "restore the recorded" in words


def test_exemptions_are_listed(policy_file: Path) -> None:
    policy_file.write_text(
        policy_file.read_text()
        + "protected_mailboxes: [soc@north.example]\nexempt: {senders: ['@partner.example']}\n"
        "reevaluate_every: PT1H\nlookback: PT36H\n"
    )
    shown = run(policy_file).stdout
    assert "protected mailboxes: soc@north.example" in shown
    assert "exempt senders: @partner.example" in shown
    assert "easily forged" in shown
    assert "judges anew every hour · mail of the last 36 hours" in shown


def test_allow_rules_are_shown_and_one_whose_time_is_over_says_so(policy_file: Path) -> None:
    policy_file.write_text(
        policy_file.read_text()
        + "allow:\n"
        + "  - {value: 'partner[.]example', reason: our travel agency}\n"
        + "  - {value: 'hxxps://x[.]example/a', reason: '[bold]a test', until: 2020-01-01}\n"
    )
    shown = " ".join(run(policy_file).stdout.split())
    assert "partner.example domain our travel agency -" in shown
    assert "https://x.example/a url [bold]a test void since 2020-01-02 00:00" in shown


def test_without_allow_rules_there_is_no_table_of_them() -> None:
    assert "Allowed" not in run().stdout


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("mode: enforce\nactions: {malicious: soft_delete}\n", 2, "Microsoft 365 only"),
        ("mode: enforce\nactions:\n  malicious: burn\n", 3, "malicious"),
        ("actions: {}\nmodes: enforce\n", 2, "unknown setting"),
        ("actions: {}\nmode: [\n", 3, "not readable YAML"),
        ("actions: {}\nmode: '[red]\x1b[2J'\n", 2, ""),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    text: str, line: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "[bold]\x1b[2J\u202epolicy.yaml"
    path.write_text(text)
    result = run(path)
    assert result.exit_code == 2
    assert result.stdout == ""
    words = " ".join(result.stderr.split())
    assert f"policy.yaml line {line}: " in words
    assert "[bold]" in words
    assert said in words
    assert not {"\x1b", "\u202e"} & set(words)


def test_each_problem_has_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("actions: {}\none: 1\ntwo: 2\n")
    stderr = run(path).stderr
    assert stderr.index(" line 2: one") < stderr.index("\n") < stderr.index(" line 3: two")


def test_a_missing_file_is_a_message(tmp_path: Path) -> None:
    result = run(tmp_path / "none.yaml")
    assert result.exit_code == 2
    assert "cannot be read" in " ".join(result.stderr.split())


def test_help_names_the_commands() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "preview" in shown
    assert "policy" in shown
    assert CliRunner().invoke(app, []).exit_code == 2
