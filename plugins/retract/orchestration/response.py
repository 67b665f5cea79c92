"""The steps of post_delivery_response: one function a task, each readable on its own.

A step takes the run's folder and leaves its result there; what it returns to Airflow is only
what the next step is mapped over, or a number worth seeing in the UI. A step that is tried
again reads the same pinned inputs. Heavy libraries are imported when a step runs, not when
Airflow parses the DAG.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from retract.errors import (
    ConfigurationError,
    LakeError,
    MailboxError,
    MailboxUnavailable,
    RetractError,
)
from retract.installation import Settings
from retract.model import Mailbox, Mode, State
from retract.orchestration.clock import utc_now
from retract.orchestration.connections import open_connection
from retract.orchestration.params import parse_params
from retract.orchestration.retries import ShardFailed
from retract.orchestration.runs import (
    Collected,
    Listing,
    MailboxEntry,
    Run,
    RunFolder,
    ShardCollected,
    slug,
)
from retract.orchestration.windows import RunRequest, resolve_window
from retract.policy import Policy, load_policy

if TYPE_CHECKING:
    import polars as pl

    from retract.lake.store import Lake, LakeVersions
    from retract.mailboxes.protocol import MailboxProvider
    from retract.reports.model import RunReport
    from retract.retraction.ledger import Ledger

log = logging.getLogger(__name__)

Shard = dict[str, Any]
"""What a mapped task is given: the ``index`` of its file, and a ``label`` for the UI."""

MISSING = "mailboxes/-not-found.json"
"""The run was narrowed to mailboxes that no connection has."""

PINNED, MATCHES = "pin.json", "matches.parquet"
HELD_BACK, PLAN = "held_back.json", "plan.json"
"""Each is made from those before it: the step that makes one forgets those after it first, so
that a run that was cleared and fails on the way is not reported by an earlier plan."""


def open_run(settings: Settings, request: RunRequest) -> str:
    """Start an attempt: fix its window, its mode and its policy. Returns the run's folder.

    Raises ConfigurationError (PolicyError for the policy file) when there is nothing sound
    to start from.
    """
    params = parse_params(request.params)
    policy = load_policy(settings.policy_file)
    if not policy.post_delivery_response:
        raise ConfigurationError(
            f"{settings.policy_file}: post_delivery_response is false, so nothing is judged; "
            "pause this DAG or set it to true"
        )
    if not settings.connection_ids:
        raise ConfigurationError(
            "RETRACT_CONNECTIONS names no connection, so no mailbox can be judged: name the "
            "Airflow connections of the tenants, as docs/connections.md shows"
        )
    window = resolve_window(request, params, policy.lookback)
    now = utc_now()
    folder = RunFolder.create(settings.home, request.dag_id, request.run_id, now)
    folder.write_text("policy.yaml", settings.policy_file.read_text(encoding="utf-8"))
    run = Run(
        dag_id=request.dag_id,
        run_id=request.run_id,
        run_type=request.run_type,
        attempt=folder.attempt,
        started_at=now,
        window_start=window.start,
        window_end=window.end,
        mode=policy.mode.narrowed_by(params.narrowing),
        connections=tuple(settings.connection_ids),
        mailboxes=tuple(sorted(set(params.mailboxes))),
    )
    folder.write("run.json", run)
    log.info("%s, mail delivered from %s to %s", run.mode, run.window_start, run.window_end)
    return str(folder.path)


def connections(path: str) -> list[str]:
    """The connections whose mailboxes are judged."""
    return list(RunFolder(path).run().connections)


def list_mailboxes(path: str, connection: str) -> int:
    """List one connection's mailboxes, or those of them the run is narrowed to."""
    folder = RunFolder(path)
    run, file = folder.run(), _listing_file(connection)
    folder.forget(file)
    try:
        with _Providers(_policy(folder)) as providers:
            listing = _listing(providers.of(connection), connection, run)
    except (MailboxError, ConfigurationError) as error:
        folder.write(file, Listing(connection=connection, problems=(str(error),)))
        raise
    folder.write(file, listing)
    return len(listing.mailboxes)


def _listing(provider: MailboxProvider, connection: str, run: Run) -> Listing:
    if not run.mailboxes:
        listed = provider.list_mailboxes()
        every = tuple(MailboxEntry.of(one) for one in listed if isinstance(one, Mailbox))
        return Listing(connection=connection, mailboxes=every)
    found: dict[str, MailboxEntry] = {}
    for address in run.mailboxes:
        with suppress(MailboxUnavailable):
            found[address] = MailboxEntry.of(provider.mailbox(address))
    return Listing(connection=connection, mailboxes=tuple(found.values()), found=tuple(found))


