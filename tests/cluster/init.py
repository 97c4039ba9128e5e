"""Process 1 of a tier: `python3 -m tests.cluster.init` with a plan as JSON on standard input.

It runs in PID, mount and UTS namespaces of its own.  When it dies, the kernel kills every process of the
tier, containers included, and with the last of them every mount is gone: nothing has to be cleaned up
one by one, however the end came.

The plan has `hostname`, `tmpfs` (paths), `binds` (pairs: what, where), `progress` (path) and `processes`,
each with `name`, `arguments`, `log`, `environment`, `after` (names) and `probe`: a process starts as soon as
the probes of those it comes after have succeeded.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

_STARTING_SECONDS = 0.05
_SETTLED_SECONDS = 0.5
_PROBE_SECONDS = 2.0


def _mount(plan: dict[str, Any]) -> None:
    """Hide the machine's directories that the tier would write to behind the tier's own."""
    # Pods' volumes are mounted by the kubelet and must show up in the containers.
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    for path in plan["tmpfs"]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path], check=True)
    for source, target in plan["binds"]:
        subprocess.run(["mount", "--bind", source, target], check=True)


def _probe(probe: dict[str, str]) -> bool:
    """Tell whether a probe succeeds: `socket` accepts, `url` answers 200 (with `ca` and `client`), or none at all."""
    try:
        if "socket" in probe:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_PROBE_SECONDS)
                connection.connect(probe["socket"])
        elif "url" in probe:
            context = None
            if "ca" in probe:
                context = ssl.create_default_context(cafile=probe["ca"])
                context.load_cert_chain(f"{probe['client']}.crt", f"{probe['client']}.key")
            request = urllib.request.Request(probe["url"])  # noqa: S310 - the plan's own http and https
            with urllib.request.urlopen(request, timeout=_PROBE_SECONDS, context=context) as answer:  # noqa: S310
                return bool(answer.status == 200)
    except OSError:
        return False
    return True


class _Processes:
    """The processes of the plan, and what has become of each."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._waiting: list[dict[str, Any]] = list(plan["processes"])
        self._starting: list[dict[str, Any]] = []
        self._names: dict[int, str] = {}
        self._path = Path(plan["progress"])
        self._began = time.monotonic()
        self._progress: dict[str, dict[str, Any]] = {"pids": {}, "ready": {}, "exited": {}}

    def _start(self, process: dict[str, Any]) -> None:
        with Path(process["log"]).open("ab") as log:
            child = subprocess.Popen(
                process["arguments"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **process["environment"]},
                start_new_session=True,
            )
        self._names[child.pid] = process["name"]
        self._progress["pids"][process["name"]] = child.pid
        self._starting.append(process)
        # Its exit is collected by `_reap` with all others; the object must not try as well.
        child.returncode = 0

    def _reap(self) -> bool:
        """Collect children and orphans that ended; tell whether one of the plan was among them."""
        changed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return changed
            if pid == 0:
                return changed
            if pid in self._names:
                self._progress["exited"][self._names.pop(pid)] = os.waitstatus_to_exitcode(status)
                changed = True

    def _ready(self) -> list[dict[str, Any]]:
        return [process for process in self._starting if _probe(process["probe"])]

    def step(self) -> float:
        """Start what may start, notice what is ready or gone, write it down; return the seconds to the next step."""
        changed = self._reap()
        ready = self._progress["ready"]
        for process in [one for one in self._waiting if set(one["after"]) <= ready.keys()]:
            self._waiting.remove(process)
            self._start(process)
            changed = True
        for process in self._ready():
            self._starting.remove(process)
            ready[process["name"]] = round(time.monotonic() - self._began, 2)
            changed = True
        if changed:
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(self._progress))
            fresh.rename(self._path)
        return _STARTING_SECONDS if self._waiting or self._starting else _SETTLED_SECONDS


def main() -> None:
    """Read the plan, start everything, and reap until the end."""
    text = sys.stdin.read()
    if not text:  # whoever started this died before it had recorded the process
        raise SystemExit("no plan on standard input")
    plan = json.loads(text)
    socket.sethostname(plan["hostname"])
    _mount(plan)
    processes = _Processes(plan)
    while True:
        time.sleep(processes.step())


if __name__ == "__main__":
    main()
