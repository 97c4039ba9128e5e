"""What a filter pod says of its signatures, as data. It comes over the network: all of it is checked and bounded.

What cannot be read is not known; it never takes the rest of the pod's report with it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mailfilter_operator.times import write_epoch

OFFICIAL = "official"
"""Name of the source that all databases of the ClamAV network come from together."""

MOST_SOURCES = 32
"""A spec names at most 20, and the official one; what is told beyond that is not read."""

_DATABASE = re.compile(r"([a-z]{1,16}\.c[lv]d):([0-9]{1,9}):([0-9]{1,12})")
_CLAMD_TIME = "%a %b %d %H:%M:%S %Y"


@dataclass(frozen=True, slots=True)
class SignatureSource:
    """What is known of one source; times are RFC 3339, None where nothing is known."""

    name: str
    last_success: str | None = None
    last_failure: str | None = None
    error: str | None = None
    """What was wrong in the last check; None if it succeeded."""
    retry_after: str | None = None
    refused: str | None = None
    """What is wrong with the database that it has; the one before serves."""
    built: str | None = None
    """When `daily` was built, which is what grows old; where there is none, the newest of its signed databases."""


@dataclass(frozen=True, slots=True)
class SignatureReport:
    """What a pod says of its signatures."""

    engine: str | None = None
    version: str | None = None
    time: str | None = None
    """When the official databases that clamd has loaded were built, as clamd tells it."""
    not_loaded: str | None = None
    """Why clamd did not load the databases that are there now.

    It goes on with those before, or scans nothing if it had no memory to keep them.
    """
    sources: tuple[SignatureSource, ...] | None = None
    """None: the pod does not tell."""


def parse_signature_report(report: Mapping[str, Any]) -> SignatureReport:
    """Read the part of a pod's report that tells of signatures. Total."""
    loaded = report.get("loaded")
    return SignatureReport(
        _read_text(report.get("engine"), 64),
        _read_text(report.get("signatureVersion"), 64),
        _read_clamd_time(report.get("signatureTime")),
        _read_text(loaded.get("error"), 300) if isinstance(loaded, Mapping) else None,
        _read_sources(report.get("sources")),
    )


def _read_sources(value: Any) -> tuple[SignatureSource, ...] | None:
    if not isinstance(value, list):
        return None
    found = [_read_source(entry) for entry in value[:MOST_SOURCES] if isinstance(entry, Mapping)]
    return tuple(sorted((source for source in found if source), key=lambda source: source.name))


def _read_source(entry: Mapping[str, Any]) -> SignatureSource | None:
    name = _read_text(entry.get("name"), 255)
    if name is None:
        return None
    databases = entry.get("databases")
    told = databases[:MOST_SOURCES] if isinstance(databases, list) else ()
    matches = (_DATABASE.fullmatch(text) for text in told if isinstance(text, str))
    built = {match[1]: time for match in matches if match and (time := _read_epoch(int(match[3])))}
    daily = [time for name, time in built.items() if name.startswith("daily.")]
    return SignatureSource(
        name,
        _read_epoch(entry.get("lastSuccess")),
        _read_epoch(entry.get("lastFailure")),
        _read_text(entry.get("error"), 300),
        _read_epoch(entry.get("retryAfter")),
        _read_text(entry.get("refused"), 300),
        max(daily or built.values(), default=None),
    )


def _read_text(value: Any, most: int) -> str | None:
    """One line of printable ASCII; None if nothing is left of it."""
    if not isinstance(value, str):
        return None
    return re.sub(r"[^!-~]+", " ", value[: 4 * most]).strip()[:most].strip() or None


def _read_epoch(value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    try:
        return write_epoch(value)
    except ValueError:
        return None


def _read_clamd_time(value: Any) -> str | None:
    """Clamd's clock and that of the container are UTC."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.strptime(value[:64], _CLAMD_TIME).replace(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
