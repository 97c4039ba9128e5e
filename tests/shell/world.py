"""A cluster in memory with one operator, and what tests do to them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.shell.dns import NameServers
from tests.shell.memory_cluster import MemoryCluster
from tests.unit import samples
from typing_extensions import override

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.dkim.key_secrets import parse_key_secret
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.dkim.published import Look
from mailfilter_operator.dkim.records import build_record_values
from mailfilter_operator.inquiries import Inquiries
from mailfilter_operator.pod_reports import PodReport, Verdict
from mailfilter_operator.reconcile import Operator, reconcile
from mailfilter_operator.signing import ProbeMail, ProbeResult
from mailfilter_operator.times import add_seconds

SIGNATURES_URL = "http://mailfilter-signatures.mailfilter-system.svc:8080"
RESYNC_SECONDS = 600.0


class AtOnce(Executor):
    """Threads that are done before anybody looks."""

    @override
    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments, **named))
        return done


@dataclass
class World:
    """MailFilters of the namespace `mail`; `cluster` is what survives when the operator does not."""

    cluster: MemoryCluster = field(default_factory=MemoryCluster)
    image: str = samples.IMAGE
    now: str = samples.NOW
    now_ms: int = 1_795_704_000_000
    says: dict[str, PodReport | None] = field(default_factory=dict)
    tries: bool = True
    """Pods have had the time to try what they were asked to."""
    found: str | None = None
    """What they find wrong then."""
    dns: NameServers = field(default_factory=NameServers)
    publishing: bool = True
    probed: list[str] = field(default_factory=list)
    inquiries: Inquiries = field(default_factory=lambda: Inquiries(AtOnce(), lambda _: None))
    silences: dict[tuple[str, str], MutableMapping[str, int]] = field(default_factory=dict)
    """What an operator keeps in memory; cleared, it is another one."""
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def apply(self, name: str = "mx", **spec: Any) -> None:
        """What a user does: create the MailFilter or change its spec; status stays."""
        before = self.cluster.objects.get(("MailFilter", "mail", name), {})
        body = samples.body(name, before.get("metadata", {}).get("uid", f"uid-of-{name}"), **spec)
        self.cluster.put({**before, **body, "metadata": {**before.get("metadata", {}), **body["metadata"]}})

    def look(self, name: str = "mx") -> float | None:
        """One pass of an operator that has just been started."""
        operator = Operator(
            self.cluster,
            self.ask,
            lambda: self.now,
            lambda: self.now_ms,
            self.threads,
            self.ask_dns,
            self.probe,
            self.inquiries,
            self.image,
            SIGNATURES_URL,
            RESYNC_SECONDS,
            self.silences,
        )
        return reconcile(operator, "mail", name)

    def ask_dns(self, names: Sequence[str], _: Sequence[str]) -> Mapping[str, Look]:
        """What name servers say; people have done what status tells, if they are `publishing`."""
        if self.publishing:
            self.publish()
        return self.dns.look(names, self.now)

    def settle(self, name: str = "mx") -> None:
        """Passes until nothing is left to write: what was asked for has been answered."""
        for _ in range(30):
            if not self.written(name):
                return
        raise AssertionError("there is no end of it")

    def restart(self) -> None:
        """What the operator kept in memory is gone."""
        self.inquiries = Inquiries(AtOnce(), lambda _: None)

    def probe(self, ip: str, mails: Sequence[ProbeMail]) -> tuple[ProbeResult, ...]:
        """How a pod signs."""
        self.probed.append(ip)
        return tuple(ProbeResult(mail.sender, "accept", tuple(mail.records), {}) for mail in mails)

    def publish(self) -> None:
        """What people do: put the records of all keys that are not retired into DNS."""
        self.dns.records |= build_record_values(key for key in self.keys() if key.state != "Retired")

    def keys(self) -> list[DkimKey]:
        """All keys, as their Secrets say."""
        found = self.cluster.objects.items()
        secrets = [(name, secret) for (kind, _, name), secret in found if kind == "Secret" and "-dkim-" in name]
        return [parse_key_secret(name.split("-dkim-")[0], name[-2:], secret) for name, secret in secrets]

    def pass_time(self, seconds: float) -> None:
        """The clock goes on."""
        self.now = add_seconds(self.now, seconds)

    def ask(self, ips: Iterable[str]) -> dict[str, PodReport]:
        """What pods say: `says` by IP; a pod of which nothing is said there does what its annotations ask for."""
        pods = {pod["status"]["podIP"]: pod for pod in self.cluster.list_objects("Pod", "mail")}
        answers = {ip: self.says.get(ip, self._obey(pods[ip])) for ip in ips}
        return {ip: report for ip, report in answers.items() if report is not None}

    def _obey(self, pod: Manifest) -> PodReport:
        told = pod["metadata"].get("annotations", {})
        tried = told.get(names.ANNOTATION_CANDIDATE)
        trial = Verdict(tried, self.found) if tried and self.tries else None
        return PodReport(told.get(names.ANNOTATION_CONFIG), trial=trial)

    def written(self, name: str = "mx") -> list[tuple[str, str]]:
        """Writes of one pass."""
        start = len(self.cluster.writes)
        self.look(name)
        return self.cluster.writes[start:]

    def object(self, kind: str, name: str) -> dict[str, Any]:
        """The stored object itself: changing it is an edit by somebody else."""
        return self.cluster.objects[kind, "mail", name]

    def status(self, name: str = "mx") -> dict[str, Any]:
        found: dict[str, Any] = self.object("MailFilter", name)["status"]
        return found

    def condition(self, condition: str, name: str = "mx") -> tuple[str, str, str]:
        """Status, reason and message."""
        (found,) = [entry for entry in self.status(name)["conditions"] if entry["type"] == condition]
        return found["status"], found["reason"], found["message"]

    def events(self) -> list[str]:
        """Reasons of all Events, in order."""
        return [found["reason"] for (kind, *_), found in self.cluster.objects.items() if kind == "Event"]

    def roll_out(self, name: str = "mx") -> None:
        """What the Deployment's controller does once the pod is ready."""
        live = self.object("Deployment", name)
        done = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
        self.cluster.put({**live, "status": {**done, "observedGeneration": live["metadata"]["generation"]}})
        self.put_pod(name)

    def put_pod(self, name: str = "mx", number: int = 1, *, ready: bool = True) -> str:
        """The kubelet's pod of a filter; its IP."""
        ip = f"10.244.0.{number}"
        before = self.cluster.objects.get(("Pod", "mail", f"{name}-{number}"), {})
        annotations = self.object("Deployment", name)["spec"]["template"]["metadata"]["annotations"]
        meta = {
            "annotations": annotations,
            **before.get("metadata", {}),
            "name": f"{name}-{number}",
            "namespace": "mail",
        }
        meta["ownerReferences"] = [samples.REPLICA_SET]
        conditions = [{"type": "Ready", "status": str(ready)}]
        self.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {**meta, "labels": names.labels(name, "filter")},
                "status": {"phase": "Running", "podIP": ip, "conditions": conditions},
            }
        )
        return ip

    def edit(self, kind: str, name: str, *path: str | int, value: Any) -> None:
        """Somebody else sets the value at *path*; None removes it."""
        live = self.cluster.get(kind, "mail", name)
        holder: Any = live
        for step in path[:-1]:
            holder = holder[step]
        if value is None:
            del holder[path[-1]]
        elif isinstance(holder, list):
            holder.insert(int(path[-1]), value)
        else:
            holder[path[-1]] = value
        assert live is not None
        self.cluster.put(live)

    def content(self, *kinds: str) -> dict[str, dict[str, Any]]:
        """What the operator decides of all objects (or those of *kinds*), as Kind/name; Events are left out."""
        unstable = {"resourceVersion", "generation", "uid"}
        return {
            f"{kind}/{name}": {
                **{field: value for field, value in found.items() if (kind, field) != ("Deployment", "status")},
                "metadata": {field: value for field, value in found["metadata"].items() if field not in unstable},
            }
            for (kind, _, name), found in sorted(self.cluster.objects.items())
            if kind not in ("Event", "Pod") and (not kinds or kind in kinds)
        }

    def key_secrets(self) -> dict[str, str]:
        """Base64 of every private key by the name of its Secret."""
        secrets = self.content("Secret").values()
        return {
            found["metadata"]["name"]: found["data"][names.PRIVATE_KEY]
            for found in secrets
            if re.search("-dkim-", found["metadata"]["name"])
        }


def draw_keys(monkeypatch: Any, first: int = 0) -> None:
    """Make key generation draw quick keys from here on; no two draws give the same key."""
    numbers = itertools.count(first)

    def draw(**_: Any) -> Any:
        return serialization.load_pem_private_key(samples.private_pem(f"drawn {next(numbers)}"), password=None)

    monkeypatch.setattr(rsa, "generate_private_key", draw)
