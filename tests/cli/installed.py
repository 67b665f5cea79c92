"""An installation in a folder: a lake with mail in it, a ledger, a policy, a feeds file."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from retract.__main__ import app
from retract.indicators.feeds import FeedsFile, Source
from retract.indicators.hold_back.rules import HoldBack
from retract.indicators.hold_back.settings import HoldBackSettings
from retract.indicators.listed import Listed
from retract.indicators.refresh import commit
from retract.indicators.snapshot import snapshot_of
from retract.lake.store import Lake
from retract.model import (
    Action,
    CollectedMessage,
    Copy,
    Disposition,
    Extraction,
    Location,
    Observable,
    Place,
    Provider,
    State,
)
from retract.model import ObservableType as Type
from retract.observables.mime import extract
from retract.retraction.ledger import Ledger

POLICY = """\
mode: enforce
actions: {malicious: soft_delete, suspicious: junk}
providers: {google_workspace: {actions: {malicious: trash}}}
protected_mailboxes: [soc@north.example]
"""
FEEDS = "hold_back: {warninglists: false, own_domains: [north.example]}\n"


class Installed:
    """Fills an installation, and runs commands in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lake = Lake(str(home / "lake"))
        self.policy_file = home / "policy.yaml"
        self.feeds_file = home / "feeds.yaml"
        self.now = datetime.now(UTC)
        home.mkdir(parents=True)
        self.policy_file.write_text(POLICY)
        self.feeds_file.write_text(FEEDS)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RETRACT_HOME": str(self.home),
            "RETRACT_POLICY_FILE": str(self.policy_file),
            "RETRACT_FEEDS_FILE": str(self.feeds_file),
        }

    # --- mail ---

    def deliver(
        self,
        *mailboxes: str,
        body: str = "nothing",
        subject: str = "Hello",
        sender: str = "Bob <bob@partner-company.com>",
        days_ago: float = 1,
        is_read: bool = False,
        provider: Provider = Provider.MICROSOFT365,
    ) -> list[Copy]:
        """One message to each mailbox, collected into the lake."""
        raw = f"From: {sender}\nSubject: {subject}\nContent-Type: text/plain\n\n{body}\n".encode()
        messages = [
            self._message(extract(raw), mailbox, days_ago, is_read, provider)
            for mailbox in mailboxes
        ]
        self.lake.add_messages(messages, self.now)
        return [message.copy for message in messages]

    def deliver_many(self, count: int, *, mailboxes: int = 50) -> None:
        """Daily mail that no test lists."""
        found = (
            Observable(Type.URL, "https://www.daily-news.org/today", "html"),
            Observable(Type.DOMAIN, "www.daily-news.org", "domain_of_url"),
        )
        extraction = Extraction("<x@y>", "News", "news@daily-news.org", "News", found)
        self.lake.add_messages(
            (
                self._message(extraction, f"user{n % mailboxes}", 2, n % 2 == 0, number=n)
                for n in range(count)
            ),
            self.now,
        )

    def _message(
        self,
        extraction: Extraction,
        mailbox: str,
        days_ago: float,
        is_read: bool,
        provider: Provider = Provider.MICROSOFT365,
        number: int = 0,
    ) -> CollectedMessage:
        address = mailbox if "@" in mailbox else f"{mailbox}@north.example"
        name = f"{extraction.subject}/{extraction.sender_address}/{days_ago}/{number}"
        copy = Copy(provider, "tenant", f"id-{mailbox}", address, name)
        received_at = self.now - timedelta(days=days_ago)
        place = Location(Place.INBOX, folder_id="f1", is_read=is_read)
        return CollectedMessage(copy, received_at, place, extraction, 1)

    # --- ledger ---

    def settle(self, copies: list[Copy], state: State) -> None:
        """Write a state of these copies into the ledger, which is made if need be."""
        with Ledger(f"sqlite:///{self.home / 'ledger.db'}") as ledger:
            ledger.migrate()
            with ledger.writing(self.now) as changes:
                for copy in copies:
                    if state is State.DONE:
                        claim = changes.claim(
                            copy,
                            Action.SOFT_DELETE,
                            seen=None,
                            looked_at=self.now,
                            disposition=Disposition.MALICIOUS,
                            location_before=Location(Place.INBOX),
                            run_id="earlier",
                            expires_at=self.now + timedelta(minutes=5),
                        )
                        changes.settle(claim, state, location_after=Location(Place.TRASH))
                    else:
                        changes.record(
                            copy,
                            state,
                            seen=None,
                            action=Action.SOFT_DELETE,
                            disposition=Disposition.MALICIOUS,
                            run_id="earlier",
                        )

    # --- indicators ---

    def refresh(self, source: str, *listed: Listed, **settings: Any) -> None:
        """A refresh in which one feed lists this."""
        feed = Source.model_validate(
            {
                "name": source,
                "format": "plain_list",
                "location": "/nowhere",
                "disposition": "malicious",
                "confidence": 70,
                **settings,
            }
        )
        hold_back = HoldBack.of(HoldBackSettings(warninglists=False))
        snapshot = snapshot_of(listed, feed, self.now)
        commit(FeedsFile(sources=(feed,)), self.lake, [snapshot], {}, self.now, hold_back)

    def rows(self) -> dict[str, dict[str, Any]]:
        """The analysts' rows by value."""
        frame = self.lake.scan_indicators(self.lake.versions().indicators).collect()
        return {row["value"]: row for row in frame.filter(source="analysts").iter_rows(named=True)}

    # --- commands ---

    def run(self, *arguments: object, input: str | None = None) -> Result:  # noqa: A002
        return CliRunner().invoke(
            app, ["indicators", *map(str, arguments)], env=self.environment, input=input
        )

    def told(self, *arguments: object, input: str | None = None) -> dict[str, Any]:  # noqa: A002
        """What a command says with --json."""
        result = self.run(*arguments, "--json", input=input)
        assert result.stdout, (result.stderr, result.exception)
        said: dict[str, Any] = json.loads(result.stdout)
        return said

    def add(self, text: str, *arguments: object, campaign: str = "spring") -> dict[str, Any]:
        """Enter values without being asked."""
        said = self.told("add", "--campaign", campaign, "--yes", *arguments, "-", input=text)
        assert said["written"]
        return said
