"""Whether a mailbox is one of those that the connection's settings put under watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from retract.errors import MailboxUnavailable
from retract.mailboxes.settings import Watch
from retract.model import Mailbox, UnwatchedMailbox


class Watched:
    """Knows the watched mailboxes of a connection; lists them when first asked, where it must."""

    def __init__(
        self, watch: Watch, listing: Callable[[Watch], Iterator[Mailbox | UnwatchedMailbox]]
    ) -> None:
        self._watch = watch
        self._listing = listing
        self._ids: frozenset[str] | None = None

    def require(self, mailbox: Mailbox) -> Mailbox:
        """The mailbox itself. Raises MailboxUnavailable when the settings leave it out."""
        if self._watch.everyone:
            is_watched = not self._watch.excludes(mailbox.address, *mailbox.aliases)
        else:
            is_watched = mailbox.mailbox_id in self._known()
        if not is_watched:
            raise MailboxUnavailable(
                f"{mailbox.address} is not watched: the connection's setting watch leaves it out"
            )
        return mailbox

    def _known(self) -> frozenset[str]:
        if self._ids is None:
            listed = self._listing(self._watch)
            self._ids = frozenset(one.mailbox_id for one in listed if isinstance(one, Mailbox))
        return self._ids
