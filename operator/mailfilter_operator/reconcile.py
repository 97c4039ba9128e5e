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
from mailfilter_operator.dkim.keys import DkimKey, build_key_repairs, build_key_secret, parse_key_secret
from mailfilter_operator.dkim.slots import plan_keys
from mailfilter_operator.errors import ClusterError, InvalidSpec, MailFilterError
from mailfilter_operator.keygen import generate_keys
from mailfilter_operator.observe import observe, read_key_secrets, read_references
from mailfilter_operator.observed import Observed
from mailfilter_operator.passwords import draw_secrets, place_of_password, store_password
from mailfilter_operator.raw_text import read_raw_text
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
    observed = observe(operator.cluster, body)
    run = _Pass(observed, Outcome(observed.owned("Deployment"), None, reachable=observed.owned("Service") is not None))
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
    references = read_references(operator.cluster, mailfilter)
    valid = validate(mailfilter, operator.image, references)
    raw = read_raw_text(mailfilter.spec, references)
    run.outcome = replace(run.outcome, notes=valid.notes)
    if mailfilter.spec.paused:
        run.outcome = replace(run.outcome, paused=True)
        return
    # Before a key is made: it would outlive a MailFilter that cannot be brought about.
    of_password = place_of_password(valid)
    places = read_places(operator.cluster, run.observed, (*build_names(valid.name), *of_password))
    draft = draw_secrets(valid, references, run.observed, next((places[place] for place in of_password), None))
    keys = _complete_keys(operator, mailfilter, run)
    run.written += store_password(operator.cluster, draft)
    configuration = render(valid, keys, draft.secrets, raw)
    desired = build(valid, configuration, keys, run.observed.keyring)
    applied = apply(operator.cluster, places, desired)
    run.written += applied.written
    run.pruned = prune(operator.cluster, run.observed, desired)
    deployment = applied.live["Deployment", valid.name]
    run.outcome = Outcome(deployment, configuration.hash, keys, reachable=True, notes=valid.notes)


def _complete_keys(operator: Operator, mailfilter: MailFilter, run: _Pass) -> tuple[DkimKey, ...]:
    """Keys of all domains: those that exist, those that the keyring still has, and new ones."""
    in_keyring = {(key.domain, key.slot): key for key in parse_keyring(run.observed.keyring)}
    existing = _read_keys(operator, mailfilter, run, in_keyring)
    missing = plan_keys(mailfilter.spec, existing).missing
    restored = [
        in_keyring[place] for place in ((request.domain, request.slot) for request in missing) if place in in_keyring
    ]
    for key in restored:
        _store_key(operator, mailfilter, run, key, events.key_restored(key))
    wanted = tuple(request for request in missing if (request.domain, request.slot) not in in_keyring)
    generated = []
    for key in generate_keys(wanted, operator.key_threads, operator.now):
        _store_key(operator, mailfilter, run, key, _describe_new_key(key, run.observed))
        generated.append(key)
    return plan_keys(mailfilter.spec, (*existing, *restored, *generated)).signing


def _read_keys(
    operator: Operator, mailfilter: MailFilter, run: _Pass, in_keyring: dict[tuple[str, str], DkimKey]
) -> list[DkimKey]:
    """Keys that exist; what somebody changed around one (its data nobody can) is put back."""
    meta, slot, keys = mailfilter.metadata, names.FIRST_RSA_SLOT, []
    for domain, secret in read_key_secrets(operator.cluster, mailfilter).items():
        key = parse_key_secret(meta.name, slot, secret, in_keyring.get((domain, slot)))
        repairs = build_key_repairs(build_key_secret(meta.name, meta.namespace, key), secret)
        if repairs:
            operator.cluster.patch(secret, repairs)
            run.written += (f"Secret/{secret['metadata']['name']}",)
        keys.append(key)
    return keys


def _store_key(operator: Operator, mailfilter: MailFilter, run: _Pass, key: DkimKey, news: events.Event) -> None:
    secret = build_key_secret(mailfilter.metadata.name, mailfilter.metadata.namespace, key)
    operator.cluster.create(secret)  # never applied over: whatever has the name already is kept
    run.written += (f"Secret/{secret['metadata']['name']}",)
    run.news.append(news)


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
    stalled = _condition(after, "Stalled")
    if outcome.error is not None and stalled[0] == "True" and stalled != _condition(before, "Stalled"):
        found.append(events.stalled(outcome.error))
    if _condition(after, "Ready")[0] == "True" != _condition(before, "Ready")[0]:
        found.append(events.ready())
    return found


def _condition(status: Manifest, name: str) -> tuple[str, str]:
    """Status and reason of a condition."""
    conditions: list[Manifest] = status.get("conditions") or []
    found = next((condition for condition in conditions if condition["type"] == name), {})
    return found.get("status", "Unknown"), found.get("reason", "")
