"""The plan of a pass: which raw text serves, which is tried beside it, and what pods said against either.

A proof holds for what it was made with: the image, and the mails that must be refused and signed. Text that was proven
with others serves on, and each pod proves it before it takes the next configuration with it.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from mailfilter_operator.delivery import Pod, choose_trial_pod, of_image
from mailfilter_operator.observed import Observed
from mailfilter_operator.plan import Plan
from mailfilter_operator.pod_reports import Verdict
from mailfilter_operator.raw_text import RawText, shorten_error
from mailfilter_operator.raw_trial import Serving, choose_raw_text, find_verdict, may_pass
from mailfilter_operator.render import Configuration
from mailfilter_operator.serving import Stored, read_stored

ASK_AGAIN_MS = 600_000
"""After what may have been the machine's fault; a resync comes no sooner."""

_UNKNOWN_PROOF = "another"
"""A pod has proven the text with something, and nobody knows any more with what."""

RenderWith = Callable[[RawText], Configuration]


def make_plan(
    observed: Observed, raw: RawText, render_with: RenderWith, pods: tuple[Pod, ...], image: str, now_ms: int
) -> Plan:
    """Decide by what *pods* say, those of the filter image *image*; they need not be asked if there is no raw text."""
    wanted = render_with(raw)
    if raw.is_empty:
        return Plan(wanted)
    pods = of_image(pods, image)
    known: dict[str, Any] = (observed.mailfilter.get("status") or {}).get("config") or {}
    refused_beside = known.get("refusedHash") and known["refusedHash"] != known.get("hash")
    stored = read_stored(observed)
    proof = _name_proof(wanted, image)
    serving = Serving(stored.raw, _find_proof(stored, proof, render_with, pods)) if stored else None
    if serving is None and refused_beside:
        # The last good text is lost, and the one of the spec may be what was refused.
        serving = Serving(RawText(), proof)
    remembered = _recall_refusal(known, pods, image, now_ms)
    verdict = find_verdict(pods, wanted.hash, remembered)
    choice = choose_raw_text(raw, serving, wanted.hash, nothing=RawText(), proof=proof, verdict=verdict)
    refusal = choice.refusal and _shorten(choice.refusal, raw)
    configuration = wanted if choice.serve == raw else render_with(choice.serve)
    unproven = choice.proof != proof
    return Plan(configuration, choice.proof, unproven, wanted if choice.pending else None, refusal)


def find_refusal(plan: Plan, pods: tuple[Pod, ...]) -> Verdict | None:
    """What was said against the raw text of the spec; else against what serves, by a pod that was to take it.

    A pod that serves it now has thought better of it.
    """
    if plan.refusal is not None:
        return plan.refusal
    wanted = plan.configuration.hash
    reports = [pod.report for pod in pods if pod.report and pod.report.active != wanted]
    said = (report.refused for report in reports if report.refused is not None and report.refused.hash == wanted)
    found = next(said, None)
    return found and _shorten(found, plan.configuration.raw)


def has_new_verdict(plan: Plan, pods: tuple[Pod, ...], image: str) -> bool:
    """Tell whether a pod said something of raw text after it was asked for this plan: the next pass acts on it."""
    pods = of_image(pods, image)
    tried = plan.candidate is not None and find_verdict(pods, plan.candidate.hash, None) is not None
    return tried or (plan.unproven and _serves(plan.configuration.hash, pods))


def _name_proof(configuration: Configuration, image: str) -> str:
    return hashlib.sha256(f"{image}\n{configuration.expected}".encode()).hexdigest()


def _find_proof(stored: Stored, now: str, render_with: RenderWith, pods: tuple[Pod, ...]) -> str | None:
    """What a pod has proven the text with, *now* if that is what it would be proven with now; None if none has."""
    if stored.raw.is_empty or stored.proof == now:
        return now
    if stored.unproven is None:
        return stored.proof
    if _serves(stored.unproven, pods):
        same = render_with(stored.raw).hash == stored.unproven
        return now if same else stored.proof or _UNKNOWN_PROOF
    refusals = (pod.report.refused for pod in pods if pod.report and pod.report.refused)
    if any(verdict.hash == stored.unproven and not may_pass(verdict) for verdict in refusals):
        return None  # It was good once, and is to be corrected.
    return stored.proof


def _serves(config_hash: str, pods: Iterable[Pod]) -> bool:
    return any(pod.report and pod.report.active == config_hash for pod in pods)


def _recall_refusal(known: dict[str, Any], pods: tuple[Pod, ...], image: str, now_ms: int) -> Verdict | None:
    """What is on record against raw text: nothing if another image said so, or if it is time to ask again."""
    if not known.get("refusedHash") or known.get("refusedImage") != image:
        return None
    verdict = Verdict(known["refusedHash"], known.get("error") or "no reason was kept")
    chosen = choose_trial_pod(pods, image)
    told = [pod.told[1] for pod in pods if pod.name == chosen]
    if may_pass(verdict) and any(now_ms - last >= ASK_AGAIN_MS for last in told):
        return None
    return verdict


def _shorten(verdict: Verdict, raw: RawText) -> Verdict:
    """The verdict with words for people; *raw* is what it is about, whose secrets it must not tell."""
    return Verdict(verdict.hash, shorten_error(verdict.error or "", raw))
