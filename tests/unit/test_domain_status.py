"""What status says of records of which little or nothing can be said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit import samples
from tests.unit.outcomes import deployment

from mailfilter_operator.dkim.keys import ACTIVE
from mailfilter_operator.dkim.published import Answer, Look, Publication, judge_dkim
from mailfilter_operator.dkim.record_schedule import UNKNOWN, Watched, judge, note
from mailfilter_operator.dkim.records import build_dkim_record
from mailfilter_operator.dkim.suggestions import build_spf_record
from mailfilter_operator.domain_status import DomainReport, RecordReport, compute_dns_published, describe_records
from mailfilter_operator.status import Outcome, compute_status

RECORD = build_dkim_record(samples.dkim_key())
PUBLISHED = Publication("Published", None, (), 0)
SERVFAIL = Answer("ns1. (192.0.2.1)", None, 0, "SERVFAIL")


def message(*looks: Look | None) -> str:
    """The condition's message for one record a look; None: it was never asked for."""
    verdicts = [UNKNOWN if look is None else judge_dkim(RECORD.value, look) for look in looks]
    condition = compute_dns_published(
        DomainReport(records=tuple(RecordReport(RECORD, ACTIVE, verdict) for verdict in verdicts))
    )
    assert (condition.status, condition.reason) == ("Unknown", "NotObserved")
    return condition.message


@pytest.mark.parametrize(
    ("look", "why"),
    [
        (Look(RECORD.name, samples.NOW, (), 0, "the zone's servers have no address"), "have no address"),
        (Look(RECORD.name, samples.NOW, (SERVFAIL,), 0), "SERVFAIL"),
    ],
)
def test_why_nothing_is_known_of_a_record_is_said(look: Look, why: str) -> None:
    said = message(look)

    assert said.startswith(f"It is not known whether the record {RECORD.name} is published: ")
    assert why in said
    assert "more" not in said


def test_how_many_more_there_are_is_said() -> None:
    assert message(None, None, None) == (
        f"It is not known whether the record {RECORD.name} is published. So it is with 2 more."
    )


def test_what_was_not_answered_is_not_shown_as_what_is_there() -> None:
    record = build_spf_record("example.com", ("mx",), "SoftFail", 3600)
    look = Look(record.name, samples.NOW, (), 0, "no answer in time")

    found = judge(Watched(record), {record.name: note(None, look)})
    assert (found.state, found.observed, found.reason) == ("Unknown", None, "no answer in time")


def test_one_record_that_differs_is_shown_whole_among_many_that_are_missing() -> None:
    missing = RecordReport(RECORD, ACTIVE, Publication("Missing", None, (), 0))
    other = RecordReport(RECORD, ACTIVE, Publication("Different", "v=DKIM1; p=" + "A" * 400, (), 0))
    shown = describe_records(DomainReport(records=(other, *[missing] * 400)))

    assert shown[0]["observed"] == other.publication.observed
    assert all("observed" not in entry for entry in shown[1:])


def test_what_is_shown_in_part_ends_with_an_ellipsis() -> None:
    other = RecordReport(RECORD, ACTIVE, Publication("Different", "\ufffd" * 1024, (), 0))
    shown = describe_records(DomainReport(records=(other,) * 600))

    assert {entry["observed"][-1] for entry in shown} == {"…"}
    assert sum(len(entry["observed"].encode()) for entry in shown) <= 100 << 10


def test_why_nothing_is_known_stays_in_status_until_dns_is_asked_again() -> None:
    """The memory of a restarted operator is empty; a condition that changed for that would be written twice."""
    asked = samples.domain_report(samples.dkim_key())
    failed = Publication("Unknown", None, (), 0, "SERVFAIL")
    asked = replace(asked, records=tuple(replace(entry, publication=failed) for entry in asked.records))
    first = compute_status(samples.body(), Outcome(deployment(), "", domains=asked), samples.NOW)

    restarted = Outcome(deployment(), "", domains=samples.domain_report(samples.dkim_key()))
    assert compute_status(samples.body() | {"status": first}, restarted, samples.LATER) == first


def test_pass_that_failed_does_not_hide_what_is_known_of_the_records_after_a_restart() -> None:
    published = replace(samples.domain_report(samples.dkim_key()).records[0], publication=PUBLISHED)
    report = DomainReport((samples.dkim_key(),), (published,))
    first = compute_status(samples.body(), Outcome(deployment(), "", domains=report), samples.NOW)
    forgotten = [
        {**condition, "status": "Unknown", "reason": "NotObserved"}
        if condition["type"] == "DNSPublished"
        else condition
        for condition in first["conditions"]
    ]
    body = samples.body() | {"status": {**first, "conditions": forgotten}}

    found = compute_status(body, Outcome(deployment(), "", domains=report), samples.LATER)
    (condition,) = [entry for entry in found["conditions"] if entry["type"] == "DNSPublished"]
    assert condition["status"] == "True"
