"""What a pass leaves behind: questions to name servers and to pods, whose answers wake the MailFilter again."""

from collections.abc import Callable, Mapping, Sequence

from mailfilter_operator.api import Spec
from mailfilter_operator.delivery import Pod
from mailfilter_operator.dkim.published import Look
from mailfilter_operator.dkim.record_schedule import Watched, find_due, note
from mailfilter_operator.inquiries import Inquiries, Keep, Key, Memory
from mailfilter_operator.pod_probes import PodProbe, find_due_probes, name_subject
from mailfilter_operator.signing import ProbeMail, ProbeResult

AskDns = Callable[[Sequence[str], Sequence[str]], Mapping[str, Look]]
"""What name servers say of TXT at names; the second are resolvers, none for the zones' own servers."""

_UNASKED = "it could not be asked for; the log of the operator says why"

ProbeSigning = Callable[[str, Sequence[ProbeMail]], tuple[ProbeResult, ...]]
"""How a pod (by IP) signs mails."""


def ask_for_records(
    inquiries: Inquiries,
    ask_dns: AskDns,
    key: Key,
    memory: Memory,
    watched: Sequence[Watched],
    spec: Spec,
    now: str,
) -> str | None:
    """Ask for the records that are due; the time at which the next one is."""
    due, following = find_due(watched, memory.records, memory.uid, now)
    if due:

        def question() -> Keep:
            return keep_looks(ask_dns(due, spec.dns.resolvers))

        def keep_looks(looks: Mapping[str, Look]) -> Keep:
            def keep(kept: Memory) -> None:
                for name, look in looks.items():
                    kept.records[name] = note(kept.records.get(name), look)

            return keep

        failure = {name: Look(name, now, (), 0, _UNASKED) for name in due}
        inquiries.ask(key, memory.uid, "DNS", question, keep_looks(failure))
    return following


def probe_pods(
    inquiries: Inquiries,
    probe: ProbeSigning,
    key: Key,
    memory: Memory,
    pods: Sequence[Pod],
    mails: Sequence[ProbeMail],
    config_hash: str,
    now: str,
) -> str | None:
    """Have the pods that serve the configuration sign probe mails where they have not; when the next is to be asked."""
    serving = {
        pod.manifest["metadata"]["uid"]: pod.ip
        for pod in pods
        if pod.ready and pod.ip and pod.report is not None and pod.report.active == config_hash
    }
    if not mails:
        return None
    due, following = find_due_probes(serving, memory.probes, name_subject(mails), now)
    for uid in due:
        _probe(inquiries, probe, key, memory, (uid, str(serving[uid])), mails, now)
    return following


def _probe(
    inquiries: Inquiries,
    probe: ProbeSigning,
    key: Key,
    memory: Memory,
    pod: tuple[str, str],
    mails: Sequence[ProbeMail],
    now: str,
) -> None:
    uid, ip = pod
    subject = name_subject(mails)

    def question() -> Keep:
        return keep_results(probe(ip, mails))

    def keep_results(results: tuple[ProbeResult, ...]) -> Keep:
        def keep(kept: Memory) -> None:
            before = kept.probes.get(uid)
            times = before.times + 1 if before and before.subject == subject else 1
            kept.probes[uid] = PodProbe(subject, now, times, results)

        return keep

    failure = tuple(ProbeResult(mail.sender, "", (), dict.fromkeys(mail.records, _UNASKED)) for mail in mails)
    inquiries.ask(key, memory.uid, f"signatures of the pod {ip}", question, keep_results(failure))
