"""How long a change by kubectl takes until every pod scans with it, seen from outside.

Each pod is asked at its own address, over the milter protocol and without a pause, by one connection per mail; nothing
is believed but what the milter does with the mail.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.image import milter
from tests.image.milter import Verdict
from tests.mail.system import MailSystem

MILTER_PORT = 11332
IN_A_ROW = 3
"""A pod counts as changed from the first of so many new answers in a row; old and new workers may overlap."""
LONGEST_SECONDS = 240.0
_PAUSE_SECONDS = 0.01
_ANSWER_SECONDS = 20.0
_LOOK_SECONDS = 0.01
_PODS_SECONDS = 3.0
"""A change that replaces pods takes longer than that; the list of pods costs processor time of its own."""

Wanted = Callable[[Verdict], bool]
Mail = tuple[bytes, str]
"""A message and the user who hands it in, "" for a stranger's."""


@dataclass(frozen=True)
class Answer:
    """When an answer came, and whether it shows the change; None if the mail was not accepted."""

    ended: float
    new: bool | None


def live_since(answers: Sequence[Answer]) -> float | None:
    """Return when the first of the new answers came that go on to the end, None if they are less than IN_A_ROW."""
    last_other = max((index for index, answer in enumerate(answers) if not answer.new), default=-1)
    newest = answers[last_other + 1 :]
    return newest[0].ended if len(newest) >= IN_A_ROW else None


class Prober:
    """Asks one pod until it is stopped."""

    def __init__(self, address: str, mail: Mail, wanted: Wanted) -> None:
        self.answers: list[Answer] = []
        self._ask = (address, mail, wanted)
        self._finish = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        address, (message, user), wanted = self._ask
        while not self._finish.wait(_PAUSE_SECONDS):
            new: bool | None = None
            with contextlib.suppress(OSError):
                sender = user or "dave@example.net"
                verdict = milter.scan(message, MILTER_PORT, host=address, sender=sender, username=user)
                new = wanted(verdict) if verdict.reply == "accept" else None
            self.answers.append(Answer(time.monotonic(), new))

    def stop(self) -> None:
        """Ask no more."""
        self._finish.set()
        self._thread.join()


@dataclass
class Trial:
    """One change: until it was live in the last pod, until kubectl returned, and what else was seen meanwhile."""

    seconds: float = 0.0
    kubectl_seconds: float = 0.0
    answers: int = 0
    not_accepted: int = 0
    gone: int = 0
    """Pods that were replaced, or not ready for a while."""


@dataclass
class _Pods:
    """The pods that serve, one prober each, and when the last of those that went was missed."""

    mail: Mail
    wanted: Wanted
    probers: dict[str, Prober] = field(default_factory=dict)
    gone: list[Prober] = field(default_factory=list)
    last_gone: float = 0.0

    def follow(self, pods: Sequence[dict[str, Any]]) -> bool:
        """Ask the pods that are new and leave those that are gone; tell whether there were any."""
        serving = {pod["metadata"]["uid"]: pod["status"]["podIP"] for pod in pods if is_ready(pod)}
        changed = serving.keys() != self.probers.keys()
        for uid in self.probers.keys() - serving.keys():
            self.last_gone = time.monotonic()
            self.gone.append(self.probers.pop(uid))
            self.gone[-1].stop()
        for uid in serving.keys() - self.probers.keys():
            self.probers[uid] = Prober(serving[uid], self.mail, self.wanted)
        return changed

    def live_since(self) -> float | None:
        """Return when the change was live in the last pod, None if it is not in all."""
        moments = [live_since(prober.answers) for prober in self.probers.values()]
        known = [moment for moment in moments if moment is not None]
        return max([*known, self.last_gone]) if known and len(known) == len(moments) else None

    def stop(self) -> None:
        for prober in self.probers.values():
            prober.stop()


def is_ready(pod: dict[str, Any]) -> bool:
    """Tell whether the Service sends mail to *pod*."""
    conditions = pod["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def measure(system: MailSystem, mail: Mail, wanted: Wanted, change: Callable[[], None]) -> Trial:
    """Make *change* and return what came of it when every pod does with *mail* what is *wanted*.

    The clock starts before *change* does.  Raises TimeoutError if it does not come about, RuntimeError if it is so
    already or if there is no pod.
    """
    with _asking(_Pods(mail, wanted)) as pods:
        pods.follow(system.filter_pods())
        _wait_old(pods)
        started = time.monotonic()
        change()
        trial = Trial(kubectl_seconds=time.monotonic() - started)
        looked = started
        while True:
            time.sleep(_LOOK_SECONDS)
            live = pods.live_since()
            now = time.monotonic()
            if live is not None or now - looked > _PODS_SECONDS:
                # Also at the end: a pod nobody has heard of yet may serve.
                changed = pods.follow(system.filter_pods())
                looked = time.monotonic()
                if live is not None and not changed:
                    break
            if now - started > LONGEST_SECONDS:
                raise TimeoutError(f"a change was not live in every pod within {LONGEST_SECONDS:.0f} s")
        trial.seconds = live - started
    answers = [answer for prober in pods.probers.values() for answer in prober.answers]
    trial.answers, trial.not_accepted = len(answers), sum(answer.new is None for answer in answers)
    trial.gone = len(pods.gone)
    return trial


@contextlib.contextmanager
def _asking(pods: _Pods) -> Iterator[_Pods]:
    try:
        yield pods
    finally:
        pods.stop()


def _wait_old(pods: _Pods) -> None:
    """Return when every pod has answered as it did before the change."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    if not pods.probers:
        raise RuntimeError("no filter pod is ready")
    while not all(prober.answers and prober.answers[-1].new is False for prober in pods.probers.values()):
        if time.monotonic() > deadline:
            raise RuntimeError("a pod does not answer, or already does what the change shall bring about")
        time.sleep(_LOOK_SECONDS)
