"""What a person may ask of a manual run."""

from __future__ import annotations

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
from retract.model import Mode

Params = TypeVar("Params", bound=BaseModel)


def _address(value: str) -> str:
    address = value.strip().lower()
    local, _, domain = address.rpartition("@")
    if not local or not domain or " " in address or not address.isprintable():
        raise ValueError(f"{value!a} is not an address; write one as ann@example.com")
    return address


_Address = Annotated[str, AfterValidator(_address)]
_LEFT_EMPTY = BeforeValidator(lambda value: value or ())
"""Airflow's form gives null for a list that is left empty."""
_Names = Annotated[tuple[str, ...], _LEFT_EMPTY]


class RunParams(BaseModel):
    """What a person may ask of a manual run. Nothing here can widen the policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_start: AwareDatetime | None = None
    window_end: AwareDatetime | None = None
    mode: Literal["policy", "preview"] = "policy"
    mailboxes: Annotated[tuple[_Address, ...], _LEFT_EMPTY] = ()
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


def parse_params(params: dict[str, Any]) -> RunParams:
    """The run's params, checked anew: Airflow lets unknown keys and bad dates through.

    Raises ConfigurationError that says which param is wrong and why.
    """
    return _checked(RunParams, params, hint="Times look like 2026-01-31T00:00:00Z. ")


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
    raise ConfigurationError(
        f"the run's params are not usable: {wrong}. {hint}Trigger the run again with mended params."
    )
