"""A tenant in which things go wrong, a recorded plan for it, and its own word on every copy."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import polars as pl
from words import policy, verdict

from local_tenant.faults.door import FaultDoor, use_faults
from local_tenant.faults.owners import OWNER
from local_tenant.faults.profile import FaultProfile
from local_tenant.mailbox import Hosting
from local_tenant.mailbox import Provider as TenantProvider
from local_tenant.server import RunningTenant, running_tenant
from local_tenant.state import TenantSettings, new_state
from retract.lake.store import LakeVersions
from retract.mailboxes.google_workspace.provider import GoogleWorkspace
from retract.mailboxes.microsoft365.provider import Microsoft365
from retract.mailboxes.protocol import MailboxProvider
from retract.mailboxes.settings import GoogleWorkspaceSettings, Microsoft365Settings
from retract.model import Action, CollectedMessage, Mode, Place, Provider, State, Window
from retract.retraction.act import MailboxResult, act_on_mailboxes
from retract.retraction.ledger import Ledger
from retract.retraction.plan import Plan, make_plan
from retract.retraction.records import Outcome

CAMPAIGN = "Your parcel"
LEASE = timedelta(minutes=5)


class RunningClock:
    """Goes on by itself, and can be turned forward: waits take no time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def turn(self, seconds: float) -> None:
        with self._lock:
            self._ahead += timedelta(seconds=seconds)

    def utc(self) -> datetime:
        """As google-auth wants it: without a zone."""
        return self().replace(tzinfo=None)

    async def turn_async(self, seconds: float) -> None:
        self.turn(seconds)

    def seconds(self) -> float:
        return self().timestamp()


@dataclass(frozen=True)
class Scene:
    """A tenant with a campaign among other mail, and who is to retract it."""

    tenant: RunningTenant
    provider: Provider
    clock: RunningClock
    ledger_url: str
    action: Action
    settings: Microsoft365Settings | GoogleWorkspaceSettings
    campaign: tuple[CollectedMessage, ...]
    """Its copies; everything else in the mailboxes is none of our business."""

    @contextmanager
    def mailboxes(self) -> Iterator[MailboxProvider]:
        """A worker's provider. It waits by turning the clock."""
        made = _open(self.settings, self.clock)
        try:
            yield made
        finally:
            made.close()

    def plan(self, run_id: str) -> Plan:
        """A run's plan to retract all of the campaign, recorded."""
        with Ledger(self.ledger_url) as ledger:
            made = _plan(self.campaign, self.action, run_id)
            ledger.record_run(made, self.clock())
        return made

    def act(
        self, plan: Plan, *, lease: timedelta = LEASE, attempts: int = 60, pause: float = 400
    ) -> dict[str, MailboxResult]:
        """Attempt after attempt, as Airflow's retries would, until nothing is unfinished and what
        fails fails again and again."""
        to_do = plan.by_mailbox()
        with self.mailboxes() as provider, Ledger(self.ledger_url) as ledger:
            failed = [-1, -1, -1]
            for _ in range(attempts):
                results = act_on_mailboxes(
                    to_do, provider, ledger, plan.run_id, self.clock, lease=lease, sleep=self._wait
                )
                failed = [*failed[1:], sum(result.failed for result in results.values())]
                is_final = failed[-1] == 0 or len(set(failed)) == 1
                if is_final and not any(result.unfinished for result in results.values()):
                    return results
                self.clock.turn(pause)
        raise AssertionError(
            f"unfinished after {attempts} attempts: "
            + "; ".join({r.problem for r in results.values() if r.problem})
        )

    def _wait(self, seconds: float) -> None:
        self.clock.turn(seconds)

    def outcomes(self, run_id: str) -> dict[str, Outcome]:
        """The ledger's word, by message id."""
        with Ledger(self.ledger_url) as ledger:
            return {outcome.copy.message_id: outcome for outcome in ledger.outcomes(run_id)}

    def use_faults(self, profile: FaultProfile, seed: int) -> FaultDoor:
        return use_faults(self.tenant.state, profile, seed)


