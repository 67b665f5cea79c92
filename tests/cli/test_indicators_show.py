"""`indicators show`: who says so, since when, whether it is in force, and what it has hit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from installed import Installed

from retract.indicators.listed import Listed
from retract.model import ObservableType as Type
from retract.model import State

PAGE = "https://evil-login-7.com/kit/page.php"


def words(text: str) -> str:
    return " ".join(text.split())


def opinions(said: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [(one["source"], one["value"], one["covers"]) for one in said["opinions"]]


def test_every_opinion_on_a_value(installed: Installed) -> None:
    first = datetime(2026, 1, 5, tzinfo=UTC)
    installed.refresh(
        "urlhaus",
        Listed(Type.URL, PAGE, campaign="kit", first_seen=first, sightings=3, tags=("emotet",)),
        reference="https://urlhaus.example/1",
    )
    installed.add(PAGE, "--reference", "INC-7", "--by", "ann", campaign="spring")
    said = installed.told("show", "hxxps://evil-login-7[.]com/kit/page.php")
    assert (said["type"], said["value"]) == ("url", PAGE)
    analysts, urlhaus = said["opinions"]
    assert (analysts["source"], analysts["campaign"]) == ("analysts", "spring")
    assert analysts["reference"] == "entered by ann; INC-7"
    assert (analysts["in_force"], analysts["not_because"]) == (True, None)
    assert (urlhaus["source"], urlhaus["confidence"], urlhaus["disposition"]) == (
        "urlhaus",
        70,
        "malicious",
    )
    assert urlhaus["first_seen"] == "2026-01-05T00:00:00Z"
    assert (urlhaus["sightings"], urlhaus["tags"]) == (3, ["emotet"])
    shown = words(installed.run("show", PAGE).stdout)
    for said_of_it in ("url hxxps://evil-login-7[.]com/kit/page[.]php", "INC-7", "tags emotet"):
        assert said_of_it in shown
    assert "sightings 3" in shown


def test_why_an_opinion_is_not_in_force(installed: Installed) -> None:
    past = installed.now - timedelta(days=1)
    installed.refresh(
        "feed",
        Listed(Type.DOMAIN, "old-evil-7.com", expires_at=past),
        Listed(Type.DOMAIN, "bit.ly"),
        Listed(Type.DOMAIN, "gone-evil-7.com", revoked=True),
    )
    installed.add("taken-back-7.com")
    installed.run("revoke", "taken-back-7.com", "--yes")
    because = {}
    for value in ("old-evil-7.com", "bit.ly", "taken-back-7.com"):
        [opinion] = installed.told("show", value)["opinions"]
        assert not opinion["in_force"]
        because[value] = opinion["not_because"]
    assert because == {
        "old-evil-7.com": "expired",
        "bit.ly": "held back: shared host: good mail names it too",
        "taken-back-7.com": "revoked",
    }
    assert "no: held back: shared host" in words(installed.run("show", "bit.ly").stdout)


def test_what_expired_since_the_last_refresh_is_not_in_force(installed: Installed) -> None:
    end = installed.now + timedelta(milliseconds=1)
    installed.refresh("feed", Listed(Type.DOMAIN, "short-evil-7.com", expires_at=end))
    [opinion] = installed.told("show", "short-evil-7.com")["opinions"]
    assert (opinion["in_force"], opinion["not_because"]) == (False, "expired")


@pytest.mark.parametrize(
    ("asked", "covering", "others"),
    [
        (
            "https://www.evil-login-7.com/kit/page.php?u=ann",
            [
                (Type.DOMAIN, "evil-login-7.com"),
                (Type.URL, "https://evil-login-7.com/kit/"),
                (Type.URL, "http://www.evil-login-7.com/kit/page.php"),
            ],
            [
                (Type.URL, "https://evil-login-7.com/"),
                (Type.URL, "https://evil-login-7.com/kit/other"),
                (Type.DOMAIN, "x.evil-login-7.com"),
            ],
        ),
        (
            "eve@mail.evil-login-7.com",
            [(Type.EMAIL_ADDRESS, "@mail.evil-login-7.com"), (Type.DOMAIN, "evil-login-7.com")],
            [(Type.EMAIL_ADDRESS, "@evil-login-7.com"), (Type.DOMAIN, "x.evil-login-7.com")],
        ),
        (
            "203.0.113.7",
            [(Type.IP_ADDRESS, "203.0.113.0/24")],
            [(Type.IP_ADDRESS, "203.0.112.0/24"), (Type.IP_ADDRESS, "203.0.113.8")],
        ),
        (
            "http://203.0.113.7/x",
            [(Type.IP_ADDRESS, "203.0.113.0/24")],
            [(Type.URL, "http://203.0.113.8/x")],
        ),
        (
            "203.0.113.128/25",
            [(Type.IP_ADDRESS, "203.0.113.0/24")],
            [(Type.IP_ADDRESS, "203.0.113.0/25"), (Type.IP_ADDRESS, "2001:db8::/32")],
        ),
    ],
)  # fmt: skip
def test_indicators_that_cover_a_value(
    installed: Installed,
    asked: str,
    covering: list[tuple[Type, str]],
    others: list[tuple[Type, str]],
) -> None:
    installed.refresh("feed", *(Listed(kind, value) for kind, value in covering + others))
    said = installed.told("show", asked)
    assert {(one["type"], one["value"]) for one in said["opinions"]} == {
        (kind.value, value) for kind, value in covering
    }
    assert all(one["covers"] for one in said["opinions"])
    assert "that covers it" in words(installed.run("show", asked).stdout)


def test_a_rule_covers_a_display_name(installed: Installed) -> None:
    installed.add("Chief Executive #\n", "--type", "display_name_pattern")
    said = installed.told("show", "--type", "display_name", "Chief Executive 12")
    assert opinions(said) == [("analysts", "chief executive #", True)]


def test_an_allow_rule_that_covers_it_is_told(installed: Installed) -> None:
    installed.deliver("ann", body="nothing of it")
    rule = "allow: [{value: evil-login-7.com, reason: a drill of ours, until: 2099-01-01}]\n"
    installed.policy_file.write_text(installed.policy_file.read_text() + rule)
    said = installed.told("show", "www.evil-login-7.com")
    assert said["allowed_by"] == {
        "type": "domain",
        "value": "evil-login-7.com",
        "reason": "a drill of ours",
        "until": "2099-01-02T00:00:00Z",
    }
    shown = words(installed.run("show", "www.evil-login-7.com").stdout)
    assert "Allowed by the policy: domain evil-login-7[.]com (a drill of ours" in shown


def test_what_it_has_hit_by_the_ledgers_states(installed: Installed) -> None:
    body = f"see {PAGE}?u=1"
    installed.settle(installed.deliver("ann", "bob", body=body, days_ago=50), State.DONE)
    installed.settle(installed.deliver("carol", body=body, days_ago=3), State.FAILED)
    installed.deliver("dan", body=body, subject="Newest", days_ago=1)
    installed.deliver("eve", body="https://evil-login-7.com/")
    occurs = installed.told("show", PAGE)["occurs"]
    assert (occurs["copies"], occurs["mailboxes"]) == (4, 4)
    assert occurs["by_state"] == {"done": 2, "failed": 1, "not_acted_on": 1}
    assert occurs["first_delivery"] < occurs["last_delivery"]
    newest = occurs["examples"][0]
    assert (newest["mailbox"], newest["subject"], newest["state"]) == (
        "dan@north.example",
        "Newest",
        "not_acted_on",
    )
    shown = words(installed.run("show", PAGE).stdout)
    assert "No source lists it" in shown
    assert "It occurs in 4 copies in 4 mailboxes" in shown
    assert "2 retracted, 1 failed, 1 not acted on." in shown
    assert installed.told("show", "evil-login-7.com")["occurs"]["copies"] == 5


def test_hits_are_told_also_when_it_is_held_back_or_over(installed: Installed) -> None:
    installed.deliver("ann", body="https://bit.ly/x")
    installed.refresh("feed", Listed(Type.DOMAIN, "bit.ly"))
    assert installed.told("show", "bit.ly")["occurs"]["copies"] == 1


def test_before_anything_was_collected_or_refreshed(installed: Installed) -> None:
    result = installed.run("show", "evil-login-7.com")
    assert result.exit_code == 2
    assert "there is no lake at" in result.stderr
    assert "RETRACT_HOME" in result.stderr


def test_a_campaign_with_its_indicators_and_hits(installed: Installed) -> None:
    installed.deliver("ann", "bob", body=PAGE)
    installed.deliver("carol", body="https://other-evil-7.com/ https://bit.ly/x")
    installed.deliver("dan", "eve", body="https://bit.ly/y")
    installed.refresh("feed", Listed(Type.DOMAIN, "elsewhere-7.com", campaign="autumn"))
    installed.add(f"{PAGE} other-evil-7.com bit.ly", campaign="Spring kit")
    said = installed.told("show", "--campaign", " spring KIT")
    assert [one["value"] for one in said["opinions"]] == ["bit.ly", "other-evil-7.com", PAGE]
    ids = {one["value"]: one["indicator_id"] for one in said["opinions"]}
    assert said["occurs"]["copies"] == 3
    assert said["occurs"]["by_indicator"] == {ids[PAGE]: 2, ids["other-evil-7.com"]: 1}
    assert said["held_back"] == {ids["bit.ly"]: 3}
    shown = words(installed.run("show", "--campaign", "Spring kit").stdout)
    assert "3 indicators, 2 in force" in shown
    assert "they meet 3 copies in 3 mailboxes" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a value, or a campaign"),
        (("evil.com", "--campaign", "x"), "name a value, or a campaign"),
        (("--campaign", "nobody's"), "no indicator belongs to a campaign"),
        (("what is this",), "--type says what it is"),
        (("evil.com evil.net",), "2 values"),
        (("http://localhost/x",), "not a valid url"),
        (("--type", "sha256", "abc"), "not a valid sha256"),
        (("[red]\x1b[2J",), "--type says"),
    ],
)
def test_what_cannot_be_shown_is_a_message(
    installed: Installed, arguments: tuple[str, ...], said: str
) -> None:
    result = installed.run("show", *arguments)
    assert result.exit_code == 2
    assert said in words(result.stderr)
    assert "\x1b" not in result.stderr


def test_a_value_with_an_unknown_suffix_can_be_asked_for(installed: Installed) -> None:
    installed.refresh("feed", Listed(Type.DOMAIN, "corp.local"))
    assert opinions(installed.told("show", "corp.local")) == [("feed", "corp.local", False)]


def test_what_feeds_say_does_nothing_to_the_terminal(installed: Installed) -> None:
    hostile = "\x1b[2J[bold]x[/] http://click.evil-login-7.com \u202e"
    installed.refresh(
        "feed",
        Listed(
            Type.DOMAIN, "evil-login-7.com", campaign=hostile, reference=hostile, tags=(hostile,)
        ),
    )
    shown = installed.run("show", "evil-login-7.com").stdout
    assert "[bold]x[/]" in shown
    assert "http:" not in shown
    assert not {c for c in shown if not c.isprintable()} - {"\n"}
