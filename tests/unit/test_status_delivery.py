"""Status of a configuration on its way into the pods: by what they report, with what was refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit import samples
from tests.unit.outcomes import HASH, brief, conditions, deployment, pod

from mailfilter_operator.delivery import Pod
from mailfilter_operator.errors import ClusterError
from mailfilter_operator.pod_reports import Verdict
from mailfilter_operator.status import Outcome, compute_conditions, compute_status

FAILURE = ClusterError("PATCH", "ConfigMap", "mail/mx-metrics", 503, "overloaded")


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        pytest.param((), "NoReadyPod", id="no pod"),
        pytest.param((pod(ready=False),), "NoReadyPod", id="not ready"),
        pytest.param((pod(active="older"),), "Delivering", id="older"),
        pytest.param((pod(active=None),), "Delivering", id="nothing yet"),
        pytest.param((replace(pod(), report=None),), "Delivering", id="no answer"),
        pytest.param((pod("a"), pod("b", "older")), "Delivering", id="one of two"),
    ],
)
def test_configuration_counts_as_applied_only_when_every_ready_pod_reports_it(
    pods: tuple[Pod, ...], reason: str
) -> None:
    found = conditions(pods=pods)

    assert brief(found, "ConfigApplied", "Ready", "Reconciling") == [
        ("False", reason),
        ("False", reason),
        ("True", reason),
    ]


def test_a_pod_that_is_not_ready_does_not_hold_up_the_others() -> None:
    assert conditions(pods=(pod("a"), pod("b", "older", ready=False)))["ConfigApplied"].status == "True"


def test_a_pod_that_goes_on_not_answering_is_said_to_with_the_port() -> None:
    found = conditions(pods=(pod("a"), replace(pod("b"), report=None, silent_looks=3)))

    assert brief(found, "ConfigApplied", "Ready") == [("False", "NotAnswering"), ("False", "NotAnswering")]
    assert "1 of 2 ready pods do not answer on port 11380" in found["ConfigApplied"].message


@pytest.mark.parametrize(
    ("same_hash", "before", "after"), [(True, "True", "True"), (False, "True", "False"), (True, "False", "False")]
)
def test_one_missed_answer_changes_nothing_of_what_was_observed(same_hash: bool, before: str, after: str) -> None:
    missed = Outcome(deployment(), HASH, pods=(pod("a"), replace(pod("b"), report=None, silent_looks=1)))
    seen = {"ConfigApplied": {"status": before, "reason": "Delivering", "message": ""}}

    assert compute_conditions(missed, seen, same_hash=same_hash)["ConfigApplied"].status == after


def test_raw_text_on_trial_is_not_applied_yet() -> None:
    found = conditions(on_trial=True)

    assert brief(found, "ConfigApplied", "Reconciling", "Stalled") == [
        ("False", "OnTrial"),
        ("True", "OnTrial"),
        ("False", "Progressing"),
    ]


REFUSAL = Verdict("refused", "local.d/multimap.conf: line: 2, column: 5 - 'unexpected'")


def test_a_refused_configuration_waits_for_a_person_and_names_file_and_line() -> None:
    found = conditions(refusal=REFUSAL)

    assert brief(found, "ConfigValid", "ConfigApplied", "Ready", "Reconciling", "Stalled") == [
        ("True", "Valid"),
        ("False", "ConfigRefused"),
        ("False", "ConfigRefused"),
        ("False", "Stalled"),
        ("True", "ConfigRefused"),
    ]
    assert "local.d/multimap.conf: line: 2" in found["ConfigApplied"].message
    assert "local.d/multimap.conf: line: 2" in found["Stalled"].message


def test_status_shows_what_pods_are_told_and_what_was_refused() -> None:
    status = compute_status(
        samples.body(), Outcome(deployment(), HASH, refusal=REFUSAL, image=samples.IMAGE), samples.NOW
    )

    assert status["config"] == {
        "hash": HASH,
        "refusedHash": "refused",
        "refusedImage": samples.IMAGE,
        "error": REFUSAL.error,
    }
    assert status["selector"] == (
        "app.kubernetes.io/component=filter,app.kubernetes.io/instance=mx,app.kubernetes.io/name=mailfilter"
    )


def test_a_pass_that_failed_keeps_what_is_known_of_the_configuration() -> None:
    before = {**samples.body(), "status": {"config": {"hash": "old", "refusedHash": "bad", "error": "x"}}}

    assert compute_status(before, Outcome(deployment(), None, error=FAILURE), samples.NOW)["config"] == {
        "hash": "old",
        "refusedHash": "bad",
        "error": "x",
    }
