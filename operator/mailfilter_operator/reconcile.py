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
from mailfilter_operator.ask_pods import AskPods
from mailfilter_operator.build import build, build_names
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.deliver import ask, deliver
from mailfilter_operator.delivery import Pod, Wish, choose_trial_pod, read_pods, seconds_to_next_look
from mailfilter_operator.dkim.keyring import parse_keyring
from mailfilter_operator.dkim.keys import DkimKey, build_key_repairs, build_key_secret, parse_key_secret
from mailfilter_operator.dkim.slots import plan_keys
from mailfilter_operator.errors import ClusterError, InvalidSpec, MailFilterError
from mailfilter_operator.keygen import generate_keys
from mailfilter_operator.observe import observe, read_key_secrets, read_references
from mailfilter_operator.observed import Observed
from mailfilter_operator.passwords import draw_secrets, place_of_password, store_password
from mailfilter_operator.plan import Plan
from mailfilter_operator.pod_reports import Verdict
from mailfilter_operator.raw_text import RawText, read_raw_text, shorten_error
from mailfilter_operator.raw_trial import choose_raw_text, find_verdict
from mailfilter_operator.render import Configuration, render
from mailfilter_operator.serving import read_serving
from mailfilter_operator.status import Outcome, compute_status
from mailfilter_operator.validate import validate

_CONFLICT_RETRY_SECONDS = 15.0
"""Whoever removes a conflicting object causes no event that we watch."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operator:
    """What a pass needs of the outside: the cluster, the pods, clocks, threads for keys, settings."""

    cluster: Cluster
    ask_pods: AskPods
    now: Callable[[], str]
    """RFC 3339."""
    now_ms: Callable[[], int]
    """Milliseconds since 1970."""
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
    next_look: float | None = None
    """Seconds after which the pods are to be asked again."""


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
    longest = spread(operator.resync_seconds, body["metadata"]["uid"])
    return longest if run.next_look is None else min(longest, run.next_look)


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
    pods = read_pods(run.observed.pods)

    def render_with(text: RawText) -> Configuration:
        return render(valid, keys, draft.secrets, text)

    plan = _plan(operator, run.observed, raw, render_with, pods)
    desired = build(valid, plan, keys, run.observed.keyring)
    applied = apply(operator.cluster, places, desired)
    run.written += applied.written
    run.pruned = prune(operator.cluster, run.observed, desired)
    # After everything else is written: what reaches the kubelet later than this it misses for a minute.
    trial = plan.candidate.hash if plan.candidate else None
    wish = Wish(plan.configuration.hash, trial, choose_trial_pod(pods))
    now_ms = operator.now_ms()
    pods, told = deliver(operator.cluster, operator.ask_pods, pods, wish, now_ms)
    run.written += told
    run.next_look = 0.0 if _has_new_verdict(plan, pods) else seconds_to_next_look(pods, wish, now_ms)
    deployment = applied.live["Deployment", valid.name]
    run.outcome = Outcome(
        deployment, plan.configuration.hash, keys, reachable=True, notes=valid.notes, pods=pods,
        refusal=plan.refusal or _find_refusal(pods, plan.configuration.hash, raw), on_trial=plan.candidate is not None,
    )  # fmt: skip


def _plan(
    operator: Operator,
    observed: Observed,
    raw: RawText,
    render_with: Callable[[RawText], Configuration],
    pods: tuple[Pod, ...],
) -> Plan:
    """Which raw text serves, and which is tried. Pods are asked only if there is any: nothing else can be wrong."""
    wanted = render_with(raw)
    if raw.is_empty:
        return Plan(wanted)
    pods = ask(operator.ask_pods, pods)
    known = (observed.mailfilter.get("status") or {}).get("config") or {}
    remembered = Verdict(known["refusedHash"], known.get("error")) if known.get("refusedHash") else None
    choice = choose_raw_text(
        raw,
        read_serving(observed, pods),
        wanted.hash,
        harmless=raw.is_empty,
        verdict=find_verdict(pods, wanted.hash, remembered),
    )
    refusal = choice.refusal and Verdict(choice.refusal.hash, shorten_error(choice.refusal.error or "", raw))
    serving = wanted if choice.serve == raw else render_with(choice.serve)
    return Plan(serving, choice.unproven, wanted if choice.pending else None, refusal)


def _has_new_verdict(plan: Plan, pods: tuple[Pod, ...]) -> bool:
    """Tell whether a pod said something of raw text after it was asked for this plan: the next pass acts on it."""
    serves = any(pod.report and pod.report.active == plan.configuration.hash for pod in pods)
    tried = plan.candidate is not None and find_verdict(pods, plan.candidate.hash, None) is not None
    return tried or (plan.unproven and serves)


def _find_refusal(pods: tuple[Pod, ...], config_hash: str, raw: RawText) -> Verdict | None:
    """What a pod said that was to start with the configuration, or to change to it."""
    said = [pod.report.refused for pod in pods if pod.report and pod.report.refused]
    found = next((verdict for verdict in said if verdict.hash == config_hash), None)
    return found and Verdict(found.hash, shorten_error(found.error or "", raw))


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
    if outcome.refusal is not None and stalled != _condition(before, "Stalled"):
        found.append(events.config_refused(outcome.refusal.error or ""))
    if _condition(after, "Ready")[0] == "True" != _condition(before, "Ready")[0]:
        found.append(events.ready())
    return found


def _condition(status: Manifest, name: str) -> tuple[str, str]:
    """Status and reason of a condition."""
    conditions: list[Manifest] = status.get("conditions") or []
    found = next((condition for condition in conditions if condition["type"] == name), {})
    return found.get("status", "Unknown"), found.get("reason", "")
