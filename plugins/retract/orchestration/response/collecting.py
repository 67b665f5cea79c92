"""Reading what was delivered into the lake, many mailboxes at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from retract.errors import ConfigurationError, MailboxError, MailboxUnavailable
from retract.installation import Settings
from retract.model import CollectedMessage, Mailbox, Watermark
from retract.orchestration import clock
from retract.orchestration.response.pinned import listed_mailboxes
from retract.orchestration.response.providers import Providers, share_of
from retract.orchestration.response.shards import (
    Shard,
    deal,
    label_of,
    most_so_far,
    padded,
    shards_of,
)
from retract.orchestration.retries import ShardFailed, add_failure
from retract.orchestration.runs import (
    Collected,
    Listing,
    Run,
    RunFolder,
    ShardCollected,
    ShardMembers,
    part_file,
)

if TYPE_CHECKING:
    from retract.lake.store import Lake

log = logging.getLogger(__name__)

MISSING = "mailboxes/-not-found.json"
"""The run was narrowed to mailboxes that no connection has."""

MESSAGES_A_COMMIT: Final = 1_000
OBSERVABLES_A_COMMIT: Final = 50_000
"""What is held in memory before it is added to the lake."""
MAILBOXES_A_COMMIT: Final = 100
"""How many mailboxes a worker that dies has read for nothing, at most."""


def shard_mailboxes(settings: Settings, path: str) -> list[Shard]:
    """Deal the listed mailboxes to at most ``max_shards`` collecting tasks."""
    from retract.lake.store import Lake, commit_group

    folder = RunFolder(path)
    run = folder.run()
    listings = folder.read_all("mailboxes", Listing)
    every = listed_mailboxes(folder)
    missing = set(run.mailboxes).difference(*(listing.found for listing in listings))
    folder.forget(MISSING)
    if missing:
        folder.write(MISSING, Listing(connection="", problems=(_not_found(sorted(missing)),)))
    # Tasks that run side by side then seldom wait for each other's commits.
    entries = sorted(
        every.values(), key=lambda e: (e.connection, commit_group(e.mailbox()), e.mailbox_id)
    )
    dealt = deal(entries, settings.max_shards)
    labels = []
    for index, members in enumerate(padded(dealt, (), most_so_far(folder, "shards"))):
        folder.forget(part_file("collected", index))
        folder.write(part_file("shards", index), ShardMembers(mailboxes=tuple(members)))
        labels.append(label_of([member.address for member in members]))
    Lake(settings.lake).compact_watermarks()
    return shards_of(labels, len(dealt))


def _not_found(addresses: list[str]) -> str:
    return (
        f"no connection has the mailbox(es) {', '.join(addresses)}: check the addresses in the "
        "run's params, and RETRACT_CONNECTIONS"
    )


def collect(settings: Settings, path: str, shard: Shard) -> int:
    """Read what was delivered to a shard's mailboxes into the lake. Returns the new copies.

    Every mailbox is tried, and a retry takes only those that are left. Raises ShardFailed when
    any of them failed, LakeError when the lake did not take what was read.
    """
    from retract.lake.store import Lake
    from retract.observables import EXTRACTOR_VERSION

    folder, index = RunFolder(path), shard["index"]
    run, lake = folder.run(), Lake(settings.lake)
    members = folder.read(part_file("shards", index), ShardMembers).mailboxes
    done = _done_before(folder, index)
    read = {one.key for one in done}
    left = [entry for entry in members if entry.key not in read]
    harvest = _Harvest(folder, index, lake, EXTRACTOR_VERSION, done=done)
    failures: dict[str, Exception] = {}
    share = share_of(settings, shard["tasks"])
    with folder.timed("collect", index), Providers(folder, share=share) as providers:
        mailboxes = [entry.mailbox() for entry in left]
        watermarks = lake.watermarks(mailboxes, EXTRACTOR_VERSION)
        since = min([run.window_start, *(mark.since for mark in watermarks.values())])
        known = lake.known_message_ids(mailboxes, since, EXTRACTOR_VERSION)
        _prepare(providers, mailboxes, watermarks, run)
        for entry, mailbox in zip(left, mailboxes, strict=True):
            error = _read(
                providers, mailbox, run, known.pop(mailbox), watermarks.get(mailbox), harvest
            )
            if error:
                add_failure(failures, entry.address, entry.connection, error)
        harvest.commit(finished=not failures)
    if failures:
        raise ShardFailed(failures)
    return harvest.added


def _prepare(
    providers: Providers,
    mailboxes: Sequence[Mailbox],
    watermarks: Mapping[Mailbox, Watermark],
    run: Run,
) -> None:
    """Let each provider ask at once what it can ask for all of them. Where that fails, the
    mailboxes fail one by one."""
    for connection in {mailbox.connection: None for mailbox in mailboxes}:
        those = [
            (mailbox, watermarks.get(mailbox))
            for mailbox in mailboxes
            if mailbox.connection == connection
        ]
        try:
            providers.of(connection).prepare(those, run.window)
        except (MailboxError, ConfigurationError) as error:
            log.warning("%s: %s", connection, error)


def _done_before(folder: RunFolder, index: int) -> tuple[Collected, ...]:
    """The mailboxes that an earlier try has read. None when it was cleared after its end."""
    file = part_file("collected", index)
    if not (folder.path / file).exists():
        return ()
    earlier = folder.read(file, ShardCollected)
    if earlier.finished:
        folder.forget(file)
        return ()
    return tuple(one for one in earlier.mailboxes if not one.problem)


def _read(
    providers: Providers,
    mailbox: Mailbox,
    run: Run,
    known: set[str],
    watermark: Watermark | None,
    harvest: _Harvest,
) -> Exception | None:
    """Give what came into the mailbox to the harvest. Returns why that failed."""
    result, after = Collected.of(mailbox), None
    failed: Exception | None = None
    before = harvest.read
    try:
        reading = providers.of(mailbox.connection).collect(mailbox, run.window, known, watermark)
        try:
            for message in reading:
                harvest.add(message)
        finally:
            after = reading.watermark
    except MailboxUnavailable as error:
        after = None
        if run.mailboxes:
            failed = error
        else:
            # It was there when the mailboxes were listed.
            log.warning("%s is not watched any more: %s", mailbox.address, error)
            result = result.model_copy(update={"vanished": str(error)})
    except (MailboxError, ConfigurationError) as error:
        failed = error
    if failed:
        log.error("%s: %s", mailbox.address, failed)
        result = result.model_copy(update={"problem": str(failed)})
    log.info("%s: %d copies known, %d read", mailbox.address, len(known), harvest.read - before)
    harvest.end(mailbox, result, after if after != watermark else None)
    return failed


@dataclass
class _Harvest:
    """What was read of a shard's mailboxes, on its way into the lake.

    A watermark goes there after the messages it covers, and what became of a mailbox into the
    run's folder after both.
    """

    folder: RunFolder
    index: int
    lake: Lake
    extractor_version: int
    done: tuple[Collected, ...]
    read: int = 0
    """Messages given to it."""
    added: int = 0
    """Copies that were new to the lake."""
    _messages: list[CollectedMessage] = field(default_factory=list)
    _observables: int = 0
    _ended: list[Collected] = field(default_factory=list)
    _watermarks: dict[Mailbox, Watermark] = field(default_factory=dict)

    def add(self, message: CollectedMessage) -> None:
        """One message of the mailbox that is being read."""
        self._messages.append(message)
        self._observables += len(message.extraction.observables)
        self.read += 1
        if len(self._messages) >= MESSAGES_A_COMMIT or self._observables >= OBSERVABLES_A_COMMIT:
            self.commit()

    def end(self, mailbox: Mailbox, result: Collected, watermark: Watermark | None) -> None:
        """The mailbox was read as far as it could be."""
        self._ended.append(result)
        if watermark is not None:
            self._watermarks[mailbox] = watermark
        if len(self._ended) >= MAILBOXES_A_COMMIT:
            self.commit()

    def commit(self, *, finished: bool = False) -> None:
        """Add everything so far to the lake. Raises LakeError."""
        now = clock.utc_now()
        if self._messages:
            self.added += self.lake.add_messages(self._messages, now)
        self.lake.add_watermarks(self._watermarks, self.extractor_version, now)
        self.done += tuple(self._ended)
        self._messages, self._ended, self._watermarks = [], [], {}
        self._observables = 0
        written = ShardCollected(mailboxes=self.done, finished=finished)
        self.folder.write(part_file("collected", self.index), written)
