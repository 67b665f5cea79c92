"""Every error the program raises on purpose.

    RetractError
    ├── ConfigurationError           a file or connection a person must mend
    │   ├── PolicyError              the policy file
    │   ├── FeedConfigurationError   the feeds file
    │   └── ConnectionSettingsError  the settings of a mailbox connection
    ├── FeedError                    one feed's snapshot is unusable; its last good version stays
    ├── MailboxError                 a provider refused or failed
    │   ├── AuthenticationFailed     wrong secret, expired certificate, no delegation
    │   ├── PermissionDenied         authenticated, but not allowed
    │   ├── MailboxUnavailable       no such mailbox, or it is inactive or on-premises
    │   ├── MessageNotFound          the provider id leads to nothing: look before concluding
    │   ├── Throttled                slow down; carries ``retry_after`` in seconds
    │   ├── OutcomeUnknown           the call may or may not have succeeded: verify
    │   └── TenantUnreachable        no answer from the service
    ├── ActionNotSupported           the provider has no such action
    ├── PlanError                    a plan file is damaged, or may not be carried out
    ├── LakeError                    a table is missing or does not have the expected shape
    └── LedgerError                  the ledger refused a change of state
        └── ClaimLost                another worker holds the copy or the mailbox

A message says what is wrong and what to do next, and never carries a secret.
"""

from __future__ import annotations

from datetime import datetime


class RetractError(Exception):
    """The root of the tree."""


class ConfigurationError(RetractError):
    """A file or connection a person must mend; retrying does not help."""


class PolicyError(ConfigurationError):
    """The policy file is wrong; the message names the line and the reason."""


class FeedConfigurationError(ConfigurationError):
    """The feeds file is wrong; the message names the source and the reason."""


class ConnectionSettingsError(ConfigurationError):
    """The settings of a mailbox connection are wrong or incomplete."""


class FeedError(RetractError):
    """One feed's snapshot is unusable; its last good version stays in force."""


class MailboxError(RetractError):
    """A mail provider refused or failed. ``code`` is the provider's own error code, if any.

    The message quotes the provider, and goes to logs and the ledger: it stays on one line.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__("".join(c if c.isprintable() else " " for c in message))
        self.code = code


class AuthenticationFailed(MailboxError):
    """Wrong secret, expired certificate, or missing delegation; retrying does not help."""


class PermissionDenied(MailboxError):
    """Authenticated, but not allowed to do this; retrying does not help."""


class MailboxUnavailable(MailboxError):
    """There is no such mailbox, or it is inactive, unlicensed or on-premises."""


class MessageNotFound(MailboxError):
    """The provider id leads to nothing now. This means "look", not "done" and not "failed"."""


class Throttled(MailboxError):
    """The provider asks for patience. ``retry_after`` is in seconds; None when it did not say."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class OutcomeUnknown(MailboxError):
    """The call timed out or broke after it was sent: it may have succeeded, so verify."""


class TenantUnreachable(MailboxError):
    """The service cannot be reached at its configured address."""


class ActionNotSupported(RetractError):
    """The provider has no such action (Gmail has no soft delete)."""


class PlanError(RetractError):
    """A plan cannot be read, was altered, or may not be carried out (a preview)."""


class LakeError(RetractError):
    """A lake table is missing or does not have the expected shape."""


class LedgerError(RetractError):
    """The ledger refused a change of state."""


class ClaimLost(LedgerError):
    """Another worker holds this copy or mailbox, or this worker's lease ran out.

    ``until`` is when the other's hold ends at the latest (aware UTC); None when nobody knows.
    """

    def __init__(self, message: str, *, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until
