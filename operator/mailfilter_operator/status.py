"""Status from what was observed, never from what was wished: conditions, endpoints, domains, records.

Every condition is always there; what this release does not observe is Unknown. True means good, except for
`Reconciling` and `Stalled`. The time is handed in, and moves only when a condition's status does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.delivery import Pod
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.dkim.records import build_dkim_record
from mailfilter_operator.errors import ClusterError, InvalidReference, InvalidSpec, MailFilterError
from mailfilter_operator.pod_reports import Verdict
from mailfilter_operator.validate import Note

FORBIDDEN = 403
"""HTTP status of a missing right: somebody has to grant it."""

REFUSED = "ConfigRefused"

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """Status, reason and sentence of one condition."""

    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended: with everything applied (then `config_hash` says which), paused, or with an error."""

    deployment: Manifest | None
    config_hash: str | None
    keys: tuple[DkimKey, ...] = ()
    error: MailFilterError | None = None
    paused: bool = False
    reachable: bool = False
    """The Service is there and ours."""
    notes: tuple[Note, ...] = ()
    """What is valid and does not do all that it seems to."""
    pods: tuple[Pod, ...] = ()
    """The filter pods with what they report."""
    refusal: Verdict | None = None
    """What rspamd in a pod said against the configuration of the spec."""
    on_trial: bool = False
    """A pod is to try the raw text of the spec; the last good one serves meanwhile."""

    @property
    def has_passing_error(self) -> bool:
        """An error that goes away by itself: the API server did not take a request that it will take later."""
        return isinstance(self.error, ClusterError) and self.error.status != FORBIDDEN


def compute_status(mailfilter: Manifest, outcome: Outcome, now: str) -> dict[str, Any]:
    """The whole status of a MailFilter after a pass; *now* is an RFC 3339 time.

    A pass that failed keeps the domains and records of the one before: they are still what is to be published.
    """
    previous = mailfilter.get("status") or {}
    meta, spec = mailfilter["metadata"], mailfilter.get("spec") or {}
    seen = [
        entry for entry in previous.get("conditions") or () if entry.get("observedGeneration") == meta["generation"]
    ]
    conditions = compute_conditions(outcome, {entry["type"]: entry for entry in seen})
    workload = (outcome.deployment or {}).get("status") or {}
    instance = (meta["name"], meta["namespace"])
    endpoints = {"milter": names.milter_endpoint(*instance), "controller": names.controller_endpoint(*instance)}
    status: dict[str, Any] = {
        "observedGeneration": meta["generation"],
        "conditions": _stamp(conditions, previous.get("conditions") or [], meta["generation"], now),
        "replicas": workload.get("replicas", 0),
        "readyReplicas": workload.get("readyReplicas", 0),
        "selector": ",".join(f"{label}={value}" for label, value in sorted(names.selector(meta["name"]).items())),
        "config": _describe_config(outcome, previous.get("config") or {}),
        "domainCount": len(spec.get("domains") or ()),
        "endpoints": endpoints if outcome.reachable else {},
        "domains": previous.get("domains") or [],
        "dnsRecords": previous.get("dnsRecords") or [],
    }
    if outcome.error is None and not outcome.paused:
        status["domains"] = [_describe_domain(key, meta["name"]) for key in outcome.keys]
        status["dnsRecords"] = [_describe_record(key) for key in outcome.keys]
    return status


def compute_conditions(outcome: Outcome, seen: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Condition]:
    """All conditions by type; *seen* are those that an earlier pass found for the same generation."""
    valid = _config_valid(outcome)
    applied = _config_applied(outcome, (seen or {}).get("ConfigApplied"))
    available = _available(outcome.deployment)
    return {
        "ConfigValid": valid,
        "ConfigApplied": applied,
        "Available": available,
        "Ready": _ready(valid, applied, available),
        "Signing": Condition(UNKNOWN, "NotObserved", "No probe mail has been signed and verified."),
        "DNSPublished": Condition(UNKNOWN, "NotObserved", "DNS has not been asked for the records."),
        "SignaturesFresh": Condition(UNKNOWN, "NotObserved", "The pods' signatures have not been asked for."),
        "Reconciling": _reconciling(outcome, applied),
        "Stalled": _stalled(outcome),
    }


def _config_valid(outcome: Outcome) -> Condition:
    if isinstance(outcome.error, InvalidSpec | InvalidReference):
        served = " The configuration applied before goes on serving." if outcome.deployment else ""
        return Condition(FALSE, outcome.error.reason, f"{outcome.error.message}.{served}")
    note = outcome.notes[0] if outcome.notes else Note("Valid", "The spec can be rendered.")
    return Condition(TRUE, note.reason, note.message)