def shard_mailboxes(settings: Settings, path: str) -> list[Shard]:
    """Deal the listed mailboxes to at most ``max_shards`` collecting tasks."""
    folder = RunFolder(path)
    run = folder.run()
    listings = folder.read_all("mailboxes", Listing)
    entries = [entry for listing in listings for entry in listing.mailboxes]
    missing = set(run.mailboxes).difference(*(listing.found for listing in listings))
    folder.forget(MISSING)
    if missing:
        folder.write(MISSING, Listing(connection="", problems=(_not_found(sorted(missing)),)))
    dealt = deal(sorted(entries, key=lambda e: (e.connection, e.mailbox_id)), settings.max_shards)
    labels = []
    for index, members in enumerate(padded(dealt, folder.most_so_far("shards"))):
        folder.write(_file("shards", index), ShardMembers(mailboxes=tuple(members)))
        labels.append(_label([member.address for member in members]))
    return _shards(labels)


def _not_found(addresses: list[str]) -> str:
    return (
        f"no connection has the mailbox(es) {', '.join(addresses)}: check the addresses in the "
        "run's params, and RETRACT_CONNECTIONS"
    )


def deal(mailboxes: list[MailboxEntry], cap: int) -> list[list[MailboxEntry]]:
    """Whole mailboxes in at most ``cap`` shards of nearly equal size, in the given order."""
    count = min(cap, len(mailboxes))
    return [mailboxes[number::count] for number in range(count)]


T = TypeVar("T")


def padded(shards: list[list[T]], length: int) -> list[list[T]]:
    """The shards and then empty ones: at least one, and no fewer than ``length``.

    Airflow marks the mapped tasks that a cleared run no longer needs as removed, counts those
    as done (so that what follows starts too early), and never revives them when the next
    clearing needs them again. So an attempt maps over no fewer shards than the one before.
    """
    return shards + [[] for _ in range(max(1, length) - len(shards))]


class ShardMembers(BaseModel):
    """The mailboxes one collecting task takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mailboxes: tuple[MailboxEntry, ...]


def collect(settings: Settings, path: str, shard: Shard) -> int:
    """Read what was delivered to a shard's mailboxes into the lake. Returns the new copies.

    Every mailbox is tried. Raises ShardFailed when any of them failed.
    """
    from retract.lake.store import Lake

    folder = RunFolder(path)
    run, lake = folder.run(), Lake(settings.lake)
    folder.forget(_file("collected", shard["index"]))
    members = folder.read(_file("shards", shard["index"]), ShardMembers).mailboxes
    failures: dict[str, Exception] = {}
    results: list[Collected] = []
    with folder.timed("collect", shard["index"]), _Providers(_policy(folder)) as providers:
        for entry in members:
            try:
                provider = providers.of(entry.connection)
                new = _collect_mailbox(provider, lake, entry.mailbox(), run)
                results.append(Collected(mailbox=entry.address, new_copies=new))
            except (MailboxError, ConfigurationError, LakeError) as error:
                log.error("%s: %s", entry.address, error)
                failures[entry.address] = error
                results.append(Collected(mailbox=entry.address, problem=str(error)))
    folder.write(_file("collected", shard["index"]), ShardCollected(mailboxes=tuple(results)))
    if failures:
        raise ShardFailed(failures)
    return sum(result.new_copies for result in results)


def _collect_mailbox(provider: MailboxProvider, lake: Lake, mailbox: Mailbox, run: Run) -> int:
    from retract.observables import EXTRACTOR_VERSION

    known = lake.known_message_ids(mailbox, run.window, EXTRACTOR_VERSION)
    added = lake.add_messages(provider.collect(mailbox, run.window, known), utc_now())
    log.info("%s: %d copies known, %d new", mailbox.address, len(known), added)
    return added


def pin(settings: Settings, path: str) -> dict[str, Any]:
    """Fix the lake's versions: everything after this step is computed from them alone."""
    from retract.lake.store import Lake

    folder = RunFolder(path)
    folder.forget(PINNED, MATCHES, HELD_BACK, PLAN)
    versions = Lake(settings.lake).versions()
    folder.write(PINNED, versions)
    return versions.model_dump()


def match(settings: Settings, path: str) -> int:
    """Join the window's observables with the indicators. Returns the number of matches.

    What the indicators that are held back would have met is counted beside it.
    """
    from retract.reevaluation.held_back import held_back_hits
    from retract.reevaluation.match import full_match

    folder = RunFolder(path)
    folder.forget(MATCHES, HELD_BACK, PLAN)
    run, versions = folder.run(), _pinned(folder)
    with folder.timed("match"):
        lake, messages = _judged(settings, folder)
        observables = lake.scan_observables(versions.observables, run.window)
        indicators = _indicators(lake, versions)
        matches = full_match(messages, observables, indicators, run.window, run.started_at)
        folder.write_bytes(MATCHES, matches.write_parquet)
    with folder.timed("count_held_back"):
        held_back = held_back_hits(messages, observables, indicators, run.window, run.started_at)
        folder.write(HELD_BACK, held_back)
    return matches.height


