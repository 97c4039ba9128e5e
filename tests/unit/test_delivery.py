"""Which pod is told what, and when it is told or asked again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.delivery import (
    LONGEST_REMINDER_MS,
    PATIENT_LOOKS,
    Pod,
    Wish,
    choose_trial_pod,
    plan_reminders,
    plan_tellings,
    read_pods,
    seconds_to_next_look,
    with_reports,
)
from mailfilter_operator.pod_reports import PodReport, Verdict

OLD, NEW, CANDIDATE = "a" * 64, "b" * 64, "c" * 64
NOW = 1_795_704_000_000
WISH = Wish(NEW)


def pod(name: str = "mx-1", told: str = f"1@{NOW}", serves: str | None = OLD, **changes: Any) -> Pod:
    annotations = {
        names.ANNOTATION_CONFIG: NEW,
        names.ANNOTATION_TOLD: told,
        names.ANNOTATION_IMAGE: samples.IMAGE,
    }
    report = PodReport(serves) if serves else None
    return replace(Pod(name, "10.244.0.2", True, annotations, {}, report), **changes)


def manifest(name: str, ready: str = "True", **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}]
    meta: dict[str, Any] = {"name": name, "uid": name, "ownerReferences": [samples.REPLICA_SET]}
    return {"metadata": meta, "status": {"phase": "Running", "conditions": conditions, "podIP": "10.0.0.1", **status}}


def test_pods_that_end_or_have_ended_are_told_nothing() -> None:
    ending = manifest("mx-2")
    ending["metadata"]["deletionTimestamp"] = "2026-11-23T09:00:00Z"
    found = read_pods([manifest("mx-3", phase="Failed"), ending, manifest("mx-1", "False"), manifest("mx-0")])
    assert [(pod.name, pod.ready) for pod in found] == [("mx-0", True), ("mx-1", False)]


@pytest.mark.parametrize(
    "owners", [[], [{**samples.REPLICA_SET, "controller": False}], [{**samples.REPLICA_SET, "kind": "Job"}]]
)
def test_a_pod_that_only_wears_the_labels_is_none(owners: list[dict[str, Any]]) -> None:
    planted = manifest("planted")
    planted["metadata"]["ownerReferences"] = owners
    assert read_pods([planted]) == ()


def test_a_pod_that_was_told_something_else_is_told_at_once() -> None:
    told = plan_tellings([pod(annotations={names.ANNOTATION_CONFIG: OLD}), pod("new", annotations={})], WISH, NOW)
    expected = {names.ANNOTATION_CONFIG: NEW, names.ANNOTATION_TOLD: f"1@{NOW}"}
    assert told == {"mx-1": expected, "new": expected}


def test_a_pod_that_was_told_is_not_told_again() -> None:
    assert plan_tellings([pod()], WISH, NOW + 10**9) == {}


def test_only_the_chosen_pod_is_told_what_to_try() -> None:
    wish = Wish(NEW, CANDIDATE, "mx-2")
    told = plan_tellings([pod("mx-1"), pod("mx-2")], wish, NOW)
    assert {name: told[name].get(names.ANNOTATION_CANDIDATE) for name in told} == {"mx-2": CANDIDATE}


def test_a_pod_is_told_that_there_is_nothing_to_try_any_more() -> None:
    tried = pod()
    tried = replace(tried, annotations={**tried.annotations, names.ANNOTATION_CANDIDATE: CANDIDATE})
    told = plan_tellings([tried], WISH, NOW)["mx-1"]
    assert told == {**told, names.ANNOTATION_CANDIDATE: None}


@pytest.mark.parametrize(
    ("told", "after_ms", "again"), [("1", 1499, None), ("1", 1500, "2"), ("2", 2999, None), ("2", 3000, "3")]
)
def test_a_pod_that_does_not_report_is_told_again_ever_more_rarely(told: str, after_ms: int, again: str | None) -> None:
    reminders = plan_reminders([pod(told=f"{told}@{NOW}")], WISH, NOW + after_ms)
    found = reminders.get("mx-1", {}).get(names.ANNOTATION_TOLD)
    assert found == (f"{again}@{NOW + after_ms}" if again else None)


def test_one_missed_answer_is_no_reason_to_tell_a_pod_again() -> None:
    assert plan_reminders([pod(serves=None, silent_looks=PATIENT_LOOKS - 1)], WISH, NOW + 10**9) == {}


@pytest.mark.parametrize("times", [30, 9999])
def test_even_a_pod_that_never_reports_is_told_again_in_the_end(times: int) -> None:
    silent = pod(told=f"{times}@{NOW}", serves=None, silent_looks=PATIENT_LOOKS)
    assert plan_reminders([silent], WISH, NOW + LONGEST_REMINDER_MS - 1) == {}
    assert plan_reminders([silent], WISH, NOW + LONGEST_REMINDER_MS) != {}


def test_a_pod_that_has_no_address_yet_will_see_the_files_when_it_starts() -> None:
    assert plan_reminders([pod(ip=None)], WISH, NOW + 10**9) == {}
    assert seconds_to_next_look([pod(ip=None)], WISH, NOW) is None


@pytest.mark.parametrize("report", [PodReport(NEW), PodReport(OLD, refused=Verdict(NEW, "line: 2"))])
def test_a_pod_that_has_answered_is_left_in_peace(report: PodReport) -> None:
    answered = pod(report=report)
    assert plan_reminders([answered], WISH, NOW + 10**9) == {}
    assert seconds_to_next_look([answered], WISH, NOW) is None


def test_the_pod_that_tries_has_answered_only_with_a_verdict() -> None:
    wish = Wish(NEW, CANDIDATE, "mx-1")
    assert not wish.is_answered(pod(serves=NEW))
    assert wish.is_answered(pod(report=PodReport(NEW, trial=Verdict(CANDIDATE, None))))
    assert wish.is_answered(pod("mx-2", serves=NEW))


@given(st.integers(0, 10**6), st.integers(0, 20))
def test_the_next_look_is_soon_and_never_at_once(elapsed_ms: int, times: int) -> None:
    seconds = seconds_to_next_look([pod(told=f"{times}@{NOW}")], WISH, NOW + elapsed_ms)
    assert seconds is not None
    assert 0.2 <= seconds <= 30
    assert seconds <= max(0.2, elapsed_ms / 4000)


def test_a_clock_that_went_back_does_no_harm() -> None:
    assert seconds_to_next_look([pod()], WISH, NOW - 10**6) == 0.2


@pytest.mark.parametrize("told", ["", "x", "1@", "@5", "1@2@3", "-1@5", "1@" + 20 * "9"])
def test_a_damaged_note_counts_as_none(told: str) -> None:
    assert pod(told=told).told == (0, 0)
    assert plan_reminders([pod(told=told)], WISH, NOW) != {}


def test_reports_are_matched_by_address() -> None:
    (first, second) = with_reports([pod("a", ip="10.0.0.1"), pod("b", ip=None)], {"10.0.0.1": PodReport(NEW)})
    assert first.report == PodReport(NEW)
    assert second.report is None


def test_raw_text_is_tried_by_a_pod_that_serves_and_always_the_same() -> None:
    chosen = pod("mx-3")
    chosen = replace(chosen, annotations={**chosen.annotations, names.ANNOTATION_CANDIDATE: CANDIDATE})
    assert choose_trial_pod([pod("mx-1", ready=False), pod("mx-2"), chosen], samples.IMAGE) == "mx-3"
    assert (
        choose_trial_pod([pod("mx-1", ready=False), pod("mx-2"), replace(chosen, ready=False)], samples.IMAGE) == "mx-2"
    )
    assert choose_trial_pod([pod("mx-1", ready=False)], samples.IMAGE) is None
    assert choose_trial_pod([pod("mx-2"), chosen], "localhost/mailfilter:another") is None
