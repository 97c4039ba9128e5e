"""Which pods are to sign probe mails, and what their signatures come to. Times are handed in."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailfilter_operator.delivery import Pod
from mailfilter_operator.signing import ProbeMail, ProbeResult, SigningVerdict, summarise
from mailfilter_operator.times import add_seconds

FIRST_WAIT = 5.0
LONGEST_WAIT = 600.0


NO_READY_POD = "No pod is ready, so that none can sign a probe mail."
NO_ANSWER = "No ready pod answers, so that none can be asked to sign a probe mail."


@dataclass(frozen=True, slots=True)
class PodProbe:
    """How a pod signed the mails called `subject`, at an RFC 3339 time, when asked for the `times`th time."""

    subject: str
    at: str
    times: int
    results: tuple[ProbeResult, ...]

    @property
    def is_good(self) -> bool:
        """Every signature that was expected verified."""
        return all(result.reply == "accept" and not result.failed for result in self.results)


def name_subject(mails: Sequence[ProbeMail]) -> str:
    """Name of what is to be shown: it changes with domains, keys and rules, and not with scores."""
    told = [(mail.sender, mail.user, mail.client, sorted(mail.records.items())) for mail in mails]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def find_due_probes(
    pods: Iterable[str], probes: Mapping[str, PodProbe], subject: str, now: str
) -> tuple[tuple[str, ...], str | None]:
    """UIDs of pods that have not shown that they sign it; when the next is to be asked again."""
    due, later = [], []
    for uid in pods:
        known = probes.get(uid)
        if known is None or known.subject != subject:
            due.append(uid)
        elif not known.is_good:
            time = add_seconds(known.at, min(FIRST_WAIT * 2 ** min(known.times - 1, 20), LONGEST_WAIT))
            if time <= now:
                due.append(uid)
            else:
                later.append(time)
    return tuple(due), min(later, default=None)


def judge_pods(
    pods: Iterable[Pod], probes: Mapping[str, PodProbe], mails: Sequence[ProbeMail]
) -> SigningVerdict | None:
    """What the ready pods have shown, which is nothing if none is there; None if not all of them have been asked."""
    subject = name_subject(mails)
    there = [pod for pod in pods if pod.ready]
    ready = {pod.manifest["metadata"]["uid"]: pod.name for pod in there}
    known = {uid: probe for uid, probe in probes.items() if probe.subject == subject and uid in ready}
    if not mails:
        return SigningVerdict(None, "spec.dkim.sign has no mail signed, so that no probe mail can be.")
    if all(pod.is_silent for pod in there):
        return SigningVerdict(None, NO_ANSWER if there else NO_READY_POD)
    if len(known) < len(ready):
        return None
    return summarise({ready[uid]: probe.results for uid, probe in known.items()}, mails)
