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
from mailfilter_operator.api import Manifest, parse
from mailfilter_operator.apply import apply, prune, read_places
from mailfilter_operator.ask_pods import AskPods
from mailfilter_operator.build import build, build_names
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.deliver import Silence, ask, deliver, give_turns
from mailfilter_operator.delivery import Pod, Wish, choose_trial_pod, read_pods, seconds_to_next_look
from mailfilter_operator.dkim.lines import read_rules, read_wishes
from mailfilter_operator.dkim.record_schedule import find_sightings, judge
from mailfilter_operator.dkim.records import build_record_values
from mailfilter_operator.dkim.slots import KeyPlan, require_new_selectors
from mailfilter_operator.dkim.states import find_next_change
from mailfilter_operator.domain_status import (
    DomainReport,
    RecordReport,
    build_records,
    build_watched,
    read_recalled,
    recall_publication,
)
from mailfilter_operator.errors import ClusterError, InvalidSpec, MailFilterError
from mailfilter_operator.follow_up import AskDns, ProbeSigning, ask_for_records, probe_pods
from mailfilter_operator.inquiries import Inquiries, Memory
from mailfilter_operator.key_custody import KeyCustody
from mailfilter_operator.observe import observe, read_references
from mailfilter_operator.observed import Observed
from mailfilter_operator.passwords import draw_secrets, place_of_password, store_password
from mailfilter_operator.pod_probes import judge_pods
from mailfilter_operator.raw_plan import find_refusal, has_new_verdict, make_plan
from mailfilter_operator.raw_text import RawText, read_raw_text
from mailfilter_operator.reload_turns import find_reloads, seconds_to_next_turn
from mailfilter_operator.render import Configuration, render
from mailfilter_operator.signature_status import judge_signatures, seconds_to_next_change
from mailfilter_operator.signing import build_probe_mails
from mailfilter_operator.status import Outcome, compute_status
from mailfilter_operator.times import parse_span, seconds_between
from mailfilter_operator.validate import ValidMailFilter, validate

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
    ask_dns: AskDns
    probe_signing: ProbeSigning
    inquiries: Inquiries
    image: str
    signatures_url: str
    resync_seconds: float
    silences: dict[tuple[str, str], Silence] = field(default_factory=dict)
    """Of the pods of each MailFilter, by namespace and name."""


@dataclass
class _Pass:
    """What a pass has found out so far; status is made of it however the pass ends."""

    observed: Observed
    outcome: Outcome
    written: list[str] = field(default_factory=list)
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
        operator.inquiries.forget((namespace, name))
        operator.silences.pop((namespace, name), None)
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
    valid = validate(mailfilter, operator.image, references, operator.signatures_url)
    raw = read_raw_text(mailfilter.spec, references)
    run.outcome = replace(run.outcome, notes=valid.notes)
    if mailfilter.spec.paused:
        run.outcome = replace(run.outcome, paused=True)
        return
    # Before a key is made: it would outlive a MailFilter that cannot be brought about.
    of_password = place_of_password(valid)
    places = read_places(operator.cluster, run.observed, (*build_names(valid.name), *of_password))
    draft = draw_secrets(valid, references, run.observed, next((places[place] for place in of_password), None))
    memory = operator.inquiries.recall((valid.namespace, valid.name), valid.uid)
    custody = KeyCustody(
        operator.cluster, operator.key_threads, operator.now, mailfilter, run.observed, run.written, run.news
    )
    key_plan = _complete_keys(custody, valid, memory)
    run.written += store_password(operator.cluster, draft)
    pods = read_pods(run.observed.pods)

    def render_with(text: RawText) -> Configuration:
        return render(valid, key_plan.signing, draft.secrets, text)

    # Asked only if there is raw text: nothing else can be wrong.
    asked = pods if raw.is_empty else ask(operator.ask_pods, pods)
    plan = make_plan(run.observed, raw, render_with, asked, valid.image, operator.now_ms())
    desired = build(valid, plan, key_plan.keys)
    applied = apply(operator.cluster, places, desired)
    run.written += applied.written
    run.pruned = prune(operator.cluster, run.observed, desired)
    # After everything else is written: what reaches the kubelet later than this it misses for a minute.
    trial = plan.candidate.hash if plan.candidate else None
    wish = Wish(plan.configuration.hash, trial, choose_trial_pod(pods, valid.image))
    now_ms = operator.now_ms()
    pods, turn = _deliver(operator, valid, pods, wish, now_ms, run)
    looks = [turn, 0.0 if has_new_verdict(plan, pods, valid.image) else seconds_to_next_look(pods, wish, now_ms)]
    if all(pod.report is not None and pod.report.active == wish.serve for pod in pods):
        key_plan = custody.confirm_left(key_plan)
    domains, following = _follow_up(operator, valid, key_plan, memory, pods, wish.serve, run.observed)
    signatures = judge_signatures(pods, parse_span(valid.spec.antivirus.signatures.max_age), now := operator.now())
    looks += [following, seconds_to_next_change(signatures, now)]
    run.next_look = min((look for look in looks if look is not None), default=None)
    run.outcome = Outcome(
        applied.live["Deployment", valid.name], plan.configuration.hash, domains, reachable=True, notes=valid.notes,
        pods=pods, refusal=find_refusal(plan, pods), on_trial=plan.candidate is not None, image=valid.image,
        signatures=signatures,
    )  # fmt: skip


