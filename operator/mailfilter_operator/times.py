"""Points in time as Kubernetes writes them (RFC 3339 in UTC, whole seconds), and spans as the spec does: 90d, 12h."""

import re
from datetime import UTC, datetime, timedelta

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_LAST = 253402300799
"""9999-12-31T23:59:59Z"""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_time(text: str) -> datetime:
    """Raises ValueError.

    >>> parse_time("2026-11-23T09:00:00Z")
    datetime.datetime(2026, 11, 23, 9, 0, tzinfo=datetime.timezone.utc)
    """
    return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)


def write_epoch(seconds: int) -> str:
    """The time that is so many *seconds* after the beginning of 1970. Raises ValueError if it cannot be written.

    >>> write_epoch(1763633592)
    '2025-11-20T10:13:12Z'
    """
    if not 0 <= seconds <= _LAST:
        raise ValueError(f"{seconds} is not a time")
    return datetime.fromtimestamp(seconds, UTC).strftime(_FORMAT)


def add_seconds(time: str, seconds: float) -> str:
    """The time that is *seconds* later, rounded down; the last time that can be written if it would be later still.

    >>> add_seconds("2026-11-23T09:00:00Z", 3600)
    '2026-11-23T10:00:00Z'
    """
    try:
        return (parse_time(time) + timedelta(seconds=seconds)).strftime(_FORMAT)
    except OverflowError:
        return "9999-12-31T23:59:59Z"


def seconds_between(earlier: str, later: str) -> float:
    """Seconds from one time to the other; negative if they are the other way round."""
    return (parse_time(later) - parse_time(earlier)).total_seconds()


def parse_span(text: str) -> int:
    """Seconds of a span of time. Raises ValueError.

    >>> parse_span("7d"), parse_span("1h30m")
    (604800, 5400)
    """
    parts = re.findall(r"([0-9]{1,6})([dhms])", text)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a span of time such as 90d, 12h or 30m")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)
