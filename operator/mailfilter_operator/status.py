"""Status from what was observed, never from what was wished: conditions, endpoints, domains, records.

Every condition is always there; what this release does not observe is Unknown. True means good, except for
`Reconciling` and `Stalled`. The time is handed in, and moves only when a condition's status does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.conditions import FALSE, TRUE, UNKNOWN, Condition
from mailfilter_operator.delivery import Pod
from mailfilter_operator.domain_status import (
    DomainReport,
    compute_dns_published,
    compute_signing,
    describe_domains,
    describe_records,
    is_recalled,
    summarise_records,
)
from mailfilter_operator.errors import ClusterError, InvalidReference, InvalidSpec, MailFilterError
from mailfilter_operator.pod_probes import NO_ANSWER, NO_READY_POD
from mailfilter_operator.pod_reports import Verdict
from mailfilter_operator.signature_status import SignatureVerdict
from mailfilter_operator.validate import Note

FORBIDDEN = 403
"""HTTP status of a missing right: somebody has to grant it."""

REFUSED = "ConfigRefused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended: with everything applied (then `config_hash` says which), paused, or with an error."""

    deployment: Manifest | None
    config_hash: str | None
    domains: DomainReport | None = None
    """None: the pass did not get so far."""
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

    image: str = ""
    """The filter image."""
    signatures: SignatureVerdict | None = None
    """None: not all ready pods have been asked."""

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
    domains = describe_domains(outcome.domains, meta["name"]) if outcome.domains else previous.get("domains") or []
    same_records = outcome.domains is not None and is_recalled(outcome.domains, previous)
    conditions = compute_conditions(
        outcome,
        {entry["type"]: entry for entry in seen},
        same_keys=domains == previous.get("domains"),
        same_hash=(previous.get("config") or {}).get("hash") == outcome.config_hash,
        same_records=same_records,
    )
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
        "domains": domains,
        "dnsRecords": previous.get("dnsRecords") or [],
        "dnsSummary": previous.get("dnsSummary", "none"),
    }
    antivirus = outcome.signatures.antivirus if outcome.signatures else previous.get("antivirus")
    if antivirus:
        status["antivirus"] = dict(antivirus)
    if outcome.domains is not None:
        status["dnsRecords"] = describe_records(outcome.domains)
        if not same_records:
            status["dnsSummary"] = summarise_records(outcome.domains)
    return status


def compute_conditions(
    outcome: Outcome,
    seen: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    same_keys: bool = False,
    same_hash: bool = False,
    same_records: bool = False,
) -> dict[str, Condition]:
    """All conditions by type; *seen* are those that an earlier pass found for the same generation.

    *same_keys* says whether the keys and their states are those of that pass, *same_hash* whether the configuration
    is, *same_records* whether the DKIM records are, and nothing was asked of them since the operator started.
    """
    valid = _config_valid(outcome)
    applied = _config_applied(outcome, (seen or {}).get("ConfigApplied"), same_hash=same_hash)
    available = _available(outcome.deployment)
    return {
        "ConfigValid": valid,
        "ConfigApplied": applied,
        "Available": available,
        "Ready": _ready(valid, applied, available),
        "Signing": _signing(outcome, (seen or {}).get("Signing") if same_keys else None),
        "DNSPublished": _dns_published(outcome, (seen or {}).get("DNSPublished"), same_records=same_records),
        "SignaturesFresh": outcome.signatures.condition
        if outcome.signatures
        else _as_seen((seen or {}).get("SignaturesFresh"), "The pods' signatures have not been asked for."),
        "Reconciling": _reconciling(outcome, applied),
        "Stalled": _stalled(outcome),
    }


def _config_valid(outcome: Outcome) -> Condition:
    if isinstance(outcome.error, InvalidSpec | InvalidReference):
        served = " The configuration applied before goes on serving." if outcome.deployment else ""
        return Condition(FALSE, outcome.error.reason, f"{outcome.error.message}.{served}")
    said = dict.fromkeys(note.message for note in outcome.notes)
    return Condition(
        TRUE, outcome.notes[0].reason if outcome.notes else "Valid", " ".join(["The spec can be rendered.", *said])
    )


def _config_applied(outcome: Outcome, seen: Mapping[str, Any] | None, *, same_hash: bool) -> Condition:
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
    return _delivered(outcome, is_known=same_hash and seen is not None and seen["status"] == TRUE)


def _delivered(outcome: Outcome, *, is_known: bool) -> Condition:
    """By what the pods themselves report; *is_known*: when they were asked last, all reported this configuration."""
    pods = [pod for pod in outcome.pods if pod.ready]
    if not pods:
        return Condition(FALSE, "NoReadyPod", "No pod is ready.")
    silent = sum(pod.is_silent for pod in pods)
    if silent:
        count = f"{silent} of {len(pods)} ready pods do not answer on port {names.REPORT_PORT}."
        return Condition(FALSE, "NotAnswering", f"{count} Does a NetworkPolicy keep the operator from it?")
    reports = [pod.report for pod in pods if pod.report is not None]
    serving = sum(report.active == outcome.config_hash for report in reports)
    if serving < len(reports) or (len(reports) < len(pods) and not is_known):
        count = f"{serving} of {len(pods)} ready pods report the current configuration."
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
    if outcome.refusal is None:
        return {"hash": outcome.config_hash}
    refused = {"refusedHash": outcome.refusal.hash, "refusedImage": outcome.image, "error": outcome.refusal.error}
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


def _dns_published(outcome: Outcome, seen: Mapping[str, Any] | None, *, same_records: bool) -> Condition:
    if outcome.domains is None:
        return _as_seen(seen)
    found = compute_dns_published(outcome.domains)
    # After a restart it is not known any more who kept silent, why nothing is known, and whether a record is there
    # that has to stay; what was said of that stays until DNS is asked.
    holds = same_records and seen is not None and found.status in (UNKNOWN, seen["status"])
    return _as_seen(seen) if holds else found


def _signing(outcome: Outcome, seen: Mapping[str, Any] | None) -> Condition:
    """As it was seen, until pods have been asked: after a restart, or of a new pod beside others."""
    no_pod_then = seen is not None and seen["message"].startswith((NO_READY_POD, NO_ANSWER))
    if outcome.domains is None or (outcome.domains.signing is None and seen is not None and not no_pod_then):
        return _as_seen(seen)
    return compute_signing(outcome.domains)


def _as_seen(
    seen: Mapping[str, Any] | None, otherwise: str = "The keys of this generation have not been looked at."
) -> Condition:
    """As it was last observed for this generation."""
    if seen is not None:
        return Condition(seen["status"], seen["reason"], seen["message"])
    return Condition(UNKNOWN, "NotObserved", otherwise)
