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

_OF_THE_MACHINE = ("did not end in time", "gets no answer", "does not start with it")
"""In what a pod says that may have had too little of a processor or of memory when it tried."""


@dataclass(frozen=True, slots=True)
class Serving(Generic[T]):
    """What serves by the ConfigMaps as they are: raw text, and what a pod has proven it with; None if none has."""

    raw: T
    proof: str | None


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """Which raw text serves, and what is to be done about the wanted one."""

    serve: T
    proof: str | None = None
    """With what a pod has proven it: with anything else than now, it has to be proven again."""
    refusal: Verdict | None = None
    """What the pod that tried the wanted raw text said against it."""
    pending: str | None = None
    """Hash of the configuration that a pod has to try."""


def choose_raw_text(
    wanted: T, serving: Serving[T] | None, candidate: str, *, nothing: T, proof: str, verdict: Verdict | None
) -> Choice[T]:
    """Decide which raw text serves.

    *candidate* is the hash of the configuration with *wanted*, *verdict* what is known of it, *nothing* the empty text,
    which needs no proof, *proof* names what text is proven with now. Nothing serves yet, or what serves was never
    proven (it may be what is being corrected): then the pods that start try *wanted* themselves.
    """
    if wanted == nothing:
        return Choice(wanted, proof)
    if serving is None or serving.proof is None:
        return Choice(wanted)
    if serving.raw == wanted:
        return Choice(wanted, serving.proof)
    if verdict is None:
        return Choice(serving.raw, serving.proof, pending=candidate)
    if verdict.error is None:
        return Choice(wanted, proof)
    return Choice(serving.raw, serving.proof, refusal=verdict)


def find_verdict(pods: Iterable[Pod], candidate: str, remembered: Verdict | None) -> Verdict | None:
    """What a pod said of *candidate* when it tried it; else *remembered*, if that is about it (the pod may be gone)."""
    for pod in pods:
        trial = pod.report.trial if pod.report else None
        if trial is not None and trial.hash == candidate:
            return trial
    return remembered if remembered is not None and remembered.hash == candidate else None


def may_pass(verdict: Verdict) -> bool:
    """Tell whether the refusal may be the machine's fault, so that the same text may be accepted later."""
    return any(words in (verdict.error or "") for words in _OF_THE_MACHINE)