def make_plan(settings: Settings, path: str) -> list[Shard]:
    """Decide, and plan what is still to do. Returns the shards to act on, empty in preview."""
    import polars as pl

    from retract.reevaluation.decide import decide
    from retract.retraction import plan as planning

    folder = RunFolder(path)
    folder.forget(PLAN)
    run, policy = folder.run(), _policy(folder)
    with folder.timed("plan"), _ledger(settings) as ledger:
        messages = _judged(settings, folder)[1].collect()
        verdicts = decide(messages, pl.read_parquet(folder.path / MATCHES), policy, run.started_at)
        plan = planning.make_plan(
            verdicts,
            messages,
            ledger.current(verdict.copy_id for verdict in verdicts),
            policy,
            run_id=run.key,
            mode=run.mode,
            window=run.window,
            lake_versions=_pinned(folder),
            made_at=utc_now(),
        )
        planning.write_plan(plan, folder.path / PLAN)
        ledger.record_run(plan, utc_now())
    log.info("%d to retract, %d left alone", len(plan.retractions), len(plan.skipped))
    addresses = {key: group[0].mailbox for key, group in plan.by_mailbox().items()}
    shards = planning.shards(plan, settings.max_shards) if plan.mode is Mode.ENFORCE else []
    labels = []
    for index, keys in enumerate(padded(shards, folder.most_so_far("to_act"))):
        folder.write(_file("to_act", index), ToAct(mailbox_keys=tuple(keys)))
        labels.append(_label([addresses[key] for key in keys]))
    return _shards(labels)


class ToAct(BaseModel):
    """The mailboxes one acting task takes, by their keys in plan and ledger."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mailbox_keys: tuple[str, ...]


class Acted(BaseModel):
    """How many copies of one acting task's mailboxes ended in which state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    counts: dict[State, int]


def act(settings: Settings, path: str, shard: Shard) -> dict[str, int]:
    """Carry out the plan in a shard's mailboxes. Returns how many copies ended in which state.

    Every mailbox is tried, and a retry takes only what is unfinished. Raises ShardFailed when
    a mailbox failed, or has copies that failed or are unfinished.
    """
    from retract.retraction.act import act_on_mailbox
    from retract.retraction.plan import read_plan

    folder = RunFolder(path)
    plan = read_plan(folder.path / PLAN)
    to_do = plan.by_mailbox()
    counts: Counter[State] = Counter()
    failures: dict[str, Exception] = {}
    with (
        folder.timed("act", shard["index"]),
        _ledger(settings) as ledger,
        _Providers(_policy(folder)) as providers,
    ):
        for key in folder.read(_file("to_act", shard["index"]), ToAct).mailbox_keys:
            retractions = to_do[key]
            address = retractions[0].mailbox
            try:
                provider = providers.of(retractions[0].connection)
                result = act_on_mailbox(retractions, provider, ledger, plan.run_id, utc_now)
            except RetractError as error:
                log.error("%s: %s", address, error)
                failures[address] = error
                continue
            counts.update(result.counts)
            if result.problem:
                failures[address] = MailboxError(result.problem)
    folder.write(_file("acted", shard["index"]), Acted(counts=counts))
    if failures:
        raise ShardFailed(failures)
    return {state.value: count for state, count in counts.items()}


def report(settings: Settings, path: str) -> list[str]:
    """Write the report from plan and ledger. Returns what went wrong in the run, if anything."""
    from retract.reevaluation.held_back import HeldBackHits
    from retract.reevaluation.late_lookups import rules_left_out
    from retract.reevaluation.match import in_force
    from retract.reports import build, model
    from retract.reports.write import write_report
    from retract.retraction.plan import read_plan

    folder = RunFolder(path)
    run = folder.run()
    if not (folder.path / PLAN).exists():
        return ["the run ended before a plan was made: see its first red task for the reason"]
    plan = read_plan(folder.path / PLAN)
    lake, messages = _judged(settings, folder)
    indicators = _indicators(lake, plan.lake_versions)
    collected = [
        result for part in folder.read_all("collected", ShardCollected) for result in part.mailboxes
    ]
    mailbox_problems = {result.mailbox: result.problem for result in collected if result.problem}
    with _ledger(settings) as ledger:
        written = build.make_report(
            model.RunFacts(
                dag_id=run.dag_id,
                run_id=run.run_id,
                started_at=run.started_at,
                finished_at=utc_now(),
                mailboxes=len(collected),
                narrowed_to=run.mailboxes,
            ),
            plan,
            ledger.outcomes(plan.run_id) if plan.mode is Mode.ENFORCE else (),
            _policy(folder),
            judged_by_day=build.judged_by_day(messages.collect()),
            sources=build.sources_of(indicators, run.started_at),
            held_back=folder.read(HELD_BACK, HeldBackHits),
            problems=[*_problems(folder), *rules_left_out(in_force(indicators, run.started_at))],
            mailbox_problems=mailbox_problems,
            timings=[model.Timing(step=s, seconds=t) for s, t in folder.step_seconds().items()],
        )
        paths = write_report(written, folder.path)
        log.info("the report is %s", paths.html)
        problems = _summary(written)
        ledger.finish_run(plan.run_id, succeeded=not problems, now=utc_now())
    return problems


