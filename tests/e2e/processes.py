"""Processes of a pod's containers as the machine sees them, to be killed and stopped by their ids.

A container's cgroup path holds the id of its pod, and an entry point keeps the name of its program from the
first instruction on (`/usr/lib/mailfilter/clamd` is called clamd, and so is what it executes).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.mail.polling import eventually


def find(pod_uid: str, program: str) -> list[int]:
    """Return the ids of the processes called *program* in the pod, oldest first."""
    found = [entry for entry in Path("/proc").glob("[0-9]*") if _belongs(entry, pod_uid, program)]
    return [int(entry.name) for entry in sorted(found, key=_started)]


def _started(entry: Path) -> int:
    """When a process was started, in ticks: ids begin anew at 1 after the highest. One that has ended is the last."""
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return sys.maxsize


def _belongs(entry: Path, pod_uid: str, program: str) -> bool:
    try:
        return (entry / "comm").read_text().strip() == program and pod_uid in (entry / "cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def root_of(pod_uid: str, program: str) -> Path:
    """Return the root directory that *program* sees, reachable from outside."""

    def first() -> list[int]:
        return find(pod_uid, program)

    return Path(f"/proc/{eventually(first, within_seconds=30, what=f'a process {program}')[0]}/root")


def send_signal(pod_uid: str, program: str, number: signal.Signals) -> list[int]:
    """Send a signal to each process called *program* in the pod; return the ids that got it."""
    reached = []
    for pid in find(pod_uid, program):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            reached.append(pid)
    return reached


@contextlib.contextmanager
def kept_under(pod_uid: str, program: str, number: signal.Signals) -> Iterator[None]:
    """Send *number* to every process called *program*, restarted ones included, as long as the block lasts.

    What was stopped goes on afterwards; what was killed comes back as the kubelet likes.
    """
    finish = threading.Event()
    reached: set[int] = set()

    def insist() -> None:
        while not finish.wait(0.03):
            reached.update(send_signal(pod_uid, program, number))

    reached.update(send_signal(pod_uid, program, number))
    assert reached, f"no process {program} in pod {pod_uid}"
    thread = threading.Thread(target=insist, name=f"{number.name} to {program}")
    thread.start()
    try:
        yield
    finally:
        finish.set()
        thread.join()
        if number == signal.SIGSTOP:
            for pid in reached & set(find(pod_uid, program)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def empty_directory(path: Path) -> list[str]:
    """Remove all that is in *path*, directories too; return the names of the files that lay in it."""
    names = []
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)  # freshclam may write there meanwhile
        else:
            entry.unlink(missing_ok=True)
            names.append(entry.name)
    return names


def memory_bytes(pid: int) -> dict[str, int]:
    """Return the memory of the container that *pid* is in: by its cgroup, and resident in the process."""
    figures = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for base, name in (("memory", "memory.usage_in_bytes"), ("", "memory.current")):
            usage = Path("/sys/fs/cgroup") / base / path.lstrip("/") / name
            if base in controllers.split(",") and usage.exists():
                figures["cgroup"] = int(usage.read_text())
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            figures["resident"] = int(line.split()[1]) * 1024
    return figures


def ask_clamd(path: Path, command: bytes) -> bytes:
    """Send a command to clamd's socket and return the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(b"z" + command + b"\0")
        return connection.recv(4096).rstrip(b"\0")
