"""The pass: observe, validate, build, apply, prune, status. The same whatever woke it, and safe to end anywhere.

Nothing depends on which event came; what was half done is seen by the next pass. Key generation is here, between
reading and building, because a key is entropy: it is stored before anything refers to it.
"""

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from mailfilter_operator import events, names
from mailfilter_operator.api import MailFilter, Manifest, parse
from mailfilter_operator.apply import apply, prune, read_places
from mailfilter_operator.build import build, build_names
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.dkim.keyring import parse_keyring
from mailfilter_operator.dkim.keys import DkimKey, build_key_secret
from mailfilter_operator.dkim.slots import KeyRequest, plan_keys
from mailfilter_operator.errors import ClusterError, InvalidSpec, MailFilterError
from mailfilter_operator.keygen import generate_keys
from mailfilter_operator.observe import observe, read_keys
from mailfilter_operator.observed import Observed
from mailfilter_operator.render import render
from mailfilter_operator.status import Outcome, compute_status
from mailfilter_operator.validate import validate

_CONFLICT_RETRY_SECONDS = 15.0
"""Whoever removes a conflicting object causes no event that we watch."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operator:
    """What a pass needs of the outside: the cluster, a clock (RFC 3339), threads for keys, settings."""

    cluster: Cluster
    now: Callable[[], str]
    key_threads: Executor
    image: str
    resync_seconds: float


@dataclass
class _Pass:
    """What a pass has found out so far; status is made of it however the pass ends."""

    observed: Observed
    outcome: Outcome
    written: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()
    news: list[events.Event] = field(default_factory=list)


def reconcile(operator: Operator, namespace: str, name: str) -> float | None:
    """Bring one MailFilter about; seconds until it should be looked at again, None if it is gone.

    Raises ClusterError, to be tried again with back-off.
    """
    body = operator.cluster.get(names.KIND, namespace, name)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return None  # the garbage collector deletes what it owns
    run = _Pass(observe(operator.cluster, body), Outcome(None, None))
    run.outcome = Outcome(run.observed.deployment, None)
    try:
        _bring_about(operator, body, run)
    except MailFilterError as error:
        run.outcome = replace(run.outcome, error=error)
    _write_status(operator, body, run)
    failure = run.outcome.error
    log.info(
        "%s/%s generation=%s hash=%s written=%s pruned=%s error=%s",
        namespace, name, body["metadata"]["generation"], (run.outcome.config_hash or "")[:12],
        ",".join(run.written) or "-", ",".join(run.pruned) or "-", failure.message if failure else "-",
    )  # fmt: skip
    if isinstance(failure, ClusterError):
        raise failure
    if failure is not None and not isinstance(failure, InvalidSpec):
        return _CONFLICT_RETRY_SECONDS
    return spread(operator.resync_seconds, body["metadata"]["uid"])


def spread(seconds: float, uid: str) -> float:
    """Between three quarters and all of *seconds*, by hash: a fleet is not looked at all at once."""
    share = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") / 2**32
    return seconds * (0.75 + 0.25 * share)


def _bring_about(operator: Operator, body: Manifest, run: _Pass) -> None:
    mailfilter = parse(body)
    valid = validate(mailfilter, operator.image)
    if mailfilter.spec.paused:
        run.outcome = replace(run.outcome, paused=True)
        return
    # Before a key is made: it would outlive a MailFilter that cannot be brought about.
    places = read_places(operator.cluster, run.observed, build_names(valid.name))
    keys = _complete_keys(operator, mailfilter, run)
    configuration = render(valid, keys)
    run.outcome = replace(run.outcome, config_hash=configuration.hash, keys=keys)
    desired = build(valid, configuration, keys, run.observed.keyring)
    applied = apply(operator.cluster, places, desired)
    run.written += applied.written
    run.outcome = replace(run.outcome, deployment=applied.live["Deployment", valid.name])
    run.pruned = prune(operator.cluster, run.observed, desired)


def _complete_keys(operator: Operator, mailfilter: MailFilter, run: _Pass) -> tuple[DkimKey, ...]:
    """Keys of all domains: those that exist, those that the keyring still has, and new ones."""
    existing = read_keys(operator.cluster, mailfilter)
    plan = plan_keys(mailfilter.spec, existing)
    in_keyring = {(key.domain, key.slot): key for key in parse_keyring(run.observed.keyring)}
    restored = [in_keyring[request.domain, request.slot] for request in plan.missing if _is_in(request, in_keyring)]
    wanted = tuple(request for request in plan.missing if not _is_in(request, in_keyring))
    generated = generate_keys(wanted, operator.key_threads, operator.now)
    run.news += [events.key_restored(key) for key in restored]
    run.news += [_describe_new_key(key, run.observed) for key in generated]
    for key in (*restored, *generated):
        secret = build_key_secret(mailfilter.metadata.name, mailfilter.metadata.namespace, key)
        operator.cluster.create(secret)  # never applied over: whatever has the name already is kept
        run.written += (f"Secret/{names.dkim_secret(mailfilter.metadata.name, key.domain, key.slot)}",)
    return plan_keys(mailfilter.spec, (*existing, *restored, *generated)).signing


def _is_in(request: KeyRequest, keyring: dict[tuple[str, str], DkimKey]) -> bool:
    return (request.domain, request.slot) in keyring


def _describe_new_key(key: DkimKey, observed: Observed) -> events.Event:
    domains = (observed.mailfilter.get("status") or {}).get("domains") or ()
    old = next((domain for domain in domains if domain["name"] == key.domain and domain.get("keys")), None)
    return events.key_replaced(key, old["keys"][0]["selector"]) if old else events.key_created(key)


def _write_status(operator: Operator, body: Manifest, run: _Pass) -> None:
    now = operator.now()
    before = body.get("status") or {}
    status = compute_status(body, run.outcome, now)
    if status != before:
        meta = body["metadata"]
        operator.cluster.apply_status(
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                # With the UID: a MailFilter made anew meanwhile must not get what was observed for the old one.
                "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
                "status": status,
            }
        )
        run.news += _describe_transitions(before, status, run.outcome)
    for event in run.news:
        events.post(operator.cluster, body, event, now)


def _describe_transitions(before: Manifest, after: Manifest, outcome: Outcome) -> list[events.Event]:
    found: list[events.Event] = []
    if outcome.error is not None and _condition(before, "Stalled") != _condition(after, "Stalled"):
        found.append(events.stalled(outcome.error))
    if _condition(after, "Ready")[0] == "True" != _condition(before, "Ready")[0]:
        found.append(events.ready())
    return found


def _condition(status: Manifest, name: str) -> tuple[str, str]:
    """Status and reason of a condition."""
    conditions: list[Manifest] = status.get("conditions") or []
    found = next((condition for condition in conditions if condition["type"] == name), {})
    return found.get("status", "Unknown"), found.get("reason", "")
