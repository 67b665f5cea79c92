"""Which run this is, and which delivery times it judges."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    model_validator,
)

from retract.errors import ConfigurationError
from retract.model import Mode, Window

Params = TypeVar("Params", bound=BaseModel)


def _address(value: str) -> str:
    address = value.strip().lower()
    local, _, domain = address.rpartition("@")
    if not local or not domain or " " in address or not address.isprintable():
        raise ValueError(f"{value!a} is not an address; write one as ann@example.com")
    return address


_Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: value or ())]


class RunParams(BaseModel):
    """What a person may ask of a manual run. Nothing here can widen the policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_start: AwareDatetime | None = None
    window_end: AwareDatetime | None = None
    mode: Literal["policy", "preview"] = "policy"
    mailboxes: Annotated[
        tuple[Annotated[str, AfterValidator(_address)], ...], BeforeValidator(lambda v: v or ())
    ] = ()
    """Addresses to judge; empty means all."""

    @model_validator(mode="after")
    def _whole_window(self) -> Self:
        if (self.window_start is None) != (self.window_end is None):
            raise ValueError("give both window_start and window_end, or neither")
        if self.window_start and self.window_end and self.window_start >= self.window_end:
            raise ValueError("window_end must be later than window_start")
        return self

    @property
    def narrowing(self) -> Mode | None:
        """The mode asked for, or None to leave it to the policy."""
        return Mode.PREVIEW if self.mode == "preview" else None


class RefreshParams(BaseModel):
    """What a person may ask of a manual run of refresh_indicators."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: _Names = ()
    """The sources to read; empty means all that are enabled."""
    accept_jumps_of: _Names = ()
    """Sources that may list many more or fewer indicators than before, this once."""


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


def parse_params(params: dict[str, Any]) -> RunParams:
    """The run's params, checked anew: Airflow lets unknown keys and bad dates through.

    Raises ConfigurationError that says which param is wrong and why.
    """
    return _checked(RunParams, params, hint="Times look like 2026-01-31T00:00:00Z; ")


def parse_refresh_params(params: dict[str, Any]) -> RefreshParams:
    """The same for a run of refresh_indicators."""
    return _checked(RefreshParams, params)


def _checked(kind: type[Params], params: dict[str, Any], hint: str = "") -> Params:
    try:
        return kind.model_validate(params)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'params'}: {e['msg']}" for e in error.errors()
        )
    again = f"{hint}trigger the run again with mended params."
    raise ConfigurationError(
        f"the run's params are not usable: {wrong}. {again[0].upper()}{again[1:]}"
    )


def resolve_window(request: RunRequest, params: RunParams, lookback: timedelta) -> Window:
    """The delivery times this run judges.

    Params first; then a backfill run's own data interval, exactly; then the lookback up to
    the end of a scheduled run's interval; and for a manual run the lookback up to the moment
    it was asked for.
    """
    if params.window_start and params.window_end:
        return Window(params.window_start, params.window_end)
    if request.run_type == "backfill":
        if request.interval_start is None or request.interval_end is None:
            raise ConfigurationError("a backfill run without a data interval cannot be judged")
        return Window(request.interval_start, request.interval_end)
    end: datetime = request.run_after
    if request.run_type == "scheduled" and request.interval_end is not None:
        end = request.interval_end
    return Window(end - lookback, end)
