"""Status says what was observed: nothing of an older generation, nothing that was only wished."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples
from tests.unit.outcomes import HASH, brief, conditions, deployment, pod

from mailfilter_operator.conditions import Condition
from mailfilter_operator.errors import ClusterError, Conflict, InvalidReference, InvalidSpec, MailFilterError
from mailfilter_operator.pod_reports import Verdict
from mailfilter_operator.status import Outcome, compute_conditions, compute_status
from mailfilter_operator.validate import Note

KEYS = (samples.dkim_key("example.com"), samples.dkim_key("example.org"))
INVALID = InvalidSpec("spec.actions.reject", "is wrong; correct it")
CONFLICT = Conflict("ConfigMap", "mx-metrics", "is another's")
FAILURE = ClusterError("PATCH", "ConfigMap", "mail/mx-metrics", 503, "overloaded")
TYPES = ["ConfigValid", "ConfigApplied", "Available", "Ready", "Signing", "DNSPublished", "SignaturesFresh"]
TYPES += ["Reconciling", "Stalled"]


def test_working_filter_is_ready() -> None:
    found = conditions()

    assert brief(found, "ConfigValid", "ConfigApplied", "Available", "Ready") == [
        ("True", "Valid"),
        ("True", "Applied"),
        ("True", "PodsReady"),
        ("True", "Ready"),
    ]
    assert brief(found, "Reconciling", "Stalled") == [("False", "Done"), ("False", "Progressing")]


def test_every_condition_is_there_and_what_is_not_observed_is_unknown() -> None:
    found = conditions()

    assert list(found) == TYPES
    assert {name for name in TYPES if found[name].status == "Unknown"} == {"Signing", "DNSPublished", "SignaturesFresh"}


@pytest.mark.parametrize(
    ("live", "reason"),
    [
        pytest.param(None, "NotDeployed", id="no Deployment"),
        pytest.param({**deployment(), "status": None}, "RollingOut", id="no status yet"),
        pytest.param(deployment(generation=3), "RollingOut", id="not looked at yet"),
        pytest.param(deployment(updatedReplicas=0), "RollingOut", id="no new pod"),
        pytest.param(deployment(replicas=2), "RollingOut", id="old pod still there"),
        pytest.param(deployment(readyReplicas=0), "NoReadyPod", id="pod is not ready"),
    ],
)
def test_configuration_counts_as_applied_only_when_every_pod_runs_it(live: dict[str, Any] | None, reason: str) -> None:
    found = conditions(deployment=live)

    expected = ("False", reason)
    assert brief(found, "ConfigApplied", "Ready") == [expected, expected]
    assert brief(found, "Reconciling", "Stalled") == [("True", reason), ("False", "Progressing")]


def test_old_pods_keep_it_available_during_a_rollout() -> None:
    assert conditions(deployment=deployment(updatedReplicas=0))["Available"].status == "True"


def test_no_ready_pod_is_not_available_and_says_what_the_mta_answers() -> None:
    found = conditions(deployment=deployment(readyReplicas=0))

    assert found["Available"].status == "False"
    assert "451" in found["Available"].message


def test_wanted_without_ready_pods_is_still_reconciling() -> None:
    """A Deployment of zero pods is complete and yet nothing scans."""
    scaled = deployment(replicas=0, updatedReplicas=0, readyReplicas=0)
    scaled["spec"]["replicas"] = 0

    assert conditions(deployment=scaled)["Reconciling"].status == "True"


def test_invalid_spec_names_the_field_and_says_that_the_old_configuration_serves() -> None:
    found = conditions(config_hash=None, error=INVALID)

    assert found["ConfigValid"].status == "False"
    assert found["ConfigValid"].message == (
        "spec.actions.reject: is wrong; correct it. The configuration applied before goes on serving."
    )
    assert brief(found, "ConfigApplied", "Ready", "Stalled", "Reconciling") == [
        ("False", "InvalidSpec"),
        ("False", "InvalidSpec"),
        ("True", "InvalidSpec"),
        ("False", "Stalled"),
    ]
    assert found["Available"].status == "True"


FORBIDDEN = ClusterError("PATCH", "ConfigMap", "mail/mx-metrics", 403, "no right to patch")


@pytest.mark.parametrize("error", [CONFLICT, FORBIDDEN])
def test_errors_that_a_person_must_mend_leave_the_spec_valid(error: MailFilterError) -> None:
    found = conditions(config_hash=None, error=error)

    assert brief(found, "ConfigValid", "ConfigApplied", "Stalled", "Reconciling") == [
        ("True", "Valid"),
        ("False", error.reason),
        ("True", error.reason),
        ("False", "Stalled"),
    ]
    assert found["Stalled"].message == error.message


def test_an_error_that_goes_away_is_still_reconciling() -> None:
    found = conditions(config_hash=None, error=FAILURE)

    assert brief(found, "ConfigApplied", "Ready", "Stalled", "Reconciling") == [
        ("False", "ClusterError"),
        ("False", "ClusterError"),
        ("False", "Progressing"),
        ("True", "ClusterError"),
    ]


@pytest.mark.parametrize(("generation", "ready"), [(1, "True"), (2, "False")], ids=["same", "newer"])
def test_an_error_that_goes_away_leaves_what_was_seen_of_the_same_generation(generation: int, ready: str) -> None:
    body = samples.body()
    before = compute_status(body, Outcome(deployment(), HASH, samples.domain_report(*KEYS), pods=(pod(),)), samples.NOW)
    meta = {**body["metadata"], "generation": generation}
    failed = Outcome(deployment(), None, error=FAILURE)
    after = compute_status({**body, "metadata": meta, "status": before}, failed, samples.LATER)

    assert {entry["type"]: entry["status"] for entry in after["conditions"]}["Ready"] == ready


@given(st.sampled_from([INVALID, CONFLICT, FAILURE, FORBIDDEN]), st.sampled_from([HASH, "other", None]))
def test_no_error_is_ever_ready_for_a_generation_that_was_not_seen(error: MailFilterError, config_hash: str) -> None:
    assert conditions(config_hash=config_hash, error=error)["Ready"].status == "False"


def test_paused_says_so_and_claims_nothing() -> None:
    found = conditions(config_hash=None, paused=True)

    assert brief(found, "ConfigApplied", "Ready", "Stalled", "Reconciling") == [
        ("Unknown", "Paused"),
        ("False", "Paused"),
        ("True", "Paused"),
        ("False", "Stalled"),
    ]


ERRORS = st.sampled_from([None, INVALID, CONFLICT, FAILURE])
NUMBERS = st.integers(0, 3)
DEPLOYMENTS = st.none() | st.builds(
    deployment,
    NUMBERS,
    observedGeneration=NUMBERS,
    replicas=NUMBERS,
    updatedReplicas=NUMBERS,
    readyReplicas=NUMBERS,
)
PODS = st.lists(st.builds(pod, active=st.sampled_from([HASH, "older", None]), ready=st.booleans()), max_size=2)
OUTCOMES = st.builds(
    Outcome,
    DEPLOYMENTS,
    st.sampled_from([HASH, None]),
    st.just(samples.domain_report(*KEYS)),
    ERRORS,
    st.booleans(),
    pods=PODS.map(tuple),
    refusal=st.none() | st.just(Verdict("refused", "bad")),
    on_trial=st.booleans(),
)
TIMES = st.sampled_from([samples.NOW, samples.LATER])


@given(OUTCOMES)
def test_ready_is_true_if_and_only_if_its_three_parts_are(outcome: Outcome) -> None:
    found = compute_conditions(outcome)
    parts = [found[name].status == "True" for name in ("ConfigValid", "ConfigApplied", "Available")]

    assert (found["Ready"].status == "True") is all(parts)
    assert all(condition.reason and condition.message for condition in found.values())


@given(OUTCOMES, OUTCOMES)
def test_time_of_a_condition_moves_only_with_its_status(before: Outcome, after: Outcome) -> None:
    body = samples.body()
    first = compute_status(body, before, samples.NOW)
    second = compute_status({**body, "status": first}, after, samples.LATER)

    for old, new in zip(first["conditions"], second["conditions"], strict=True):
        moved = samples.NOW if new["status"] == old["status"] else samples.LATER
        assert (old["lastTransitionTime"], new["lastTransitionTime"]) == (samples.NOW, moved)


@given(OUTCOMES, TIMES)
def test_same_outcome_gives_the_same_status(outcome: Outcome, later: str) -> None:
    body = samples.body()
    first = compute_status(body, outcome, samples.NOW)

    assert compute_status({**body, "status": first}, outcome, later) == first


@given(OUTCOMES)
def test_every_generation_in_status_is_that_of_the_pass(outcome: Outcome) -> None:
    body = samples.body()
    old = compute_status(body, outcome, samples.NOW)
    status = compute_status({**body, "metadata": {**body["metadata"], "generation": 7}, "status": old}, outcome, "")

    assert {status["observedGeneration"], *(found["observedGeneration"] for found in status["conditions"])} == {7}


def test_domains_and_records_are_those_of_the_keys_that_sign() -> None:
    status = compute_status(samples.body(), Outcome(deployment(), HASH, samples.domain_report(*KEYS)), samples.NOW)

    assert status["domains"][0] == {
        "name": "example.com",
        "keys": [
            {
                "selector": "mf1",
                "algorithm": "RSA",
                "bits": 1024,
                "state": "Active",
                "secretName": "mx-dkim-a379a6f6ee-r0",
                "created": samples.NOW,
                "signingSince": samples.NOW,
            }
        ],
    }
    record = status["dnsRecords"][1]
    assert (record["domain"], record["purpose"], record["type"], record["state"]) == (
        "example.org",
        "DKIM",
        "TXT",
        "Unknown",
    )
    assert record["name"] == "mf1._domainkey.example.org"
    assert record["value"].startswith("v=DKIM1; k=rsa; p=MIG")
    assert record["zoneLine"] == f'{record["name"]}. 3600 IN TXT "{record["value"]}"'


@pytest.mark.parametrize("outcome", [{"error": INVALID}, {"error": CONFLICT}, {"error": FAILURE}, {"paused": True}])
def test_pass_that_did_not_succeed_keeps_domains_and_records(outcome: dict[str, Any]) -> None:
    """They are still what is to be published."""
    body = samples.body()
    before = compute_status(body, Outcome(deployment(), HASH, samples.domain_report(*KEYS)), samples.NOW)
    after = compute_status({**body, "status": before}, Outcome(deployment(), None, **outcome), samples.LATER)

    assert len(after["dnsRecords"]) == 2
    assert (after["domains"], after["dnsRecords"]) == (before["domains"], before["dnsRecords"])


def test_first_pass_that_fails_has_no_domains_and_no_records() -> None:
    status = compute_status(samples.body(), Outcome(None, None, error=INVALID), samples.NOW)

    assert (status["domains"], status["dnsRecords"]) == ([], [])


def test_domains_of_the_spec_and_pods_of_the_deployment_are_counted() -> None:
    domains = [{"name": "example.com"}, {"name": "example.org"}]
    live = deployment(replicas=3, readyReplicas=2)
    status = compute_status(samples.body(domains=domains), Outcome(live, HASH, reachable=True), samples.NOW)

    assert (status["domainCount"], status["replicas"], status["readyReplicas"]) == (2, 3, 2)
    assert status["endpoints"] == {"milter": "mx.mail.svc:11332", "controller": "mx-controller.mail.svc:11334"}


def test_the_first_note_is_the_reason_of_a_valid_configuration_and_all_are_said_once() -> None:
    notes = (Note("GreylistInactive", "No greylist."), Note("Other", "Something else."), Note("Other", "No greylist."))
    found = compute_conditions(Outcome(deployment(readyReplicas=1), HASH, notes=notes))

    message = "The spec can be rendered. No greylist. Something else."
    assert found["ConfigValid"] == Condition("True", "GreylistInactive", message)


def test_reference_that_cannot_be_used_is_no_valid_configuration() -> None:
    error = InvalidReference("spec.x", "there is no Secret own")
    found = compute_conditions(Outcome(deployment(readyReplicas=1), None, error=error))

    assert brief(found, "ConfigValid", "ConfigApplied", "Ready", "Stalled") == [
        ("False", "InvalidReference"),
        ("False", "InvalidReference"),
        ("False", "InvalidReference"),
        ("True", "InvalidReference"),
    ]
    assert found["ConfigValid"].message.startswith("spec.x: there is no Secret own. ")


def test_no_endpoint_is_named_without_a_service_of_ours() -> None:
    assert compute_status(samples.body(), Outcome(None, None, error=CONFLICT), samples.NOW)["endpoints"] == {}


def test_spec_without_domains_has_none() -> None:
    body = {**samples.body(), "spec": None}

    assert compute_status(body, Outcome(None, None, error=INVALID), samples.NOW)["domainCount"] == 0


def test_message_fits_a_condition() -> None:
    error = InvalidSpec("spec.metrics", "x" * 5000)
    status = compute_status(samples.body(), Outcome(None, None, error=error), samples.NOW)

    assert max(len(condition["message"]) for condition in status["conditions"]) == 1024


@given(OUTCOMES)
def test_no_private_key_is_in_status(outcome: Outcome) -> None:
    text = repr(compute_status(samples.body(), outcome, samples.NOW))

    assert "PRIVATE" not in text
    for key in KEYS:
        assert not any(line in text for line in key.private_pem.decode().splitlines()[1:-1])