def _problems(folder: RunFolder) -> list[str]:
    """What went wrong outside single mailboxes: connections, and shards never heard of again."""
    told = [
        f"{connection}: listing its mailboxes ended without a result: see the task's log"
        for connection in folder.run().connections
        if not (folder.path / _listing_file(connection)).exists()
    ]
    told += [
        f"{listing.connection}: {problem}" if listing.connection else problem
        for listing in folder.read_all("mailboxes", Listing)
        for problem in listing.problems
    ]
    shards = {file.name for file in (folder.path / "shards").glob("*.json")}
    silent = shards - {file.name for file in (folder.path / "collected").glob("*.json")}
    if silent:
        told.append(f"{len(silent)} collecting task(s) ended without a result: see their logs")
    return told


def _summary(report: RunReport) -> list[str]:
    from retract.reports.model import Result

    if not report.failed:
        return []
    results = report.counts.by_result
    amiss = [
        f"{results[word]} copies {word.value}"
        for word in (Result.FAILED, Result.UNFINISHED)
        if results.get(word)
    ]
    mailboxes = [f"{m.mailbox}: {m.problem}" for m in report.mailboxes if m.problem]
    return [*report.problems, *mailboxes, *amiss]


def _indicators(lake: Lake, versions: LakeVersions) -> pl.LazyFrame:
    """The pinned indicators; those that name the organisation itself are held back.

    The refresh before the first mail of a tenant could not know its domains.
    """
    from retract.reevaluation.own_domains import without_own

    own = lake.mailbox_domains(versions.messages)
    return without_own(lake.scan_indicators(versions.indicators), own)


def _judged(settings: Settings, folder: RunFolder) -> tuple[Lake, pl.LazyFrame]:
    """The lake, and the pinned copies the run judges: those in the mailboxes it has listed.

    The lake remembers others for a while, of tenants that were taken out and people who left.
    """
    import polars as pl

    from retract.lake.store import Lake

    run, versions, lake = folder.run(), _pinned(folder), Lake(settings.lake)
    listed = pl.LazyFrame(
        [
            (entry.connection, entry.mailbox_id)
            for listing in folder.read_all("mailboxes", Listing)
            for entry in listing.mailboxes
        ],
        schema={"connection": pl.String, "mailbox_id": pl.String},
        orient="row",
    )
    messages = lake.scan_messages(versions.messages, run.window)
    return lake, messages.join(listed, on=["connection", "mailbox_id"], how="semi")


def _policy(folder: RunFolder) -> Policy:
    return load_policy(folder.path / "policy.yaml")


def _pinned(folder: RunFolder) -> LakeVersions:
    from retract.lake.store import LakeVersions

    return folder.read(PINNED, LakeVersions)


def _ledger(settings: Settings) -> Ledger:
    from retract.retraction.ledger import Ledger

    ledger = Ledger(settings.ledger)
    ledger.migrate()
    return ledger


def _shards(labels: list[str]) -> list[Shard]:
    return [{"index": index, "label": label} for index, label in enumerate(labels)]


def _label(addresses: list[str]) -> str:
    if not addresses:
        return "nothing to do"
    return addresses[0] + (f" and {len(addresses) - 1} more" if len(addresses) > 1 else "")


def _listing_file(connection: str) -> str:
    return f"mailboxes/{slug(connection)}.json"


def _file(folder: str, index: int) -> str:
    return f"{folder}/{index:05}.json"


class _Providers:
    """The providers of the connections a task needs, each opened once and closed at the end."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._opened: dict[str, MailboxProvider] = {}

    def of(self, connection: str) -> MailboxProvider:
        """The connection's provider. Raises ConnectionSettingsError."""
        if connection not in self._opened:
            self._opened[connection] = open_connection(connection, self._policy, utc_now)
        return self._opened[connection]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for provider in self._opened.values():
            provider.close()
