"""Which run this is, and which delivery times it judges."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from retract.errors import ConfigurationError
from retract.model import Window
from retract.orchestration.params import RunParams


class RunRequest(BaseModel):
    """The facts of one Airflow run that matter here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dag_id: str
    run_id: str
    run_type: str
    """Airflow's own word: scheduled, manual, backfill or asset_triggered."""
    run_after: AwareDatetime
    interval_start: AwareDatetime | None
    interval_end: AwareDatetime | None
    params: dict[str, Any]


def resolve_window(
    request: RunRequest, params: RunParams, lookback: timedelta, kept_from: datetime
) -> Window:
    """The delivery times this run judges.

    Params first; then a backfill run's own data interval, exactly; then the lookback up to
    the end of a scheduled run's interval; and for a manual run the lookback up to the moment
    it was asked for. A lookback goes back to ``kept_from`` at most: what was delivered before is
    forgotten by the lake, and is not to be collected again.

    Raises ConfigurationError when earlier mail is asked for, or when nothing is left.
    """
    if params.window_start and params.window_end:
        return _kept(params.window_start, params.window_end, kept_from)
    if request.run_type == "backfill":
        if request.interval_start is None or request.interval_end is None:
            raise ConfigurationError("a backfill run without a data interval cannot be judged")
        return _kept(request.interval_start, request.interval_end, kept_from)
    end: datetime = request.run_after
    if request.run_type == "scheduled" and request.interval_end is not None:
        end = request.interval_end
    start = max(end - lookback, kept_from)
    return _kept(min(start, end), end, kept_from)


def _kept(start: datetime, end: datetime, kept_from: datetime) -> Window:
    if start < kept_from or end <= kept_from:
        raise ConfigurationError(
            f"the window begins at {start:%Y-%m-%dT%H:%M:%SZ}, and the lake forgets what was "
            f"delivered before {kept_from:%Y-%m-%dT%H:%M:%SZ}: let it begin then or later, or "
            "raise RETRACT_RETENTION_DAYS"
        )
    return Window(start, end)
