"""Changes of a running MailFilter whose way into the pods is timed: a score, and one more domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.bench import live
from tests.bench.figures import Figure, describe_seconds
from tests.bench.live import Mail, Trial, Wanted
from tests.e2e import changes
from tests.image.messages import DATE, message
from tests.image.milter import Verdict
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

SYMBOL = "MISSING_DATE"
# Of the score from which mail is marked, what else is missing in it comes to two thirds.
UNDATED = message(b"hello", sender="dave@example.net", extra=b"MIME-Version: 1.0\r\n")
UNDATED = UNDATED.replace(f"Date: {DATE}\r\n".encode(), b"")
MARK = "X-Spam"
"""The header that rspamd adds from `actions.addHeader` on, which is 6 by default."""
DOMAIN_TRIALS = 10
REPLICAS = 2


def measure_scores(system: MailSystem, trials: int) -> list[Figure]:
    """Change the score of one symbol *trials* times, each time so that a mail gets the mark or loses it."""

    def attempt(index: int) -> Trial:
        marked = index % 2 == 0
        score = f"{7 if marked else 0}.{index // 2 % 100:02d}"
        groups = [{"name": "bench", "symbols": [{"name": SYMBOL, "score": score}]}]

        def wanted(verdict: Verdict) -> bool:
            return marked == any(name == MARK for name, _ in verdict.headers)

        return _attempt(system, (UNDATED, ""), wanted, {"metrics": {"groups": groups}})

    found = _repeat(system, attempt, trials, restored={"metrics": None})
    return _summarize("a score changed with kubectl until every pod scans with it", "p99 <= 2 s", found)


def measure_domains(system: MailSystem, trials: int = DOMAIN_TRIALS) -> list[Figure]:
    """Add *trials* domains one by one, each until every pod signs a mail of it."""
    before: list[dict[str, Any]] = system.mailfilter()["spec"]["domains"]
    added: list[dict[str, Any]] = []

    def attempt(index: int) -> Trial:
        domain = f"bench{index}.example.com"
        added.append({"name": domain})

        def wanted(verdict: Verdict) -> bool:
            return any(name == "DKIM-Signature" and f"d={domain};" in value for name, value in verdict.headers)

        user = f"me@{domain}"
        spec = {"dkim": {"activation": "AtOnce"}, "domains": [*before, *added]}
        return _attempt(system, (message(b"hello", sender=user), user), wanted, spec)

    found = _repeat(system, attempt, trials, restored={"domains": before})
    return _summarize("a domain added with kubectl until every pod signs its mail", "p99 <= 3 s", found)


def _attempt(system: MailSystem, mail: Mail, wanted: Wanted, spec: dict[str, Any]) -> Trial:
    """Time one change, and go on when the MailFilter is at rest again: single changes are what is measured."""
    trial = live.measure(system, mail, wanted, lambda: changes.patch_spec(system, spec))
    changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
    return trial


Found = tuple[Sequence[Trial], int, int]
"""The trials, the pods that served before them, and how often containers were restarted meanwhile."""


def _repeat(system: MailSystem, attempt: Callable[[int], Trial], trials: int, restored: dict[str, Any]) -> Found:
    """Make the attempts with REPLICAS pods, beginning and ending with what is *restored*."""
    changes.patch_spec(system, {"replicas": REPLICAS, **restored})
    eventually(
        lambda: [live.is_ready(pod) for pod in system.filter_pods()] == [True] * REPLICAS,
        within_seconds=180,
        what=f"{REPLICAS} ready pods",
    )
    changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
    pods, restarts = len(system.filter_pods()), _restarts(system)
    try:
        return [attempt(index) for index in range(trials)], pods, _restarts(system) - restarts
    finally:
        changes.patch_spec(system, restored)
        changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])


def _restarts(system: MailSystem) -> int:
    """Count the restarts of all containers of the filter's pods."""
    kinds = ("containerStatuses", "initContainerStatuses")
    pods = system.filter_pods()
    return sum(status["restartCount"] for pod in pods for kind in kinds for status in pod["status"].get(kind, []))


def _summarize(name: str, target: str, found: Found) -> list[Figure]:
    trials, pods, restarts = found
    mails, not_accepted = sum(trial.answers for trial in trials), sum(trial.not_accepted for trial in trials)
    basis = (
        f"{len(trials)} single changes, {pods} pod(s) asked directly; {mails} mails, {not_accepted} not accepted; "
        f"{sum(trial.gone for trial in trials)} pods gone or not ready for a while, {restarts} containers restarted; "
        f"kubectl alone {describe_seconds([trial.kubectl_seconds for trial in trials])}"
    )
    return [Figure(name, describe_seconds([trial.seconds for trial in trials]), target, basis)]
