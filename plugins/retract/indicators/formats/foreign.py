"""Objects of foreign formats: what we use of them, whatever else they carry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    ValidationError,
    model_validator,
)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time beyond the calendar") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time, in UTC. The last hours of the year 9999, west of Greenwich, are none."""


class Foreign(BaseModel):
    """A foreign object's properties; those we do not know are legal, and null states nothing."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_states_nothing(cls, value: object) -> object:
        if isinstance(value, dict) and None in value.values():
            return {key: stated for key, stated in value.items() if stated is not None}
        return value


def items_of(stated: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key; empty where there is none, or something else."""
    found = stated.get(key)
    return found if isinstance(found, list) else []


def first_problem(error: ValidationError) -> str:
    """``confidence: Input should be …``, for the reason of a rejected entry."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
