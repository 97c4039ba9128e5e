"""Raw text serves only after a pod has proven it; which serves meanwhile."""

from __future__ import annotations

import pytest

from mailfilter_operator.delivery import Pod
from mailfilter_operator.pod_reports import PodReport, Verdict
from mailfilter_operator.raw_trial import Choice, Serving, choose_raw_text, find_verdict

CANDIDATE, OTHER = "c" * 64, "d" * 64
NOW, BEFORE = "e" * 64, "f" * 64
PASSED, REFUSED = Verdict(CANDIDATE, None), Verdict(CANDIDATE, "EICAR is not refused")


def pod(trial: Verdict | None) -> Pod:
    return Pod("mx-1", "10.244.0.2", True, {}, {}, PodReport(OTHER, trial=trial))


def choose(wanted: str, serving: Serving[str] | None, verdict: Verdict | None = None) -> Choice[str]:
    return choose_raw_text(wanted, serving, CANDIDATE, nothing="", proof=NOW, verdict=verdict)


def test_the_first_raw_text_is_tried_by_the_pods_that_start_with_it() -> None:
    assert choose("new", None) == Choice("new")


def test_raw_text_that_no_pod_could_start_with_may_be_corrected() -> None:
    assert choose("corrected", Serving("bad", proof=None)) == Choice("corrected")


def test_what_serves_already_needs_no_trial() -> None:
    assert choose("good", Serving("good", proof=NOW)) == Choice("good", NOW)


def test_what_was_proven_with_something_else_serves_on_and_is_known_to_be() -> None:
    assert choose("good", Serving("good", BEFORE)) == Choice("good", BEFORE)
    assert choose("new", Serving("good", BEFORE)) == Choice("good", BEFORE, pending=CANDIDATE)
    assert choose("new", Serving("good", BEFORE), PASSED) == Choice("new", NOW)


def test_a_change_waits_for_a_pod_that_tries_it() -> None:
    assert choose("new", Serving("good", proof=NOW)) == Choice("good", NOW, pending=CANDIDATE)


def test_what_passed_serves() -> None:
    assert choose("new", Serving("good", proof=NOW), PASSED) == Choice("new", NOW)


def test_what_was_refused_does_not_serve_and_the_reason_is_kept() -> None:
    assert choose("bad", Serving("good", proof=NOW), REFUSED) == Choice("good", NOW, refusal=REFUSED)


@pytest.mark.parametrize("proof", [NOW, BEFORE, None])
def test_no_raw_text_at_all_needs_no_trial(proof: str | None) -> None:
    assert choose("", Serving("good", proof=proof), REFUSED) == Choice("", NOW)


def test_a_verdict_is_about_the_candidate_alone() -> None:
    assert find_verdict([pod(Verdict(OTHER, None))], CANDIDATE, None) is None
    assert find_verdict([pod(None)], CANDIDATE, Verdict(OTHER, "bad")) is None


def test_a_pods_word_comes_before_what_is_remembered() -> None:
    assert find_verdict([pod(PASSED)], CANDIDATE, REFUSED) == PASSED


def test_a_refusal_is_remembered_when_the_pod_is_gone() -> None:
    assert find_verdict([], CANDIDATE, REFUSED) == REFUSED
