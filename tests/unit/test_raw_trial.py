"""Raw text serves only after a pod has proven it; which serves meanwhile."""

from __future__ import annotations

import pytest

from mailfilter_operator.delivery import Pod
from mailfilter_operator.pod_reports import PodReport, Verdict
from mailfilter_operator.raw_trial import Choice, Serving, choose_raw_text, find_verdict

CANDIDATE, OTHER = "c" * 64, "d" * 64
PASSED, REFUSED = Verdict(CANDIDATE, None), Verdict(CANDIDATE, "EICAR is not refused")


def pod(trial: Verdict | None) -> Pod:
    return Pod("mx-1", "10.244.0.2", True, {}, {}, PodReport(OTHER, trial=trial))


def choose(wanted: str, serving: Serving[str] | None, verdict: Verdict | None = None) -> Choice[str]:
    return choose_raw_text(wanted, serving, CANDIDATE, harmless=not wanted, verdict=verdict)


def test_the_first_raw_text_is_tried_by_the_pods_that_start_with_it() -> None:
    assert choose("new", None) == Choice("new", unproven=True)


def test_raw_text_that_no_pod_could_start_with_may_be_corrected() -> None:
    assert choose("corrected", Serving("bad", proven=False)) == Choice("corrected", unproven=True)


def test_what_serves_already_needs_no_trial() -> None:
    assert choose("good", Serving("good", proven=True)) == Choice("good")


def test_a_change_waits_for_a_pod_that_tries_it() -> None:
    assert choose("new", Serving("good", proven=True)) == Choice("good", pending=CANDIDATE)


def test_what_passed_serves() -> None:
    assert choose("new", Serving("good", proven=True), PASSED) == Choice("new")


def test_what_was_refused_does_not_serve_and_the_reason_is_kept() -> None:
    assert choose("bad", Serving("good", proven=True), REFUSED) == Choice("good", refusal=REFUSED)


@pytest.mark.parametrize("proven", [True, False])
def test_no_raw_text_at_all_needs_no_trial(proven: bool) -> None:
    assert choose("", Serving("good", proven=proven), REFUSED) == Choice("")


def test_a_verdict_is_about_the_candidate_alone() -> None:
    assert find_verdict([pod(Verdict(OTHER, None))], CANDIDATE, None) is None
    assert find_verdict([pod(None)], CANDIDATE, Verdict(OTHER, "bad")) is None


def test_a_pods_word_comes_before_what_is_remembered() -> None:
    assert find_verdict([pod(PASSED)], CANDIDATE, REFUSED) == PASSED


def test_a_refusal_is_remembered_when_the_pod_is_gone() -> None:
    assert find_verdict([], CANDIDATE, REFUSED) == REFUSED
