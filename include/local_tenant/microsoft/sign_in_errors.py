"""What the identity platform answers when it refuses a sign-in.

Codes and wording as reported in the issue trackers of msal, azure-sdk, azure-workload-identity
and microsoft-graph-docs, and as listed under "Microsoft Entra authentication error codes".
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class SignInRefused(Exception):
    """A sign-in that the identity platform refuses."""

    status: int
    error: str
    number: int
    """The AADSTS code."""
    description: str

    def body(self, now: datetime, origin: str, correlation_id: str = "") -> dict[str, Any]:
        """The JSON of the answer."""
        trace_id, correlation_id = str(uuid.uuid4()), correlation_id or str(uuid.uuid4())
        timestamp = f"{now:%Y-%m-%d %H:%M:%SZ}"
        return {
            "error": self.error,
            "error_description": f"AADSTS{self.number}: {self.description} "
            f"Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
            "error_codes": [self.number],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"{origin}/error?code={self.number}",
        }


def invalid_client(number: int, description: str) -> SignInRefused:
    """The client is known, and did not prove that it is itself."""
    return SignInRefused(401, "invalid_client", number, description)
