"""Reading single messages of one user: labels, headers, content."""

from __future__ import annotations

from retract.mailboxes.google_workspace.answers import Message, parse
from retract.mailboxes.google_workspace.api import Call, Caller
from retract.mailboxes.settings import GoogleWorkspaceSettings
from retract.model import Extraction
from retract.observables.mime import extract


def look(gmail: Caller, message_id: str) -> Call:
    """Asks where a message lies."""
    request = gmail.messages.get(userId="me", id=message_id, format="minimal")
    return Call(request, gmail.get_units, f"look at a message of {gmail.user}")


def headers(gmail: Caller, message_id: str) -> Call:
    """Asks where a message lies, from whom it is and about what."""
    request = gmail.messages.get(
        userId="me", id=message_id, format="metadata", metadataHeaders=["From", "Subject"]
    )
    return Call(request, gmail.get_units, f"look at a message of {gmail.user}")


def looked(gmail: Caller, message_id: str) -> Message:
    """The message without its content. Raises MailboxError."""
    call = look(gmail, message_id)
    return parse(Message, gmail.call(call), call.task)


def read(
    gmail: Caller, settings: GoogleWorkspaceSettings, message_id: str
) -> tuple[Message, Extraction]:
    """The message, and what its bytes tell. Raises MailboxError.

    A call of its own, and no batch: that saves no quota, and 25 large messages in one answer
    would fill the memory.
    """
    task = f"read a message of {gmail.user}"
    request = gmail.messages.get(
        userId="me", id=message_id, format="raw", fields="id,labelIds,internalDate,raw"
    )
    message = parse(Message, gmail.call(Call(request, gmail.get_units, task)), task)
    labels = message.labels if settings.trust_labels else ()
    raw = message.content(task)
    return message, extract(raw, trusted=settings.trusted_headers, labels=labels)
