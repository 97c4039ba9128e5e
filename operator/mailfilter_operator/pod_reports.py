"""What a filter pod says of itself, as data. The answer comes from the network, so nothing in it is taken on trust."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailfilter_operator.signature_reports import SignatureReport, parse_signature_report

_HASH = re.compile(r"[0-9a-f]{64}")
LONGEST_REPORT = 64 * 1024
"""Bytes of an answer that are read."""

_LONGEST_ERROR = 1024
_NUMBERS = 10**15


@dataclass(frozen=True, slots=True)
class Verdict:
    """A configuration that was tested, and what the test said against it; without an error it passed."""

    hash: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Reload:
    """The number by which a pod waits for its turn to load signatures, or by which it loads them and scans nothing."""

    waiting: int | None = None
    loading: int | None = None


@dataclass(frozen=True, slots=True)
class PodReport:
    """What a pod serves (None before its first configuration), refused last, and tried last beside what serves."""

    active: str | None
    refused: Verdict | None = None
    trial: Verdict | None = None
    signatures: SignatureReport = field(default_factory=SignatureReport)
    reload: Reload = field(default_factory=Reload)


def parse_report(text: bytes) -> PodReport:
    """Read the JSON that a pod serves. Raises ValueError if it is not such a report."""
    try:
        report = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    report = _object(report)
    return PodReport(
        _hash(report.get("active")),
        _verdict(report.get("refused")),
        _verdict(report.get("trial")),
        parse_signature_report(report),
        _read_reload(report.get("reload")),
    )


def _read_reload(value: Any) -> Reload:
    """What cannot be read is not known; it never takes the rest of the report with it."""
    found = value if isinstance(value, Mapping) else {}
    return Reload(_number(found.get("waiting")), _number(found.get("loading")))


def _number(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value < _NUMBERS else None


def _verdict(value: Any) -> Verdict | None:
    if value is None:
        return None
    verdict = _object(value)
    name, error = _hash(verdict.get("hash")), verdict.get("error")
    if name is None or not (error is None or isinstance(error, str)):
        raise ValueError("a verdict without hash, or with an error that is no text")
    return Verdict(name, None if error is None else _one_line(error) or "no reason was given")


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("not an object")  # noqa: TRY004 - one exception for every answer that is no report
    return value


def _hash(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("a hash that is none")
    return value


def _one_line(text: str) -> str:
    """Control characters would make a mess of a terminal that shows the status."""
    return re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+", " ", text).strip()[:_LONGEST_ERROR]
