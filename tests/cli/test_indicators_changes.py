"""`indicators changes` and `indicators sources`: what refreshes and analysts did."""

from __future__ import annotations

import shutil
from typing import Any

from installed import Installed

from retract.indicators.listed import Listed
from retract.lake.source_state import SourceState
from retract.model import ObservableType as Type


def words(text: str) -> str:
    return " ".join(text.split())


def changed(said: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["change"], one["source"], one["value"]) for one in said["changed"]]


def test_by_default_what_the_newest_version_changed(installed: Installed) -> None:
    installed.refresh("feed", Listed(Type.DOMAIN, "evil-login-7.com"))
    installed.add("other-evil-7.com", campaign="spring")
    said = installed.told("changes")
    assert (said["from_version"], said["to_version"]) == (1, 2)
    assert changed(said) == [("added", "analysts", "other-evil-7.com")]
    assert said["counts"] == {"analysts": {"added": 1}}
    shown = words(installed.run("changes").stdout)
    assert "Indicators, version 1 to 2" in shown
    assert "added other-evil-7[.]com analysts disposition: malicious, confidence: 90" in shown


def test_many_changes_are_counted_and_some_are_shown(installed: Installed) -> None:
    installed.refresh("feed", *(Listed(Type.DOMAIN, f"evil-{n}-7.com") for n in range(60)))
    shown = words(installed.run("changes").stdout)
    assert "feed added 60" in shown
    assert "… and 10 more: --json gives all" in shown
    assert len(installed.told("changes")["changed"]) == 60


def test_between_any_two_versions(installed: Installed) -> None:
    installed.refresh("feed", Listed(Type.DOMAIN, "evil-login-7.com", confidence=50))
    installed.refresh("feed", Listed(Type.DOMAIN, "evil-login-7.com", confidence=60))
    installed.add("other-evil-7.com")
    installed.run("revoke", "other-evil-7.com", "--yes")
    said = installed.told("changes", "--from", 1)
    assert changed(said) == [
        ("added", "analysts", "other-evil-7.com"),
        ("restated", "feed", "evil-login-7.com"),
    ]
    assert {"what": "confidence", "before": "50", "after": "60"} in said["changed"][1][
        "differences"
    ]
    assert changed(installed.told("changes", "--from", 3, "--to", 4)) == [
        ("revoked", "analysts", "other-evil-7.com")
    ]
    assert "confidence: 50 → 60" in words(installed.run("changes", "--from", 1).stdout)
    assert installed.told("changes", "--from", 2, "--to", 2)["changed"] == []
    assert "Nothing changed." in installed.run("changes", "--from", 2, "--to", 2).stdout


def test_versions_that_are_not_there_are_messages(installed: Installed) -> None:
    result = installed.run("changes")
    assert (result.exit_code, "run refresh_indicators first" in words(result.stderr)) == (2, True)
    installed.add("evil-login-7.com")
    installed.add("other-evil-7.com")
    result = installed.run("changes", "--to", 9)
    assert (result.exit_code, "version 9" in words(result.stderr)) == (2, True)
    for folder in (installed.home / "lake" / "indicators").glob("source=*"):
        shutil.rmtree(folder)
    result = installed.run("changes")
    assert (result.exit_code, "cannot be read any more" in words(result.stderr)) == (2, True)


def test_the_state_of_each_source(installed: Installed) -> None:
    installed.feeds_file.write_text(
        installed.feeds_file.read_text()
        + "sources:\n"
        + "".join(
            f"  - {{name: {name}, format: plain_list, location: x, disposition: malicious,"
            " confidence: 80}\n"
            for name in ("feed", "new", "broken")
        )
    )
    installed.refresh("left-over", Listed(Type.DOMAIN, "third-evil-7.com"))
    installed.refresh(
        "feed", Listed(Type.DOMAIN, "evil-login-7.com"), Listed(Type.DOMAIN, "bit.ly")
    )
    installed.add("other-evil-7.com")
    installed.lake.write_source_states(
        [
            SourceState(
                source="broken",
                tried_at=installed.now,
                failing_since=installed.now,
                error="broken: HTTP 500 \x1b[2J http://x.evil-login-7.com/[red]",
            )
        ]
    )
    said = {one["source"]: one for one in installed.told("sources")["sources"]}
    assert set(said) == {"analysts", "feed", "new", "broken", "left-over"}
    feed = said["feed"]
    assert (feed["listed"], feed["in_force"], feed["held_back"]) == (2, 1, 1)
    assert feed["read_at"] is not None
    assert (said["analysts"]["in_force"], said["analysts"]["configured"]) == (1, True)
    assert said["new"]["read_at"] is None
    assert not said["left-over"]["configured"]
    assert said["broken"]["error"].startswith("broken: HTTP 500")
    result = installed.run("sources")
    shown = words(result.stdout)
    assert "failing since" in shown
    assert "hxxp://x[.]evil-login-7[.]com/[red]" in shown
    assert "\x1b" not in shown
    assert "never read" in shown
