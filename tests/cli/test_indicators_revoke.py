"""`indicators revoke` takes back what analysts entered, and only that."""

from __future__ import annotations

import pytest
from installed import Installed

from retract.indicators.listed import Listed
from retract.model import ObservableType as Type
from retract.model import State


def words(text: str) -> str:
    return " ".join(text.split())


def in_force(installed: Installed) -> list[str]:
    return sorted(value for value, row in installed.rows().items() if row["active"])


def test_values_are_revoked_as_they_are_written(installed: Installed) -> None:
    installed.add("evil-login-7.com https://evil-login-7.com/kit third-evil-7.com")
    result = installed.run("revoke", "hxxps://evil-login-7[.]com/kit", "third-evil-7.com", "--yes")
    assert result.exit_code == 0
    assert in_force(installed) == ["evil-login-7.com"]
    assert installed.rows()["third-evil-7.com"]["inactive_because"] == "revoked"
    assert "Revoked in version 2 of the indicators." in result.stdout


def test_a_whole_campaign_is_revoked(installed: Installed) -> None:
    installed.add("evil-login-7.com bit.ly", campaign="Spring")
    installed.add("other-evil-7.com", campaign="summer")
    said = installed.told("revoke", "--campaign", "spring", "--yes")
    assert [one["value"] for one in said["entries"]] == ["bit.ly", "evil-login-7.com"]
    assert (said["written"], said["version"]) == (True, 3)
    assert in_force(installed) == ["other-evil-7.com"]


@pytest.mark.parametrize("kind", ["subject_pattern", "display_name_pattern"])
def test_a_campaign_rule_is_revoked(installed: Installed, kind: str) -> None:
    installed.add("overdue invoice # - act*", "--type", kind, campaign="Spring")
    assert in_force(installed) == ["overdue invoice # - act*"]
    said = installed.told("revoke", "--campaign", "Spring", "--yes")
    assert (said["written"], said["version"]) == (True, 2)
    assert in_force(installed) == []


@pytest.mark.parametrize("campaign", ["Spring\tkit", "x" * 300])
def test_a_campaign_is_found_by_the_name_it_was_entered_with(
    installed: Installed, campaign: str
) -> None:
    installed.add("evil-login-7.com", campaign=campaign)
    installed.add("other-evil-7.com", campaign="summer")
    installed.told("revoke", "--campaign", campaign, "--yes")
    assert in_force(installed) == ["other-evil-7.com"]


def test_what_is_held_back_stays_so_for_the_others(installed: Installed) -> None:
    installed.add("evil-login-7.com bit.ly")
    installed.run("revoke", "evil-login-7.com", "--yes")
    assert installed.rows()["bit.ly"]["held_back"] == "shared host: good mail names it too"


def test_nothing_is_revoked_where_nobody_can_be_asked(installed: Installed) -> None:
    installed.add("evil-login-7.com")
    result = installed.run("revoke", "evil-login-7.com")
    assert result.exit_code == 1
    assert "Nothing was written: there is nobody to ask" in result.stdout
    assert in_force(installed) == ["evil-login-7.com"]


def test_what_feeds_list_is_not_revoked_here_and_what_to_do_is_said(installed: Installed) -> None:
    installed.refresh("urlhaus", Listed(Type.DOMAIN, "evil-login-7.com"))
    result = installed.run("revoke", "evil-login-7.com", "never-heard-of-7.com", "--yes")
    assert result.exit_code == 1
    shown = words(result.stdout)
    assert "evil-login-7[.]com: not entered by analysts, but listed by urlhaus" in shown
    assert "write an allow rule into" in shown
    assert "never-heard-of-7[.]com: no source lists it now" in shown
    frame = installed.lake.scan_indicators(installed.lake.versions().indicators).collect()
    assert frame["active"].all()


def test_what_others_list_too_stays_in_force_and_that_is_said(installed: Installed) -> None:
    installed.refresh("urlhaus", Listed(Type.DOMAIN, "evil-login-7.com"))
    installed.add("evil-login-7.com")
    said = installed.told("revoke", "evil-login-7.com", "--yes")
    assert said["entries"][0]["also_listed_by"] == ["urlhaus"]
    assert in_force(installed) == []
    [opinion] = [
        one
        for one in installed.told("show", "evil-login-7.com")["opinions"]
        if one["source"] == "urlhaus"
    ]
    assert opinion["in_force"]


def test_what_was_retracted_stays_where_it_is(installed: Installed) -> None:
    body = "https://evil-login-7.com/x"
    installed.settle(installed.deliver("ann", "bob", body=body), State.DONE)
    installed.deliver("carol", body=body)
    installed.add("evil-login-7.com")
    result = installed.run("revoke", "evil-login-7.com", "--yes")
    assert "that have been retracted: 2." in words(result.stdout)
    assert "restoring is a step of its own" in words(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name values, or a campaign"),
        (("evil.com", "--campaign", "x"), "name values, or a campaign"),
        (("--campaign", "x"), "no entry of analysts"),
        (("nonsense",), "--type says"),
    ],
)
def test_what_cannot_be_revoked_is_a_message(
    installed: Installed, arguments: tuple[str, ...], said: str
) -> None:
    result = installed.run("revoke", *arguments)
    assert result.exit_code == 2
    assert said in words(result.stderr)
