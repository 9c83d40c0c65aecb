"""Moments: when something was made, in UTC; text only where it is shown or handed on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("it has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is before the year 1 or after 9999") from None


# A datetime in UTC; ISO 8601 where a record becomes JSON, and read from it.
Moment = Annotated[
    datetime, AfterValidator(_utc), PlainSerializer(datetime.isoformat, return_type=str, when_used="json")
]