def _config_applied(outcome: Outcome, seen: Mapping[str, Any] | None) -> Condition:
    deployment = outcome.deployment
    if outcome.has_passing_error and seen is not None:
        return Condition(seen["status"], seen["reason"], seen["message"])  # of this generation, as last observed
    if outcome.error is not None:
        return Condition(FALSE, outcome.error.reason, f"This generation was not applied: {outcome.error.message}")
    if outcome.paused:
        return Condition(UNKNOWN, "Paused", "spec.paused is set; nothing is applied.")
    if deployment is None:
        return Condition(FALSE, "NotDeployed", "The Deployment does not exist yet.")
    if outcome.refusal is not None:
        return Condition(FALSE, REFUSED, _describe_refusal(outcome.refusal))
    state = deployment.get("status") or {}
    if state.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return Condition(FALSE, "RollingOut", "The Deployment has not been looked at by its controller yet.")
    total, updated, ready = (state.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas"))
    if updated < deployment["spec"].get("replicas", 1) or total > updated:
        return Condition(FALSE, "RollingOut", f"{updated} of {total} pods are as the Deployment wants them.")
    if ready < 1:
        return Condition(FALSE, "NoReadyPod", "No pod is ready.")
    return _delivered(outcome)


def _delivered(outcome: Outcome) -> Condition:
    """By what the pods themselves report."""
    serving = [pod.report is not None and pod.report.active == outcome.config_hash for pod in outcome.pods if pod.ready]
    if not serving:
        return Condition(FALSE, "NoReadyPod", "No pod is ready.")
    if not all(serving):
        count = f"{sum(serving)} of {len(serving)} ready pods report the current configuration."
        return Condition(FALSE, "Delivering", count)
    if outcome.on_trial:
        return Condition(FALSE, "OnTrial", "A pod that serves tries the raw text; the last good one serves meanwhile.")
    return Condition(TRUE, "Applied", "Every ready pod reports the current configuration.")


def _describe_refusal(refusal: Verdict) -> str:
    return f"rspamd refused the configuration, the last good one serves where there is one: {refusal.error}"


def _describe_config(outcome: Outcome, previous: Mapping[str, Any]) -> dict[str, Any]:
    """Hash of what pods are told to serve, and what was refused; that of before where this pass did not get so far."""
    if outcome.config_hash is None:
        return dict(previous)
    refused = {"refusedHash": outcome.refusal.hash, "error": outcome.refusal.error} if outcome.refusal else {}
    return {"hash": outcome.config_hash, **refused}


def _available(deployment: Manifest | None) -> Condition:
    state = (deployment or {}).get("status") or {}
    ready = state.get("readyReplicas", 0)
    if ready:
        return Condition(TRUE, "PodsReady", f"{ready} pods scan mail.")
    return Condition(FALSE, "NoReadyPod", "No pod is ready; the MTA answers 451 to all mail.")


def _ready(*parts: Condition) -> Condition:
    bad = next((part for part in parts if part.status != TRUE), None)
    if bad is None:
        return Condition(TRUE, "Ready", "The filter scans mail with the current configuration.")
    return Condition(FALSE, bad.reason, bad.message)


def _reconciling(outcome: Outcome, applied: Condition) -> Condition:
    if outcome.error is not None and outcome.has_passing_error:
        return Condition(TRUE, outcome.error.reason, f"{outcome.error.message}. It is tried again.")
    if outcome.error is not None or outcome.paused:
        return Condition(FALSE, "Stalled", "Nothing is done until the reason of Stalled is gone.")
    if outcome.refusal is not None:
        return Condition(FALSE, "Stalled", "Nothing is done until the reason of Stalled is gone.")
    if applied.status != TRUE:
        return Condition(TRUE, applied.reason, applied.message)
    return Condition(FALSE, "Done", "There is nothing left to do for this generation.")


def _stalled(outcome: Outcome) -> Condition:
    if outcome.error is not None and not outcome.has_passing_error:
        return Condition(TRUE, outcome.error.reason, outcome.error.message)
    if outcome.paused:
        return Condition(TRUE, "Paused", "spec.paused is set; only status is written. Set it to false to go on.")
    if outcome.refusal is not None:
        return Condition(TRUE, REFUSED, f"{_describe_refusal(outcome.refusal)}. Correct it in the spec.")
    return Condition(FALSE, "Progressing", "Nothing is in the way.")


def _stamp(
    conditions: Mapping[str, Condition], previous: Iterable[Mapping[str, Any]], generation: int, now: str
) -> list[dict[str, Any]]:
    before = {condition["type"]: condition for condition in previous}
    stamped = []
    for name, condition in conditions.items():
        same = name in before and before[name]["status"] == condition.status
        stamped.append(
            {
                "type": name,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message[:1024],
                "observedGeneration": generation,
                "lastTransitionTime": before[name]["lastTransitionTime"] if same else now,
            }
        )
    return stamped


def _describe_domain(key: DkimKey, instance: str) -> dict[str, Any]:
    return {
        "name": key.domain,
        "keys": [
            {
                "selector": key.selector,
                "algorithm": key.algorithm,
                "bits": key.bits,
                "state": key.state,
                "secretName": names.dkim_secret(instance, key.domain, key.slot),
                "created": key.created,
                "signingSince": key.signing_since,
            }
        ],
    }


def _describe_record(key: DkimKey) -> dict[str, str]:
    record = build_dkim_record(key)
    return {
        "domain": record.domain,
        "purpose": record.purpose,
        "type": record.type,
        "name": record.name,
        "value": record.value,
        "zoneLine": record.zone_line,
        "state": "Unknown",
    }
