"""Tell the pods which configuration to serve, and ask them what they do serve."""

from collections.abc import Mapping, MutableMapping
from dataclasses import replace

from mailfilter_operator.ask_pods import AskPods
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.delivery import Pod, Telling, Wish, plan_reminders, plan_tellings, with_reports
from mailfilter_operator.errors import ClusterError
from mailfilter_operator.reload_turns import Reloads, plan_turns

_GONE = (404, 409)
"""HTTP status for a pod that is not there any more, or another one of that name."""


Silence = MutableMapping[str, int]
"""By pod, how many times in a row it has not answered; a restart of the operator forgets it."""


def ask(ask_pods: AskPods, pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """The pods with what they say now."""
    return with_reports(pods, ask_pods(pod.ip for pod in pods if pod.ip))


def deliver(
    cluster: Cluster, ask_pods: AskPods, pods: tuple[Pod, ...], wish: Wish, now_ms: int, silent_looks: Silence
) -> tuple[tuple[Pod, ...], tuple[str, ...]]:
    """Tell the pods what *wish* says, ask them, and tell those again that have not answered for too long.

    *silent_looks* is kept up to date. Returns the pods as they are now, and the names of those that were told. Raises
    ClusterError.
    """
    tellings = plan_tellings(pods, wish, now_ms)
    pods = _count_silence(ask(ask_pods, _tell(cluster, pods, tellings)), silent_looks)
    reminders = plan_reminders(pods, wish, now_ms)
    return _tell(cluster, pods, reminders), tuple(f"Pod/{name}" for name in (*tellings, *reminders))


def give_turns(cluster: Cluster, pods: tuple[Pod, ...], reloads: Reloads) -> tuple[tuple[Pod, ...], tuple[str, ...]]:
    """Say which pod may load signatures now. Returns what `deliver` does. Raises ClusterError."""
    turns = plan_turns(pods, reloads)
    return _tell(cluster, pods, turns), tuple(f"Pod/{name}" for name in turns)


def _count_silence(pods: tuple[Pod, ...], silent_looks: Silence) -> tuple[Pod, ...]:
    counts = {pod.name: silent_looks.get(pod.name, 0) + 1 for pod in pods if pod.report is None}
    silent_looks.clear()
    silent_looks.update(counts)
    return tuple(replace(pod, silent_looks=counts.get(pod.name, 0)) for pod in pods)


def _tell(cluster: Cluster, pods: tuple[Pod, ...], tellings: Mapping[str, Telling]) -> tuple[Pod, ...]:
    """Pods with their new annotations, without those that turned out to be gone."""
    remaining = []
    for pod in pods:
        if pod.name not in tellings:
            remaining.append(pod)
            continue
        try:
            live = cluster.annotate(pod.manifest, tellings[pod.name])
        except ClusterError as error:
            if error.status not in _GONE:
                raise
        else:
            remaining.append(pod.with_annotations(live))
    return tuple(remaining)
