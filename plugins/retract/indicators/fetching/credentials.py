"""What a source asks for before it tells anything. Never shown, logged or written."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, SecretStr


class Credentials(BaseModel):
    """A connection's secrets; empty for a source that is open to all."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    login: str = ""
    password: SecretStr = SecretStr("")
    """A password, token or key."""
    header: str = ""
    """The name of the header that carries the password; empty: as the source usually wants it."""
    storage_options: dict[str, SecretStr] = {}
    """Of an object store, by its own names, as aws_access_key_id."""


NO_CREDENTIALS = Credentials()
