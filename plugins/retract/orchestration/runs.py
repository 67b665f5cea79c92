"""A run's folder: everything one attempt at a run pinned, decided and reported.

    <home>/runs/<dag id>/<run id>/<attempt>/
        run.json        who, when, window, mode
        policy.yaml     the policy as it was
        mailboxes/      one file per connection: its mailboxes, or why they could not be listed
        shards/         one file per collecting task: its mailboxes
        collected/      … and what became of each, as it goes
        pin.json        the lake's versions that everything after is computed from
        to_match/       one file per matching task: its days, and how far each had been matched
        matches.parquet
        held_back.json  what the indicators that are held back would have met
        judged.json     how many copies are judged
        plan.json
        to_act/         one file per acting task: its part of the plan
        acted/          … and how many copies ended in which state
        times/          when each step ran
        report.html  report.csv  report.json  summary.json

A cleared run, or one reprocessed by a backfill, gets a new attempt and leaves the old one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from retract.model import Mailbox, Mode, Provider, State, UnwatchedMailbox, Window
from retract.orchestration.clock import utc_now
from retract.policy import Policy, load_policy
from retract.whole_file import whole_file, write_text_whole

M = TypeVar("M", bound=BaseModel)


class Attempt(BaseModel):
    """One attempt at a run of any DAG, as lists of reports show it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dag_id: str
    run_id: str
    started_at: AwareDatetime


class Run(Attempt):
    """What one attempt at a run of post_delivery_response is about."""

    run_type: str
    attempt: str
    window_start: AwareDatetime
    window_end: AwareDatetime
    mode: Mode
    connections: tuple[str, ...]
    """Airflow connection ids of the tenants."""
    mailboxes: tuple[str, ...]
    """Addresses the run is narrowed to; empty means all."""

    @property
    def window(self) -> Window:
        return Window(self.window_start, self.window_end)

    @property
    def key(self) -> str:
        """The attempt's name in the ledger."""
        return f"{self.dag_id}/{self.run_id}/{self.attempt}"


class MailboxEntry(BaseModel):
    """A mailbox, as written to the run's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Provider
    connection: str
    mailbox_id: str
    address: str
    aliases: tuple[str, ...] = ()

    @classmethod
    def of(cls, mailbox: Mailbox) -> MailboxEntry:
        return cls(
            provider=mailbox.provider,
            connection=mailbox.connection,
            mailbox_id=mailbox.mailbox_id,
            address=mailbox.address,
            aliases=mailbox.aliases,
        )

    @property
    def key(self) -> tuple[str, str]:
        """Connection and mailbox id."""
        return (self.connection, self.mailbox_id)

    def mailbox(self) -> Mailbox:
        return Mailbox(self.provider, self.connection, self.mailbox_id, self.address, self.aliases)


class Listing(BaseModel):
    """The mailboxes of one connection, or why some or all could not be listed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection: str
    mailboxes: tuple[MailboxEntry, ...] = ()
    found: tuple[str, ...] = ()
    """Of the addresses the run is narrowed to, those that lead to a mailbox here."""
    unwatched: tuple[UnwatchedMailbox, ...] = ()
    problems: tuple[str, ...] = ()


class ShardMembers(BaseModel):
    """The mailboxes one collecting task takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mailboxes: tuple[MailboxEntry, ...]


class Collected(BaseModel):
    """What became of a mailbox that was to be collected: all of it is in the lake, or why not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connection: str
    mailbox_id: str
    mailbox: str
    """Its address."""
    vanished: str = ""
    """Why it can no longer be read, though it was listed."""
    problem: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Connection and mailbox id."""
        return (self.connection, self.mailbox_id)

    @classmethod
    def of(cls, mailbox: Mailbox) -> Collected:
        return cls(
            connection=mailbox.connection, mailbox_id=mailbox.mailbox_id, mailbox=mailbox.address
        )


class ShardCollected(BaseModel):
    """What became of a shard's mailboxes, so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mailboxes: tuple[Collected, ...]
    finished: bool
    """Whether that is all of them, and none has a problem."""


class Judged(BaseModel):
    """How many copies a run judges."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by_day: dict[date, int]
    """By the day of their delivery (UTC)."""

    @property
    def copies(self) -> int:
        return sum(self.by_day.values())


class Acted(BaseModel):
    """How many copies of one acting task's mailboxes ended in which state."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    counts: dict[State, int]


class StepTime(BaseModel):
    """When a step, or one mapped part of it, ran."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str
    began: AwareDatetime
    ended: AwareDatetime


class RunFolder:
    """Reads and writes one attempt's files. A file appears whole or not at all."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, home: Path, dag_id: str, run_id: str, now: datetime) -> RunFolder:
        """A new attempt's folder."""
        attempt = now.strftime("%Y%m%dT%H%M%S.%fZ")
        folder = home / "runs" / slug(dag_id) / slug(run_id) / attempt
        folder.mkdir(parents=True, exist_ok=False)
        return cls(folder)

    @property
    def attempt(self) -> str:
        return self.path.name

    def write(self, name: str, model: BaseModel) -> None:
        """Write a model as JSON."""
        self.write_text(name, model.model_dump_json(indent=1))

    def write_text(self, name: str, text: str) -> None:
        write_text_whole(self.path / name, text)

    def write_bytes(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Let ``write`` fill the file."""
        with whole_file(self.path / name) as file:
            write(file)

    def read(self, name: str, kind: type[M]) -> M:
        """Read a model back. Raises FileNotFoundError when its task has not written it."""
        return kind.model_validate_json((self.path / name).read_text(encoding="utf-8"))

    def forget(self, *names: str) -> None:
        """Remove what an earlier go at a step left, so that nobody takes it for this one's."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def read_all(self, folder: str, kind: type[M]) -> list[M]:
        """Every model in a sub-folder, in the order of the file names."""
        files = sorted((self.path / folder).glob("*.json"))
        return [kind.model_validate_json(f.read_text(encoding="utf-8")) for f in files]

    @contextmanager
    def timed(self, step: str, part: int = 0) -> Iterator[None]:
        """Note how long a step, or one mapped part of it, took."""
        began = utc_now()
        yield
        time = StepTime(step=step, began=began, ended=utc_now())
        self.write(f"times/{step}-{part:05}.json", time)

    def step_seconds(self) -> dict[str, float]:
        """How long each timed step took, from its first part's start to its last part's end."""
        times: dict[str, list[StepTime]] = {}
        for time in sorted(self.read_all("times", StepTime), key=lambda t: t.began):
            times.setdefault(time.step, []).append(time)
        return {
            step: (max(t.ended for t in parts) - parts[0].began).total_seconds()
            for step, parts in times.items()
        }

    def run(self) -> Run:
        """What the attempt is about."""
        return self.read("run.json", Run)

    def policy(self) -> Policy:
        """The policy as it was when the attempt began."""
        return load_policy(self.path / "policy.yaml")


def listing_file(connection: str) -> str:
    """Where a connection's Listing is."""
    return f"mailboxes/{slug(connection)}.json"


def part_file(folder: str, index: int) -> str:
    """Where a mapped task's part is, in a sub-folder."""
    return f"{folder}/{index:05}.json"


def slug(name: str) -> str:
    """A file name made of a run id: readable, safe, and never the same for two ids."""
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip(".")[:80]
    if plain == name:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