def _open(
    settings: Microsoft365Settings | GoogleWorkspaceSettings, clock: RunningClock
) -> MailboxProvider:
    if isinstance(settings, Microsoft365Settings):
        return Microsoft365(settings, "tenant", clock, sleep=clock.turn_async)
    return GoogleWorkspace(settings, "tenant", clock, sleep=clock.turn, seconds=clock.seconds)


def _plan(campaign: Sequence[CollectedMessage], action: Action, run_id: str) -> Plan:
    newest = max(message.received_at for message in campaign)
    actions = {"malicious": action.value}
    return make_plan(
        [verdict(message.copy) for message in campaign],
        _rows(campaign),
        {},
        policy(Mode.ENFORCE, actions=actions, providers={"google_workspace": {"actions": actions}}),
        run_id=run_id,
        mode=Mode.ENFORCE,
        window=Window(newest - timedelta(days=30), newest + timedelta(minutes=1)),
        lake_versions=LakeVersions(messages=1, observables=1, indicators=1),
        made_at=newest,
    )


def _rows(campaign: Sequence[CollectedMessage]) -> pl.DataFrame:
    """What the lake would hold of them."""
    return pl.DataFrame(
        [
            {
                "copy_id": message.copy.copy_id,
                "provider": message.copy.provider.value,
                "connection": message.copy.connection,
                "mailbox_id": message.copy.mailbox_id,
                "mailbox": message.copy.mailbox,
                "message_id": message.copy.message_id,
                "internet_message_id": message.copy.internet_message_id,
                "received_at": message.received_at,
                "subject": message.extraction.subject,
                "sender_address": message.extraction.sender_address,
                "body_fingerprint": message.extraction.body_fingerprint,
                "place": message.location.place.value,
                "delivered_disposition": "unknown",
            }
            for message in campaign
        ]
    )


@contextmanager
def scene(
    provider: Provider,
    folder: Path,
    *,
    action: Action = Action.TRASH,
    mailboxes: int = 30,
    each: int = 3,
    timeout_seconds: float = 10,
) -> Iterator[Scene]:
    """In every mailbox: so many of the campaign, one a forger gave the same Message-ID, and two
    of other mail. Nothing goes wrong yet."""
    clock = RunningClock()
    state = new_state(TenantSettings(latency_seconds=0, seed=1), clock)
    domain = "north.example" if provider is Provider.MICROSOFT365 else "south.example"
    users = [f"user{number:03}@{domain}" for number in range(mailboxes)]
    for user in users:
        state.store.add_mailbox(TenantProvider(provider), user)
    start = clock() - timedelta(hours=1)
    for number in range(each):
        at = start + timedelta(minutes=number)
        state.store.deliver(_mail(f"{CAMPAIGN} {number}", number), users, at)
    state.store.deliver(_mail("News of the week", 0), users, start + timedelta(minutes=10))
    for number in (100, 101):
        state.store.deliver(_mail("Lunch?", number), users, start + timedelta(minutes=number))
    # What google-auth signs must be of the tenant's time, however far it was turned.
    with (
        mock.patch("google.auth._helpers.utcnow", clock.utc),
        running_tenant(state) as tenant,
    ):
        settings = _settings(tenant, provider, timeout_seconds)
        watcher = _open(settings, clock)
        try:
            window = Window(start - timedelta(hours=1), clock())
            campaign = tuple(
                message
                for mailbox in map(watcher.mailbox, users)
                for message in watcher.collect(mailbox, window, ())
                if message.extraction.subject.startswith(CAMPAIGN)
            )
        finally:
            watcher.close()
        assert len(campaign) == mailboxes * each
        url = f"sqlite:///{folder}/ledger.db"
        with Ledger(url) as ledger:
            ledger.migrate()
        yield Scene(tenant, provider, clock, url, action, settings, campaign)


def _mail(subject: str, number: int) -> bytes:
    return (
        f"From: Mallory <mallory@evil.example>\r\nTo: everybody@example.com\r\n"
        f"Subject: {subject}\r\nMessage-ID: <{number}@evil.example>\r\n\r\n"
        f"{subject}: see https://evil.example/{number}\r\n"
    ).encode()


