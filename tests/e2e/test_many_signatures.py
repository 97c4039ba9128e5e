"""P1 and P2 with as many signatures as ClamAV's own: taken in, loaded at a start, and replaced, under constant mail.

SOAK_SIGNATURES is how many; without it a tenth of what `make soak` takes.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from email import policy
from pathlib import Path
from typing import Any

from tests.bench.memory import working_set
from tests.e2e import changes, constant_mail, databases, lossless, pods, processes
from tests.image import milter
from tests.mail import messages, offers, signatures
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

NUMBER = int(os.environ.get("SOAK_SIGNATURES") or 200_000)
WITHIN_SECONDS = 90 + NUMBER / 10_000
LONGEST_SECONDS = 3 * WITHIN_SECONDS
"""Mail is sent no longer than that."""
DATABASE = "many.hdb"
MILTER_PORT = 11332
SETTLED_ANSWERS = 40
"""After clamd was killed, so many answers in a row without a 451."""
TAKEN_IN, STARTED, REPLACED = "the signatures taken in", "clamd started with them", "the signatures replaced"
FIRST, SECOND = b"the first file that the database describes", b"the second file, which a later version describes"
MEBIBYTE = 2**20

Pods = list[dict[str, Any]]


def test_no_mail_is_lost_deferred_or_accepted_unscanned_while_signatures_are_loaded(
    two_pods: MailSystem, figure: Callable[[str], None]
) -> None:
    """Only when clamd is killed, so that it starts with them, mail may have to come again."""
    system, both = two_pods, two_pods.filter_pods()
    offered = {DATABASE: signatures.many_signatures(NUMBER) + signatures.file_signature("Many.First", FIRST)}
    urls = system.mailfilter()["spec"]["antivirus"]["signatures"]["customURLs"]
    with (
        offers.offering(offered) as url,
        constant_mail.sending(system, longest_seconds=LONGEST_SECONDS) as mail,
        observed(both) as memory,
    ):
        before = memory.now()

        mail.enter(TAKEN_IN)
        changes.patch_spec(system, {"antivirus": {"signatures": {"customURLs": [*urls, f"{url}{DATABASE}"]}}})
        taken_in = seconds_until_found(both, FIRST, "Many.First")

        mail.enter(STARTED)
        started = start_again(both[0])
        seconds_until_found(both, FIRST, "Many.First")
        pods.wait_ready(system, len(both))
        eventually(lambda: mail.undisturbed >= SETTLED_ANSWERS, within_seconds=60, what="mail flowing as before")
        loaded = memory.now()

        mail.enter(REPLACED)
        memory.forget()
        offered[DATABASE] += signatures.file_signature("Many.Second", SECOND)
        databases.fetch_again(map(databases.directory, both), DATABASE)
        replaced = seconds_until_found(both, SECOND, "Many.Second")
        peak, after = memory.peak(), memory.now()

    name = f"{NUMBER} signatures"
    figure(f"{name}: found in every pod {taken_in:.1f} s after the change of the spec")
    figure(f"{name}: clamd was told to start {started:.1f} s before it scanned; it loads in {loading(system, both)}")
    figure(f"{name}: replaced in every pod {replaced:.1f} s after freshclam was told to look")
    figure(f"{name}: clamd's memory before {before}, with them {loaded}, at most while replaced {peak}, after {after}")
    figure(f"{name}: {lossless.describe(mail)}; 451 by phase: {dict(mail.deferred())}")
    lossless.assert_lossless(system, mail, (TAKEN_IN, STARTED, REPLACED), {STARTED})


def seconds_until_found(both: Pods, content: bytes, name: str) -> float:
    """Return after how many seconds every pod refuses *content* as *name*."""
    started = time.monotonic()
    attached = messages.with_attachment(content, "application", "octet-stream", "sample.bin")
    message = attached.as_bytes(policy=policy.SMTP)

    def found() -> bool:
        verdicts = [milter.scan(message, MILTER_PORT, host=pod["status"]["podIP"]) for pod in both]
        return all(f"Virus found: {name}" in verdict.reply for verdict in verdicts)

    eventually(found, within_seconds=WITHIN_SECONDS, what=f"{name} found in every pod")
    return time.monotonic() - started


def start_again(pod: dict[str, Any]) -> float:
    """Kill clamd of a pod; return after how many seconds another one scans in its place."""
    uid = pod["metadata"]["uid"]
    started = time.monotonic()
    killed = processes.send_signal(uid, "clamd", signal.SIGKILL)
    assert killed, f"no clamd in pod {uid}"

    def scans() -> bool:
        assert not set(killed) & set(processes.find(uid, "clamd"))
        message = messages.with_eicar_zip().as_bytes(policy=policy.SMTP)
        return milter.scan(message, MILTER_PORT, host=pod["status"]["podIP"]).reply.startswith("554 5.7.1 Virus found")

    eventually(scans, within_seconds=WITHIN_SECONDS, what="another clamd")
    return time.monotonic() - started


def loading(system: MailSystem, both: Pods) -> str:
    """Write how long clamd took each time to load that many signatures, by its logs, which tell nothing of a start."""
    seconds = []
    for pod in both:
        named = (pod["metadata"]["name"], f"--namespace={system.namespace}", "--container=clamd", "--timestamps")
        begun = None
        for line in system.kubectl.run("logs", *named).splitlines():
            moment, _, said = line.partition(" ")
            number = re.search(r"reloaded \((\d+) signatures", said)
            if "Reading databases from" in said:
                begun = datetime.fromisoformat(moment)
            elif number and begun and int(number[1]) >= NUMBER:
                seconds.append((datetime.fromisoformat(moment) - begun).total_seconds())
    # When they came and when they were replaced, but for the one whose log begins between.
    assert len(seconds) == 2 * len(both) - 1, f"clamd's logs tell of {len(seconds)} times"
    return ", ".join(f"{value:.1f} s" for value in seconds)


class Memory:
    """The working sets of the pods' containers clamd, as the kubelet counts them."""

    def __init__(self, both: Pods) -> None:
        self._uids = [pod["metadata"]["uid"] for pod in both]
        self._groups: dict[str, str] = {}
        self._most = dict.fromkeys(self._uids, 0)

    def now(self) -> str:
        """Write the present ones."""
        self.look()
        return _mebibytes([self._read(uid) for uid in self._uids])

    def peak(self) -> str:
        """Write the greatest ones seen."""
        return _mebibytes(list(self._most.values()))

    def forget(self) -> None:
        """Begin anew to look for the greatest."""
        self._most = dict.fromkeys(self._uids, 0)

    def look(self) -> None:
        """Look once."""
        for uid in self._uids:
            self._most[uid] = max(self._most[uid], self._read(uid))

    def _read(self, uid: str) -> int:
        """Read one; 0 while the container is not there."""
        with contextlib.suppress(RuntimeError, FileNotFoundError, OSError):
            if uid in self._groups:
                return working_set(self._groups[uid])
        self._groups.pop(uid, None)
        with contextlib.suppress(IndexError, FileNotFoundError, ProcessLookupError):
            self._groups[uid] = Path(f"/proc/{processes.find(uid, 'clamd')[0]}/cgroup").read_text()
        return 0


@contextlib.contextmanager
def observed(both: Pods) -> Iterator[Memory]:
    """Look at the memory all the time as long as the block lasts."""
    memory, finish = Memory(both), threading.Event()
    memory.look()

    def repeat() -> None:
        while not finish.wait(0.1):
            memory.look()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield memory
    finally:
        finish.set()
        thread.join()


def _mebibytes(values: list[int]) -> str:
    return " and ".join(f"{value / MEBIBYTE:.0f}" for value in values) + " MiB"
