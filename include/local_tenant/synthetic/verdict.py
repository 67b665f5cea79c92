"""What a synthetic message is, as its author knows: never worked out from the message."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """Mildest first."""

    NONE = "none"
    BULK = "bulk"
    SPAM = "spam"
    SPOOF = "spoof"
    SUSPICIOUS = "suspicious"
    MALICIOUS = "malicious"

    @staticmethod
    def gravest(verdicts: Iterable[Verdict]) -> Verdict:
        """The gravest of them; NONE when there is none."""
        return max(verdicts, key=_ORDER.index, default=Verdict.NONE)


_ORDER = list(Verdict)
