"""What a pod says of its signatures comes over the network: what cannot be read is not known."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter_operator.signature_reports import (
    MOST_SOURCES,
    SignatureReport,
    SignatureSource,
    parse_signature_report,
)
from mailfilter_operator.times import parse_time

OFFICIAL = {
    "name": "official",
    "lastSuccess": 1763633592,
    "lastFailure": None,
    "error": None,
    "retryAfter": None,
    "refused": None,
    "databases": ["daily.cld:27826:1763633592", "main.cvd:62:1624408800", "bad", 5, "x.cvd:1"],
}


def test_everything_is_read() -> None:
    failing = {"name": "local.ndb", "lastFailure": 1, "error": "x", "retryAfter": 2, "refused": "y", "databases": []}
    report = parse_signature_report(
        {
            "engine": "ClamAV 1.4.6",
            "signatureVersion": "27826",
            "signatureTime": "Thu Nov 20 10:13:12 2025",
            "loaded": {"error": "bad.ndb: Malformed database"},
            "sources": [OFFICIAL, failing],
        }
    )
    first, second = "1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z"
    time = "2025-11-20T10:13:12Z"
    assert report == SignatureReport(
        "ClamAV 1.4.6",
        "27826",
        time,
        "bad.ndb: Malformed database",
        (
            SignatureSource("local.ndb", None, first, "x", second, "y"),
            SignatureSource("official", time, built=time),
        ),
    )


def test_signatures_are_as_old_as_daily_whatever_else_is_new() -> None:
    names = ["bytecode.cvd:340:1763700000", "daily.cld:27826:1763633592", "main.cvd:62:1624408800"]
    (source,) = parse_signature_report({"sources": [{**OFFICIAL, "databases": names}]}).sources or ()
    assert source.built == "2025-11-20T10:13:12Z"
    (source,) = parse_signature_report({"sources": [{**OFFICIAL, "databases": names[::2]}]}).sources or ()
    assert source.built == "2025-11-21T04:40:00Z"


def test_an_image_that_tells_nothing_is_told_from_one_without_sources() -> None:
    assert parse_signature_report({}).sources is None
    assert parse_signature_report({"sources": []}).sources == ()


def test_no_more_sources_are_read_than_there_can_be() -> None:
    many = [{"name": f"{number}.ndb"} for number in range(1000)]
    assert len(parse_signature_report({"sources": many}).sources or ()) == MOST_SOURCES


@pytest.mark.parametrize("value", [-1, 253402300800, 10**30, 1.5, True, "5", None, [], {}])
def test_what_is_no_time_is_not_known(value: Any) -> None:
    (source,) = parse_signature_report({"sources": [{"name": "a", "lastSuccess": value}]}).sources or ()
    assert source == SignatureSource("a")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["name", "lastSuccess", "lastFailure", "error", "retryAfter", "refused", "databases"]
SOURCES = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, ANYTHING)), max_size=4)
REPORTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["engine", "signatureVersion", "signatureTime", "loaded"], ANYTHING),
        "sources": SOURCES | ANYTHING,
    },
)


@given(REPORTS)
def test_whatever_a_pod_says_is_short_lines_and_times(told: dict[str, Any]) -> None:
    report = parse_signature_report(told)
    lines = [report.engine, report.version, report.not_loaded]
    times = [report.time]
    for source in report.sources or ():
        lines += [source.name, source.error, source.refused]
        times += [source.last_success, source.last_failure, source.retry_after, source.built]
    assert all(re.fullmatch(r"[!-~]([ -~]{0,298}[!-~])?", line) for line in lines if line is not None)
    for time in times:
        if time is not None:
            parse_time(time)
