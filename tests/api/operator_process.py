"""The operator as a process beside an API server without a node, with the rights of its own account and no others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.connection import Connection
from tests.mail.polling import eventually

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "manifests" / "install.yaml"
NAMESPACE = "mailfilter-system"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:mailfilter-operator"
_MUTATING = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass
class OperatorProcess:
    """One operator; `start` returns when it holds the Lease, `stop` when it has ended."""

    api: Connection
    directory: Path
    resync_seconds: float = 600
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """What it printed since the first start."""
        return self.directory / "operator.log"

    def start(self) -> None:
        """Start it with a token of its ServiceAccount."""
        variables = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig()),
            "MAILFILTER_IMAGE": "localhost/mailfilter:0.1.0",
            "MAILFILTER_HEALTH_PORT": str(_free_port()),
            "MAILFILTER_RESYNC_SECONDS": str(self.resync_seconds),
            "POD_NAMESPACE": NAMESPACE,
            "POD_NAME": f"process-{time.monotonic_ns()}",
            "PYTHONPATH": str(ROOT / "operator"),
        }
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mailfilter_operator"], env=variables, stdout=log, stderr=log
            )
        eventually(
            lambda: b"holds the Lease" in self.log.read_bytes()[seen:], within_seconds=60, what="an operator at work"
        )

    def stop(self) -> int:
        """End it as Kubernetes does; return its exit status."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(timeout=30)
        self._process = None
        return status

    def kill(self) -> None:
        """End it without a chance to do anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=30)
        self._process = None

    def mutating_requests(self, since: int) -> list[str]:
        """Return what it asked the API server to change after the first *since* audit events, the Lease left out."""
        return [
            f"{event['verb']} {reference.get('resource')} {reference.get('namespace')}/{reference.get('name')}"
            for event in self.api.audit_events()[since:]
            if _user(event) == ACCOUNT and event["verb"] in _MUTATING
            for reference in [_reference(event)]
            if reference.get("resource") != "leases"
        ]

    def _kubeconfig(self) -> Path:
        token = self.api.kubectl("create", "token", "mailfilter-operator", f"--namespace={NAMESPACE}").strip()
        config = json.loads(self.api.kubectl("config", "view", "--raw", "--minify", "--output=json"))
        config["users"][0]["user"] = {"token": token}
        path = self.directory / "operator.conf"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _user(event: dict[str, Any]) -> str:
    return str((event.get("user") or {}).get("username"))


def _reference(event: dict[str, Any]) -> dict[str, str]:
    return dict(event.get("objectRef") or {})