def _deliver(
    operator: Operator, valid: ValidMailFilter, pods: tuple[Pod, ...], wish: Wish, now_ms: int, run: _Pass
) -> tuple[tuple[Pod, ...], float | None]:
    """Tell the pods what to serve, and one that it may load new signatures; the pods now, and when to look for more."""
    silence = operator.silences.setdefault((valid.namespace, valid.name), {})
    pods, told = deliver(operator.cluster, operator.ask_pods, pods, wish, now_ms, silence)
    reloads = find_reloads(valid.spec.replicas, concurrent=valid.concurrent_reload)
    pods, turned = give_turns(operator.cluster, pods, reloads)
    run.written += told + turned
    return pods, seconds_to_next_turn(pods, reloads)


def _follow_up(
    operator: Operator,
    valid: ValidMailFilter,
    key_plan: KeyPlan,
    memory: Memory,
    pods: tuple[Pod, ...],
    config_hash: str,
    observed: Observed,
) -> tuple[DomainReport, float | None]:
    """What is known of keys, records and signatures, and when to look again; what is not known is asked for."""
    place, now = (valid.namespace, valid.name), operator.now()
    recalled = read_recalled(observed.mailfilter.get("status") or {})
    wishes, rules = read_wishes(valid.spec, valid.own_keys), read_rules(valid.spec)
    records = build_records(key_plan.keys, valid.spec)
    watched = build_watched(records, recalled)
    live = {pod.manifest["metadata"]["uid"] for pod in pods}
    operator.inquiries.keep_only(place, valid.uid, {entry.name for entry in watched}, live)
    mails = build_probe_mails(valid.spec.dkim.sign, key_plan.signing, build_record_values(key_plan.signing))
    times = [
        ask_for_records(operator.inquiries, operator.ask_dns, place, memory, watched, valid.spec, now),
        probe_pods(operator.inquiries, operator.probe_signing, place, memory, pods, mails, config_hash, now),
        find_next_change(key_plan.keys, wishes, rules, now),
    ]
    reports = tuple(
        RecordReport(
            record,
            key.state if key else "",
            recall_publication(record, judge(entry, memory.records), recalled),
            asked=entry.name in memory.records,
        )
        for entry, (key, record) in zip(watched, records, strict=True)
    )
    signing = judge_pods(pods, memory.probes, mails)
    report = DomainReport(key_plan.keys, reports, wishes, key_plan.waiting, signing)
    return report, min((seconds_between(now, time) for time in times if time is not None), default=None)


def _complete_keys(custody: KeyCustody, valid: ValidMailFilter, memory: Memory) -> KeyPlan:
    """Keys of all domains, moved on by what DNS said last."""
    wishes, rules = read_wishes(valid.spec, valid.own_keys), read_rules(valid.spec)
    keys = custody.read_keys(wishes)
    require_new_selectors(wishes, keys)
    return custody.complete(wishes, keys, find_sightings(keys, memory.records), rules)


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
    if outcome.signatures is not None:
        fresh, was_fresh = _condition(after, "SignaturesFresh"), _condition(before, "SignaturesFresh")
        found += events.signatures_changed(fresh, was_fresh, outcome.signatures.condition.message)
    return found


def _condition(status: Manifest, name: str) -> tuple[str, str]:
    """Status and reason of a condition."""
    conditions: list[Manifest] = status.get("conditions") or []
    found = next((condition for condition in conditions if condition["type"] == name), {})
    return found.get("status", "Unknown"), found.get("reason", "")
