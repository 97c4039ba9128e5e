"""What becomes of raw text that differs from the one that serves: it is tried in a pod first. Decides; pods try.

Typed fields cannot make a bad configuration, raw text can, also one that rspamd reads without a complaint. So the last
good raw text serves, with everything typed as the spec says, until a pod has proven the new one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mailfilter_operator.delivery import Pod
from mailfilter_operator.pod_reports import Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Serving(Generic[T]):
    """What serves by the ConfigMaps as they are: raw text, and whether a pod has proven it."""

    raw: T
    proven: bool


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """Which raw text serves, and what is to be done about the wanted one."""

    serve: T
    unproven: bool = False
    """A pod that starts has to try it before it serves."""
    refusal: Verdict | None = None
    """What the pod that tried the wanted raw text said against it."""
    pending: str | None = None
    """Hash of the configuration that a pod has to try."""


def choose_raw_text(
    wanted: T, serving: Serving[T] | None, candidate: str, *, harmless: bool, verdict: Verdict | None
) -> Choice[T]:
    """Decide which raw text serves.

    *candidate* is the hash of the configuration with *wanted*, *verdict* what is known of it, *harmless* whether
    *wanted* is empty. Nothing serves yet, or what serves was never proven (it may be what is being corrected): then the
    pods that start try *wanted* themselves.
    """
    if harmless:
        return Choice(wanted)
    if serving is None or not serving.proven:
        return Choice(wanted, unproven=True)
    if serving.raw == wanted:
        return Choice(wanted)
    if verdict is None:
        return Choice(serving.raw, pending=candidate)
    if verdict.error is None:
        return Choice(wanted)
    return Choice(serving.raw, refusal=verdict)


def find_verdict(pods: Iterable[Pod], candidate: str, remembered: Verdict | None) -> Verdict | None:
    """What a pod said of *candidate* when it tried it; else *remembered*, if that is about it (the pod may be gone)."""
    for pod in pods:
        trial = pod.report.trial if pod.report else None
        if trial is not None and trial.hash == candidate:
            return trial
    return remembered if remembered is not None and remembered.hash == candidate else None
