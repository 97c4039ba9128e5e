"""What status says of signatures: `SignaturesFresh` and `status.antivirus`, from what pods report.

Those count that are ready, and those that are not while their clamd could not load what is there.

Nothing that moves with each check may stand in status, or a filter at rest would be written to for ever. So a message
names times only that stand for hours: when a database was built, and the end of a cool-down of three hours or more. Age
passes `maxAge` without an event; `next_change` says when to look again.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailfilter_operator.conditions import FALSE, TRUE, UNKNOWN, Condition
from mailfilter_operator.delivery import Pod
from mailfilter_operator.pod_reports import PodReport
from mailfilter_operator.signature_reports import OFFICIAL, SignatureReport, SignatureSource
from mailfilter_operator.times import add_seconds, parse_time, seconds_between

_LONG_COOL_DOWN = 3 * 3600
"""Seconds. The end of a shorter one moves with nearly every look, or with every check (two hours)."""

_WHILE_NONE_IS_READY = 30
"""Seconds."""

_MOST_NAMED = 3

_TIME_TAKEN = re.compile(r" after [0-9.]+ ?(ms|milliseconds|s|seconds)\b")
"""Curl says how long it waited, each time something else."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one source in one pod; a `severe` one means that signatures are not what they should be."""

    reason: str
    message: str
    severe: bool = True


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """What the pods come to at one time."""

    condition: Condition
    antivirus: Mapping[str, Any]
    """`status.antivirus`; empty where nothing is known."""
    next_change: str | None
    """When age alone makes another verdict of it."""


_WAITING = "WaitingForTurn"

_ORDER = ("DatabaseRefused", "NotLoaded", "TooOld", "NotFetched", "CoolDown", "CheckFailing", _WAITING)
"""Which reason the condition has if there are several: what somebody has to mend before what may mend itself.

Waiting comes last also because it comes and goes with each update: an Event tells each time that one of the two before
it becomes the reason.
"""


def judge_signatures(pods: Iterable[Pod], max_age: int, now: str) -> SignatureVerdict | None:
    """The verdict, *max_age* in seconds; None if not all ready pods have answered, or one just missed an answer."""
    pods = tuple(pods)
    ready = [pod for pod in pods if pod.ready]
    if not ready:
        return _judge_unready(pods, max_age, now)
    told = {pod.name: pod.report for pod in ready if pod.report is not None}
    # What an unready one had to say is not mended by one answer that did not come.
    if len(told) < len(ready) or any(pod.ip and pod.report is None and not pod.is_silent for pod in pods):
        return None
    broken = {pod.name: pod.report for pod in pods if not pod.ready and pod.report and pod.report.signatures.not_loaded}
    faults = {name: tuple(_find_faults(report, max_age, now)) for name, report in (told | broken).items()}
    reports = [report.signatures for report in told.values()]
    ages = [time for report in reports for source in report.sources or () if (time := _age_from(source))]
    limits = [limit for time in ages if (limit := add_seconds(time, max_age + 1)) > now]
    return SignatureVerdict(_judge(reports, faults), _describe(reports), min(limits, default=None))


def _judge_unready(pods: Iterable[Pod], max_age: int, now: str) -> SignatureVerdict:
    """What is known while no pod is ready: for want of signatures, if they say so. No event tells when they do."""
    reports = {pod.name: pod.report for pod in pods if pod.report is not None}
    faults = {name: tuple(_find_faults(report, max_age, now)) for name, report in reports.items()}
    severe = [fault for of_pod in faults.values() for fault in of_pod if fault.severe]
    condition = _tell(severe, faults) if severe else Condition(UNKNOWN, "NotObserved", "No pod is ready.")
    return SignatureVerdict(condition, {}, add_seconds(now, _WHILE_NONE_IS_READY) if reports else None)


def _judge(ready: Sequence[SignatureReport], faults: Mapping[str, tuple[Fault, ...]]) -> Condition:
    silent = sum(not report.sources for report in ready)
    found = [fault for of_pod in faults.values() for fault in of_pod]
    severe = [fault for fault in found if fault.severe]
    if severe or (not silent and any(fault.reason != _WAITING for fault in found)):
        return _tell(severe or found, faults)
    if silent:
        return Condition(
            UNKNOWN, "NotObserved", f"{silent} of {len(ready)} ready pods do not tell of their signatures yet."
        )
    unknown = sorted({source.name for report in ready for source in _unasked(report)})
    if unknown:
        return Condition(UNKNOWN, "NotObserved", f"Nothing is known of {_list(unknown)} yet.")
    if found:
        return _tell(found, faults)
    return Condition(TRUE, "Fresh", "Every ready pod has signatures younger than spec.antivirus.signatures.maxAge.")


