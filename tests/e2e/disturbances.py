"""What happens to a filter in its life, done on purpose while mail is sent: one phase for each kind."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.connection import Connection
from tests.e2e import changes, processes
from tests.e2e.constant_mail import ConstantMail
from tests.mail.kubectl import KubectlError
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

REPLICAS = 2
_WHOLE_SECONDS = 180.0
_SETTLED_ANSWERS = 40
"""After something was killed, so many answers in a row without a 451 end its phase."""
_TAG = "soak"


@dataclass
class Filter:
    """The MailFilter that is disturbed."""

    system: MailSystem
    node: Connection
    domains: list[dict[str, Any]] = field(init=False)
    image: str = field(init=False)
    changed: int = 0

    def __post_init__(self) -> None:
        """Remember what will be restored, give the image its second name, start all replicas."""
        self.domains = self.system.mailfilter()["spec"]["domains"]
        self.image = self._images(self.system.filter_pods()).pop()
        self.node.tag(self.image, f"{self.image.rpartition(':')[0]}:{_TAG}")
        self._patch({"replicas": REPLICAS})
        self.wait_whole()

    def restore(self) -> None:
        """Undo all changes; return when the pods of before, one, serve."""
        self._patch({"replicas": None, "actions": None, "image": None, "domains": self.domains})
        self.wait_whole(replicas=1)

    def change_score(self) -> None:
        """Change a score that no mail of the tests reaches."""
        self.changed += 1
        changes.change(self.system, {"actions": {"reject": f"14.{self.changed:02d}"}})

    def add_domain(self) -> None:
        """Add a domain, so a key as well."""
        self.changed += 1
        listed = self.system.mailfilter()["spec"]["domains"]
        at_once = {"name": f"soak{self.changed}.example.net", "dkim": {"activation": "AtOnce"}}
        changes.change(self.system, {"domains": [*listed, at_once]})

    def delete_pod(self, *options: str) -> None:
        """Delete one pod; return when another one has its place and it is gone."""
        name = self.system.filter_pods()[0]["metadata"]["name"]
        self.system.kubectl.run("delete", "pod", name, f"--namespace={self.system.namespace}", "--wait=false", *options)
        self.wait_whole(without=name)

    def evict_pods(self) -> None:
        """Evict each pod, as a drain does, one when the other is back; the disruption budget may say "not yet"."""
        for pod in self.system.filter_pods():
            name = pod["metadata"]["name"]
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
            path = f"/api/v1/namespaces/{self.system.namespace}/pods/{name}/eviction"
            body = json.dumps(eviction).encode()

            def evicted(path: str = path, body: bytes = body) -> bool:
                try:
                    self.system.kubectl.output("create", f"--raw={path}", "--filename=-", stdin=body)
                except KubectlError as error:
                    if "disruption budget" not in str(error):
                        raise
                    return False
                return True

            eventually(evicted, within_seconds=60, what=f"eviction of {name}")
            self.wait_whole(without=name)

    def change_image(self) -> None:
        """Let all pods run the image by its other name."""
        other = self._images(self.system.filter_pods()) == {self.image}
        self._patch({"image": {"tag": _TAG} if other else None})
        wanted = {f"{self.image.rpartition(':')[0]}:{_TAG}"} if other else {self.image}
        self.wait_whole()
        assert self._images(self.system.filter_pods()) == wanted

    def kill(self, program: str) -> None:
        """Kill a program in one pod; return when it runs again and all pods are ready."""
        uid = self.system.filter_pods()[0]["metadata"]["uid"]
        killed = processes.send_signal(uid, program, signal.SIGKILL)
        assert killed, f"no process {program} in pod {uid}"
        eventually(
            lambda: set(processes.find(uid, program)) - set(killed),
            within_seconds=_WHOLE_SECONDS,
            what=f"a new {program} in pod {uid}",
        )
        self.wait_whole()

    def wait_whole(self, *, replicas: int = REPLICAS, without: str = "") -> None:
        """Return when so many pods are ready and there are no others, those that end included."""

        def whole() -> bool:
            pods = self.system.kubectl.items(
                "pods",
                f"--namespace={self.system.namespace}",
                f"--selector=app.kubernetes.io/name=mailfilter,app.kubernetes.io/instance={self.system.name}",
            )
            named = {pod["metadata"]["name"]: _is_ready(pod) for pod in pods}
            assert without not in named, f"{without} is still there"
            assert len(named) == replicas, named
            assert all(named.values()), named
            return True

        eventually(whole, within_seconds=_WHOLE_SECONDS, what=f"{replicas} ready pods and no others")

    def _patch(self, spec: dict[str, Any]) -> None:
        changes.patch_spec(self.system, spec)
        changes.wait_ready_for(self.system, self.system.mailfilter()["metadata"]["generation"])

    @staticmethod
    def _images(pods: list[dict[str, Any]]) -> set[str]:
        return {container["image"] for pod in pods for container in pod["spec"]["containers"]}


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@dataclass(frozen=True)
class Phase:
    """One kind of disturbance; *forced* if something is killed, so that P2 allows 451 meanwhile."""

    name: str
    disturb: Callable[[Filter], None]
    forced: bool = False


PHASES = (
    Phase("a score changed", Filter.change_score),
    Phase("a domain added", Filter.add_domain),
    Phase("a pod deleted", Filter.delete_pod),
    Phase("pods evicted", Filter.evict_pods),
    Phase("the image changed", Filter.change_image),
    Phase("a pod killed", lambda one: one.delete_pod("--grace-period=1"), forced=True),
    Phase("rspamd killed", lambda one: one.kill("rspamd"), forced=True),
    Phase("clamd killed", lambda one: one.kill("clamd"), forced=True),
)


def disturb(one: Filter, mail: ConstantMail, seconds: float) -> None:
    """Go through the phases, all of them once, and again and again until *seconds* have passed."""
    finish = time.monotonic() + seconds
    for number in itertools.count():
        phase = PHASES[number % len(PHASES)]
        if number >= len(PHASES) and time.monotonic() > finish:
            return
        mail.enter(phase.name)
        phase.disturb(one)
        if phase.forced:
            eventually(
                lambda: mail.undisturbed >= _SETTLED_ANSWERS,
                within_seconds=_WHOLE_SECONDS,
                what=f"mail flowing as before after the phase: {phase.name}",
            )
