"""Tell the pods which configuration to serve, and ask them what they do serve."""

from collections.abc import Mapping

from mailfilter_operator.ask_pods import AskPods
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.delivery import Pod, Telling, Wish, plan_reminders, plan_tellings, with_reports
from mailfilter_operator.errors import ClusterError

_GONE = (404, 409)
"""HTTP status for a pod that is not there any more, or another one of that name."""


def ask(ask_pods: AskPods, pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """The pods with what they say now."""
    return with_reports(pods, ask_pods(pod.ip for pod in pods if pod.ip))


def deliver(
    cluster: Cluster, ask_pods: AskPods, pods: tuple[Pod, ...], wish: Wish, now_ms: int
) -> tuple[tuple[Pod, ...], tuple[str, ...]]:
    """Tell the pods what *wish* says, ask them, and tell those again that have not answered for too long.

    Returns the pods as they are now, and the names of those that were told. Raises ClusterError.
    """
    tellings = plan_tellings(pods, wish, now_ms)
    pods = ask(ask_pods, _tell(cluster, pods, tellings))
    reminders = plan_reminders(pods, wish, now_ms)
    return _tell(cluster, pods, reminders), tuple(f"Pod/{name}" for name in (*tellings, *reminders))


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
