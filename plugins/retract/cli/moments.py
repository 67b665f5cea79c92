"""Times as people write them at a shell."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from pydantic import TypeAdapter, ValidationError

from retract.errors import ConfigurationError
from retract.settings_file import Duration

_DURATION = TypeAdapter(Duration)


def end_of(text: str, now: datetime) -> datetime:
    """When something ends: ``P30D`` from now, or a day, which counts to its end (UTC).

    Raises ConfigurationError for anything else, and for a time that is past.
    """
    text = text.strip()
    try:
        end = _moment(text, now)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"--expires {text[:40]!r}: write how long, as P30D or PT12H, or a day, as 2026-12-31"
        ) from error
    if end <= now:
        raise ConfigurationError(f"--expires {text!r} is past: it would never count")
    return end


def _moment(text: str, now: datetime) -> datetime:
    try:
        return now + _DURATION.validate_python(text)
    except ValidationError:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(), UTC) + timedelta(days=1)
