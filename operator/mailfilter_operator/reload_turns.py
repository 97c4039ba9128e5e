"""Which pod may load new signatures now, where clamd scans nothing while it does: one of a filter at a time.

A pod that waits says so with a number, and its turn is an annotation with that number: what is left over from another
time is none. The pod reads it from a file (downward API), and goes on by itself when nobody has given it a turn for
half an hour, or for a day if it is told to wait.
"""

from collections.abc import Sequence
from enum import Enum, auto

from mailfilter_operator import names
from mailfilter_operator.delivery import Pod, Telling

ANY_TIME = "any-time"
"""The turn of a pod that serves alone: to wait would help nobody."""

WAIT = "wait"
"""The turn of a pod that has to wait while another one loads or is not ready: it waits up to a day or so with it.

Should the other not come back from its load, what took that out must not do the same to this one when its half hour
ends. Only a pod that is ready is told, for whoever scans nothing has nothing to lose; one that was told keeps it, ready
or not, until it has its turn or waits no more.
"""

_WHILE_ONE_WAITS_OR_LOADS = 30.0
"""Pods that become ready, which ends a turn or lets one begin, wake a pass before that."""
_LOOK_FOR_QUESTIONS = 120.0
"""No event tells that a pod waits."""


class Reloads(Enum):
    """When pods may load signatures."""

    CONCURRENT = auto()
    """They scan meanwhile and ask nobody."""
    ALONE = auto()
    IN_TURN = auto()


def find_reloads(replicas: int, *, concurrent: bool) -> Reloads:
    """When the pods of a filter may load signatures."""
    if concurrent:
        return Reloads.CONCURRENT
    return Reloads.IN_TURN if replicas > 1 else Reloads.ALONE


def plan_turns(pods: Sequence[Pod], reloads: Reloads) -> dict[str, Telling]:
    """New annotations, by pod: the turn that one gets, who has to wait, and what is over."""
    turns = {pod.name: _find_standing(pod, reloads) for pod in pods}
    if reloads is Reloads.IN_TURN and not any(_is_busy(pod) for pod in pods):
        turns |= _choose(pods)
    return {
        pod.name: {names.ANNOTATION_RELOAD: turns[pod.name]}
        for pod in pods
        if pod.annotations.get(names.ANNOTATION_RELOAD) != turns[pod.name]
    }


def seconds_to_next_turn(pods: Sequence[Pod], reloads: Reloads) -> float | None:
    """When to look whether somebody waits, or has done; None if nobody ever does."""
    if reloads is not Reloads.IN_TURN:
        return None
    if any(_is_busy(pod) or _waiting(pod) is not None for pod in pods):
        return _WHILE_ONE_WAITS_OR_LOADS
    return _LOOK_FOR_QUESTIONS


def _find_standing(pod: Pod, reloads: Reloads) -> str | None:
    match reloads:
        case Reloads.CONCURRENT:
            return None
        case Reloads.ALONE:
            return ANY_TIME
        case Reloads.IN_TURN:
            return pod.annotations[names.ANNOTATION_RELOAD] if _has_turn(pod) else _find_wait(pod)


def _has_turn(pod: Pod) -> bool:
    """Tell whether its turn is not over: it ends when the pod is ready again.

    A pod that is not any more keeps it: what took it out of service must not do the same to the others at once.
    """
    given = pod.annotations.get(names.ANNOTATION_RELOAD)
    if given in (None, ANY_TIME, WAIT):
        return False
    if pod.report is None or not pod.ready:
        return True
    return given in (str(pod.report.reload.waiting), str(pod.report.reload.loading))


def _find_wait(pod: Pod) -> str | None:
    """WAIT for a pod without a turn, if it has to wait; one missed answer does not take the word from it."""
    is_told = pod.annotations.get(names.ANNOTATION_RELOAD) == WAIT
    waits = is_told if pod.report is None else _waiting(pod) is not None and (is_told or pod.ready)
    return WAIT if waits else None


def _is_busy(pod: Pod) -> bool:
    """Tell whether it loads signatures, or is about to; in its turn or because its patience has ended."""
    return _has_turn(pod) or (pod.report is not None and pod.report.reload.loading is not None)


def _waiting(pod: Pod) -> int | None:
    return pod.report.reload.waiting if pod.report else None


def _choose(pods: Sequence[Pod]) -> dict[str, str]:
    """The turn of the pod that has waited longest, if another one scans meanwhile; empty if nobody gets one."""
    ready = [pod for pod in pods if pod.ready]
    waiting = [(number, pod.name) for pod in ready if (number := _waiting(pod)) is not None]
    if len(ready) < 2 or not waiting:
        return {}
    number, name = min(waiting)
    return {name: str(number)}