def _settings(
    tenant: RunningTenant, provider: Provider, timeout_seconds: float
) -> Microsoft365Settings | GoogleWorkspaceSettings:
    info = tenant.info
    if provider is Provider.MICROSOFT365:
        names = ("tenant_id", "client_id", "client_secret", "authority_url", "graph_url", "ca_file")
        return Microsoft365Settings.model_validate(
            {name: info[name] for name in names} | {"timeout_seconds": timeout_seconds}
        )
    names = ("service_account_file", "gmail_url", "directory_url", "ca_file")
    return GoogleWorkspaceSettings.model_validate(
        {name: info[name] for name in names}
        | {
            "admin_subject": info["google_admin"],
            "allow_hard_delete": True,
            "timeout_seconds": timeout_seconds,
        }
    )


@dataclass(frozen=True)
class Truth:
    """What the tenant itself knows of one copy."""

    place: str
    calls: int
    """Changes of ours that the service accepted."""
    moves: int
    """Those with an effect: Gmail takes a change again that was made, and nothing happens."""
    owner: bool
    """Whether its owner did something with it meanwhile."""
    vanished: bool
    """Its mailbox is there no longer."""


def truths(scene: Scene) -> dict[str, Truth]:
    """By message id."""
    calls: Counter[str] = Counter()
    moves: Counter[str] = Counter()
    owners: set[str] = set()
    for entry in scene.tenant.audit():
        message_id = entry["message_id"]
        if entry["operation"].startswith(OWNER):
            owners.add(message_id)
            continue
        calls[message_id] += 1
        # Graph moves a message into the folder it lies in, too: it gets another classic id.
        moves[message_id] += scene.provider is Provider.MICROSOFT365 or entry["from"] != entry["to"]
    store = scene.tenant.state.store
    return {
        item.message_id: Truth(
            store.place(item).value,
            calls[item.message_id],
            moves[item.message_id],
            item.message_id in owners,
            mailbox.hosting is not Hosting.CLOUD,
        )
        for mailbox, item in store.all_items()
    }


def contradictions(scene: Scene, *run_ids: str) -> list[str]:
    """Where the ledger says something else than the tenant; empty when they agree.

    Of several runs that had the same to do, one at most may have done it.
    """
    truth = truths(scene)
    planned = {message.copy.message_id: message.copy for message in scene.campaign}
    told = [scene.outcomes(run_id) for run_id in run_ids]
    wrong = []
    for message_id, is_so in truth.items():
        copy = planned.get(message_id)
        if copy is None:
            if is_so.calls:
                wrong.append(f"{message_id}, not in the plan: {is_so}")
            continue
        says = [outcomes[message_id] for outcomes in told]
        if not _agree([outcome.state for outcome in says], is_so, scene.action):
            reasons = "; ".join(f"{outcome.state} ({outcome.reason})" for outcome in says)
            wrong.append(f"{copy.mailbox} {message_id}: {is_so}, ledger: {reasons}")
    return wrong


_SETTLED_BY_THE_OTHER = {State.ALREADY_THERE, State.SKIPPED}


def _agree(states: Sequence[State], truth: Truth, action: Action) -> bool:
    if truth.moves > 1 or State.PLANNED in states:
        return False
    if truth.vanished and State.FAILED in states:
        return states.count(State.DONE) <= truth.moves
    main = [state for state in states if state not in _SETTLED_BY_THE_OTHER]
    away = truth.place in ("purged", "gone")
    there = away or _reached(truth.place, action)
    if State.DONE in main:
        # What its owner put there just before our call was not moved by it: nobody can tell,
        # and where the call's answer is lost, not even whether it was made.
        moved = truth.moves == 1 or truth.owner
        return states.count(State.DONE) == 1 and moved and there
    if State.GONE in main:
        return set(main) == {State.GONE} and truth.moves == 0 and away
    return not main and truth.moves == 0 and there


def _reached(place: str, action: Action) -> bool:
    """Whether the place is the action's, or further from the reader."""
    destination = {
        Action.JUNK: Place.JUNK,
        Action.TRASH: Place.TRASH,
        Action.HARD_DELETE: Place.PURGED,
    }[action]
    return Place(place).gravity >= destination.gravity