def _tell(found: Iterable[Fault], faults: Mapping[str, tuple[Fault, ...]]) -> Condition:
    """One condition of several faults: each once, with the number of pods if not all of them have it."""
    ordered = sorted(set(found), key=lambda fault: (_ORDER.index(fault.reason), fault.message))
    sentences = []
    for fault in ordered[:_MOST_NAMED]:
        count = sum(fault in of_pod for of_pod in faults.values())
        where = "" if count == len(faults) else f" (in {count} of {len(faults)} pods)"
        sentences.append(f"{fault.message}{where}.")
    if len(ordered) > _MOST_NAMED:
        sentences.append(f"There is more: {len(ordered) - _MOST_NAMED}.")
    return Condition(FALSE if ordered[0].severe else TRUE, ordered[0].reason, " ".join(sentences))


def _find_faults(report: PodReport, max_age: int, now: str) -> Iterator[Fault]:
    signatures = report.signatures
    if signatures.not_loaded:
        yield Fault(
            "NotLoaded",
            "clamd did not load what is there, and goes on with what it had, or with memory for one set of signatures "
            f"only scans nothing until others come: {signatures.not_loaded}",
        )
    for source in signatures.sources or ():
        yield from _find_faults_of(source, max_age, now)
    if report.reload.waiting is not None or report.reload.loading is not None:
        yield Fault(
            _WAITING,
            "New signatures are there, and clamd scans with those before until it has loaded them, one pod at a time",
            severe=False,
        )


def _find_faults_of(source: SignatureSource, max_age: int, now: str) -> Iterator[Fault]:
    if source.refused:
        yield Fault(
            "DatabaseRefused",
            f"{source.name} is kept from clamd, which goes on with the last good one if there is one: {source.refused}",
        )
    since = _age_from(source)
    failing = _describe_failure(source)
    if since is None:
        if failing and not source.refused:
            yield Fault("NotFetched", f"{source.name} was never fetched: {failing}")
        return
    if seconds_between(since, now) > max_age:
        what = f"was built at {since}" if source.name == OFFICIAL else f"was last asked for successfully at {since}"
        yield Fault("TooOld", f"{source.name} {what}, longer ago than maxAge{f': {failing}' if failing else ''}")
    elif failing:
        reason = "CoolDown" if source.retry_after else "CheckFailing"
        yield Fault(reason, f"{source.name} is young enough, but cannot be asked for newer: {failing}", severe=False)


def _describe_failure(source: SignatureSource) -> str:
    """Why it is not fetched now, and when it is tried again; empty if the last check was good."""
    if not source.error:
        return ""
    retry, failure = source.retry_after, source.last_failure
    long = retry and failure and seconds_between(failure, retry) >= _LONG_COOL_DOWN
    when = f"at {retry}" if long else "within the hour, or at the next check"
    return f"{_TIME_TAKEN.sub('', source.error)}; it is asked again {when}"


def _unasked(report: SignatureReport) -> Iterator[SignatureSource]:
    return (source for source in report.sources or () if _age_from(source) is None)


def _age_from(source: SignatureSource) -> str | None:
    """What its age counts from: the build, or of what is not signed the last successful check."""
    return source.built if source.name == OFFICIAL else source.last_success


def _describe(reports: Iterable[SignatureReport]) -> dict[str, Any]:
    """`status.antivirus`: of the pod with the oldest signatures, so that it claims no more than what all have."""
    oldest = min(reports, key=lambda report: (report.time or "", report.version or "", report.engine or ""))
    told = {"engine": oldest.engine, "signatureVersion": oldest.version, "signatureTime": oldest.time}
    return {name: text for name, text in told.items() if text is not None}


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def seconds_to_next_change(verdict: SignatureVerdict | None, now: str) -> float | None:
    """Seconds until age alone makes another verdict; None if it never does."""
    if verdict is None or verdict.next_change is None:
        return None
    return max(0.0, (parse_time(verdict.next_change) - parse_time(now)).total_seconds())
