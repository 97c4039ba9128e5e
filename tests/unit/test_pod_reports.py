"""What a pod says is read carefully: it comes over the network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter_operator.pod_reports import PodReport, Reload, Verdict, parse_report

HASH = "a" * 64
OTHER = "b" * 64


def text(**report: Any) -> bytes:
    return json.dumps(report).encode()


def test_a_pod_before_its_first_configuration_serves_none() -> None:
    assert parse_report(text(active=None, refused=None, trial=None)) == PodReport(None)


def test_active_refused_and_tried_are_told_apart() -> None:
    report = parse_report(
        text(active=HASH, refused={"hash": OTHER, "error": "line: 3"}, trial={"hash": OTHER, "error": None})
    )
    assert report == PodReport(HASH, Verdict(OTHER, "line: 3"), Verdict(OTHER, None))


def test_what_a_later_image_reports_besides_is_left_alone() -> None:
    assert parse_report(text(active=HASH, more=[1])) == PodReport(HASH)


def test_signatures_that_cannot_be_read_leave_the_rest_alone() -> None:
    report = parse_report(text(active=HASH, engine=5, signatureTime="yesterday", loaded=[], sources="none"))
    assert report == PodReport(HASH)


def test_signatures_are_read_with_the_rest() -> None:
    assert parse_report(text(active=HASH, engine="ClamAV 1.4.6")).signatures.engine == "ClamAV 1.4.6"


def test_an_error_is_one_line_of_bounded_length() -> None:
    report = parse_report(text(active=HASH, refused={"hash": OTHER, "error": "a\n\tb\x1b[31m" + 5000 * "c"}))
    assert report.refused is not None
    assert report.refused.error is not None
    assert report.refused.error.startswith("a b [31mccc")
    assert len(report.refused.error) == 1024


def test_an_empty_error_is_still_a_refusal() -> None:
    report = parse_report(text(active=HASH, trial={"hash": OTHER, "error": ""}))
    assert report.trial == Verdict(OTHER, "no reason was given")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"\xff{}",
        text(active="short"),
        text(active=HASH, refused="no"),
        text(active=HASH, refused={"error": "x"}),
        text(active=HASH, trial={"hash": OTHER, "error": 5}),
        b"[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_report(answer)


@given(st.binary(max_size=200))
def test_no_answer_breaks_the_operator(answer: bytes) -> None:
    try:
        parse_report(answer)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("told", "reload"),
    [
        ({"waiting": 1795704000, "loading": None}, Reload(1795704000)),
        ({"waiting": None, "loading": 1795704000}, Reload(None, 1795704000)),
        (None, Reload()),
        ([5], Reload()),
        ({"waiting": "1", "loading": True}, Reload()),
        ({"waiting": -1, "loading": 10**15}, Reload()),
    ],
)
def test_a_pod_says_whether_it_waits_to_load_signatures(told: Any, reload: Reload) -> None:
    assert parse_report(text(active=HASH, reload=told)) == PodReport(HASH, reload=reload)
