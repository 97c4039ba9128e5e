"""Configurations as the objects that pods mount hold them: read, and written piece by piece as the operator never does.

Also what a pod makes of them, watched without a pause: a mail tells what serves, the files tell what lies there.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.changes import MARK, SYMBOL, UNDATED
from tests.e2e import pods, processes
from tests.image import milter
from tests.mail.kubectl import Kubectl
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

CONFIGMAPS = ("metrics", "workers", "modules", "clamav", "files", "candidate")
SECRETS = ("credentials", "keyring")
MILTER_PORT = 11332
CANDIDATE = "etc/mailfilter/candidate"
LIVE = "run/mailfilter/live"
DOMAIN = "late.example.net"

Piece = tuple[str, str]
"""Kind and name of one mounted object."""


@dataclass(frozen=True)
class Configuration:
    """The data of all mounted objects, and the hash by which pods are told to serve it."""

    hash: str
    data: dict[Piece, dict[str, str]]


def read(system: MailSystem) -> Configuration:
    """Read the configuration that status names; the MailFilter is at rest."""
    names = [("configmap", name) for name in CONFIGMAPS] + [("secret", name) for name in SECRETS]
    namespace = f"--namespace={system.namespace}"
    data = {
        (kind, f"{system.name}-{name}"): system.kubectl.get(kind, f"{system.name}-{name}", namespace).get("data") or {}
        for kind, name in names
    }
    return Configuration(system.mailfilter()["status"]["config"]["hash"], data)


def write(kubectl: Kubectl, namespace: str, piece: Piece, data: dict[str, str]) -> None:
    """Replace the data of one object."""
    patch = json.dumps([{"op": "add", "path": "/data", "value": data}])
    kubectl.run("patch", *piece, f"--namespace={namespace}", "--type=json", f"--patch={patch}")


def tell(system: MailSystem, pod: dict[str, Any], **annotations: str) -> None:
    """Annotate a pod, so that the kubelet looks at it, and so at its volumes, at once."""
    annotated = [f"{name}={text}" for name, text in annotations.items()] or [f"example.com/look={time.monotonic()}"]
    namespace = f"--namespace={system.namespace}"
    system.kubectl.run("annotate", "pod", pod["metadata"]["name"], namespace, "--overwrite", *annotated)


def wait_mounted(system: MailSystem, pod: dict[str, Any], piece: Piece, data: dict[str, str]) -> None:
    """Return when the rspamd container has before it what an object holds."""
    tell(system, pod)
    volume = processes.root_of(pod["metadata"]["uid"], "rspamd") / CANDIDATE
    decode = base64.b64decode if piece[0] == "secret" else str.encode
    files = {key: decode(text) for key, text in data.items()}

    def shown() -> bool:
        return all((volume / key).exists() and (volume / key).read_bytes() == content for key, content in files.items())

    eventually(shown, within_seconds=90, what=f"{piece[1]} in the pod as it was written")


def changed_spec(system: MailSystem) -> dict[str, Any]:
    """Write a change of scores (so another ConfigMap) and of domains (modules, keyring) that one mail can see."""
    groups = [{"name": "late", "symbols": [{"name": SYMBOL, "score": "7.5"}]}]
    domains = [domain for domain in system.mailfilter()["spec"]["domains"] if domain["name"] != DOMAIN]
    return {"metrics": {"groups": groups}, "domains": [*domains, {"name": DOMAIN, "dkim": {"activation": "AtOnce"}}]}


@dataclass
class Seen:
    """What one pod was seen to do, from the first mail on."""

    mails: list[tuple[str, bool, bool]] = field(default_factory=list)
    """Answer, whether the score of the change counted, whether the domain of the change was signed for."""
    live: list[str] = field(default_factory=list)
    """Hash of the live configuration, whenever it was looked at."""
    mixed: list[str] = field(default_factory=list)
    """Files that were not those of their configuration."""

    def combinations(self) -> set[tuple[str, bool, bool]]:
        """What the mails met: the old configuration and the new one each have one of their own."""
        return set(self.mails)

    def more(self, number: int = 5) -> None:
        """Return when so many more mails and looks at the files have ended."""
        mails, looks = len(self.mails) + number, len(self.live) + number
        eventually(
            lambda: len(self.mails) >= mails and len(self.live) >= looks,
            within_seconds=120,
            what=f"{number} more mails and looks at the files",
        )


OLD, NEW = ("accept", False, False), ("accept", True, True)


@contextlib.contextmanager
def observed(system: MailSystem, pod: dict[str, Any]) -> Iterator[Seen]:
    """Watch one pod as long as the block lasts, by mails straight to it and by its files."""
    seen, finish = Seen(), threading.Event()
    root = processes.root_of(pod["metadata"]["uid"], "rspamd")
    salt = read(system).data["secret", f"{system.name}-credentials"]["salt"]
    address = pod["status"]["podIP"]
    jobs: tuple[Callable[[], None], ...] = (
        lambda: seen.mails.append(_ask(address)),
        lambda: _look(root / LIVE, base64.b64decode(salt), seen),
    )

    def repeat(job: Callable[[], None]) -> None:
        while not finish.wait(0.05):
            job()

    threads = [threading.Thread(target=repeat, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        finish.set()
        for thread in threads:
            thread.join()


def _ask(address: str) -> tuple[str, bool, bool]:
    """Send a mail of a user of the new domain that lacks a date."""
    user = f"me@{DOMAIN}"
    mail = UNDATED.replace(b"dave@example.net", user.encode())
    try:
        verdict = milter.scan(mail, MILTER_PORT, host=address, sender=user, username=user)
    except OSError as error:
        return type(error).__name__, False, False
    headers = verdict.headers
    signed = any(name == "DKIM-Signature" and f"d={DOMAIN};" in value for name, value in headers)
    return verdict.reply, any(name == MARK for name, _ in headers), signed


def _look(live: Path, salt: bytes, seen: Seen) -> None:
    """Compare every file of the live configuration with the manifest, and that with its name."""
    name = live.readlink().name
    copy = live.parent / "candidates" / name
    try:
        manifest = (copy / "manifest").read_bytes()
        wrong = [] if hashlib.sha256(manifest).hexdigest() == name else ["manifest"]
        for line in manifest.decode().splitlines():
            wanted, _, path = line.split()
            if path.startswith("clamav/"):
                continue
            content = (copy / path).read_bytes()
            found = hashlib.sha256((salt if wanted.startswith("salted:") else b"") + content).hexdigest()
            if found != wanted.removeprefix("salted:"):
                wrong.append(path)
    except FileNotFoundError as error:
        if live.readlink().name != name:
            return  # it was replaced meanwhile, and goes once no worker can read it any more
        wrong = [f"missing: {error.filename}"]
    seen.live.append(name)
    seen.mixed += [f"{name}: {path}" for path in wrong]


def active(pod: dict[str, Any]) -> str | None:
    """Return the hash of what a pod says it serves."""
    found: str | None = pods.report(pod)["active"]
    return found
