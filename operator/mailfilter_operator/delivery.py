"""How a configuration gets to the pods: which pod is to be told what now, and which pods serve it. Times are handed in.

A pod is told by its annotations: the kubelet looks at the volumes of a pod at once when one changes (0.5-0.9 s until
the files are there), else about once a minute. What reaches the kubelet after the annotation it misses, so that a pod
that does not report is told again, after 1.5 s and then ever more rarely.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.pod_reports import PodReport

Telling = Mapping[str, str | None]
"""Annotations to set on a pod; None removes one."""

PATIENT_LOOKS = 3
"""A pod that does not answer is silent only then: one missed answer says nothing."""
FIRST_REMINDER_MS = 1500
LONGEST_REMINDER_MS = 300_000
_FIRST_LOOK_SECONDS = 0.2
_LONGEST_LOOK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Pod:
    """A filter pod that has not ended and is not ending."""

    name: str
    ip: str | None
    ready: bool
    annotations: Mapping[str, str]
    manifest: Manifest
    report: PodReport | None = None
    silent_looks: int = 0
    """How many times in a row it has not answered."""

    @property
    def is_silent(self) -> bool:
        """It has not answered for so long that something is wrong."""
        return self.silent_looks >= PATIENT_LOOKS

    def with_annotations(self, live: Manifest) -> "Pod":
        """The same pod with the annotations of *live*."""
        return replace(self, annotations=live["metadata"].get("annotations") or {}, manifest=live)

    @property
    def image(self) -> str | None:
        """The filter image that it was made with, as the operator named it."""
        return self.annotations.get(names.ANNOTATION_IMAGE)

    @property
    def told(self) -> tuple[int, int]:
        """How often it was told what its annotations say, and when last, in milliseconds since 1970."""
        match = re.fullmatch(r"([0-9]{1,4})@([0-9]{1,15})", self.annotations.get(names.ANNOTATION_TOLD, ""))
        return (int(match[1]), int(match[2])) if match else (0, 0)


@dataclass(frozen=True, slots=True)
class Wish:
    """What pods are told: the configuration to serve, and the one that one pod is to try."""

    serve: str
    trial: str | None = None
    trial_pod: str | None = None

    def annotations(self, pod: Pod) -> dict[str, str]:
        """What the annotations of *pod* shall say."""
        wanted = {names.ANNOTATION_CONFIG: self.serve}
        if self.trial is not None and pod.name == self.trial_pod:
            wanted[names.ANNOTATION_CANDIDATE] = self.trial
        return wanted

    def is_answered(self, pod: Pod) -> bool:
        """Tell whether *pod* has said that it serves, or refuses, what it was told, and what came of the trial."""
        report = pod.report
        if report is None:
            return False
        served = report.active == self.serve or (report.refused is not None and report.refused.hash == self.serve)
        tried = (
            self.trial is None
            or pod.name != self.trial_pod
            or (report.trial is not None and report.trial.hash == self.trial)
        )
        return served and tried


def read_pods(manifests: Iterable[Manifest]) -> tuple[Pod, ...]:
    """The pods that scan or will, by name; a pod that only wears their labels is not asked, at whatever address."""
    found = []
    for manifest in manifests:
        meta, status = manifest["metadata"], manifest.get("status") or {}
        if (
            not _is_of_replica_set(meta)
            or meta.get("deletionTimestamp")
            or status.get("phase") in ("Succeeded", "Failed")
        ):
            continue
        conditions = status.get("conditions") or ()
        ready = any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)
        annotations = meta.get("annotations") or {}
        found.append(Pod(meta["name"], status.get("podIP"), ready, annotations, manifest))
    return tuple(sorted(found, key=lambda pod: pod.name))


def _is_of_replica_set(meta: Manifest) -> bool:
    owners = meta.get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("kind") == "ReplicaSet" for owner in owners)


def with_reports(pods: Iterable[Pod], reports: Mapping[str, PodReport]) -> tuple[Pod, ...]:
    """The pods with what they said, by pod IP."""
    return tuple(replace(pod, report=reports.get(pod.ip or "")) for pod in pods)


def of_image(pods: Iterable[Pod], image: str) -> tuple[Pod, ...]:
    """The pods of the filter image *image*: what others say of raw text does not hold for it."""
    return tuple(pod for pod in pods if pod.image == image)


def choose_trial_pod(pods: Iterable[Pod], image: str) -> str | None:
    """Name of the pod that tries raw text: one of *image* that serves; the one that was told so already, if it does."""
    serving = [pod for pod in of_image(pods, image) if pod.ready]
    chosen = [pod for pod in serving if names.ANNOTATION_CANDIDATE in pod.annotations]
    return (chosen or serving)[0].name if serving else None


def plan_tellings(pods: Iterable[Pod], wish: Wish, now_ms: int) -> dict[str, Telling]:
    """New annotations, by pod, for the pods whose annotations say something else than *wish*."""
    return {
        pod.name: _tell(wish, pod, 1, now_ms)
        for pod in pods
        if {
            name: pod.annotations[name]
            for name in (names.ANNOTATION_CONFIG, names.ANNOTATION_CANDIDATE)
            if name in pod.annotations
        }
        != wish.annotations(pod)
    }


def plan_reminders(pods: Iterable[Pod], wish: Wish, now_ms: int) -> dict[str, Telling]:
    """New annotations, by pod, for running pods that were told long enough ago and have not answered."""
    reminders = {}
    for pod in pods:
        times, last = pod.told
        is_heard = pod.report is not None or pod.is_silent
        if pod.ip and is_heard and not wish.is_answered(pod) and now_ms - last >= _reminder_ms(times):
            reminders[pod.name] = _tell(wish, pod, min(times + 1, 9999), now_ms)
    return reminders


def seconds_to_next_look(pods: Iterable[Pod], wish: Wish, now_ms: int) -> float | None:
    """When to ask again: soon after a pod was told, later if it does not answer; None if all have answered."""
    waiting = [pod for pod in pods if pod.ip and not wish.is_answered(pod)]
    if not waiting:
        return None
    shortest = min(max(0, now_ms - pod.told[1]) for pod in waiting) / 1000
    longest = min(_reminder_ms(pod.told[0]) for pod in waiting) / 1000
    return min(max(_FIRST_LOOK_SECONDS, shortest / 4), longest, _LONGEST_LOOK_SECONDS)


def _reminder_ms(times: int) -> int:
    return min(FIRST_REMINDER_MS << min(max(times, 1) - 1, 20), LONGEST_REMINDER_MS)


def _tell(wish: Wish, pod: Pod, times: int, now_ms: int) -> Telling:
    nothing_to_try = {names.ANNOTATION_CANDIDATE: None} if names.ANNOTATION_CANDIDATE in pod.annotations else {}
    return {**nothing_to_try, **wish.annotations(pod), names.ANNOTATION_TOLD: f"{times}@{now_ms}"}
