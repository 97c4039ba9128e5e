"""The cluster as a person reaches it: by kubectl, with the kubeconfig of the test cluster only."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Manifest = Mapping[str, Any]


class KubectlError(Exception):
    """Kubectl ended with an error; the text is what it said."""


def _kubeconfig() -> str:
    """Name the kubeconfig in use; the default one of the account is never touched."""
    path = os.environ.get("KUBECONFIG", "")
    if not path:
        raise KubectlError("KUBECONFIG is not set: run this by `python3 -m tests.cluster run -- ...`")
    return path


@dataclass(frozen=True)
class Kubectl:
    """kubectl with a kubeconfig that was named, never the current context of the account."""

    kubeconfig: str = field(default_factory=_kubeconfig)

    def output(self, *arguments: str, stdin: bytes | None = None, timeout_seconds: float = 120) -> bytes:
        """Return what ``kubectl *arguments*`` prints, byte for byte."""
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout_seconds,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise KubectlError(f"kubectl {' '.join(arguments)}: {said}")
        return done.stdout

    def run(self, *arguments: str, timeout_seconds: float = 120) -> str:
        """Return what ``kubectl *arguments*`` prints as text."""
        return self.output(*arguments, timeout_seconds=timeout_seconds).decode()

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object or a list as the API server shows it."""
        shown: dict[str, Any] = json.loads(self.output("get", "--output=json", *arguments))
        return shown

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects of a list."""
        found: list[dict[str, Any]] = self.get(*arguments)["items"]
        return found

    def exists(self, *arguments: str) -> bool:
        """Tell whether one object is there."""
        return bool(self.output("get", "--ignore-not-found", "--output=name", *arguments).strip())

    def apply(self, *objects: Manifest) -> None:
        """Apply objects given as data."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.output("apply", "--filename=-", stdin=json.dumps(document).encode())

    def apply_files(self, paths: Iterable[Path]) -> None:
        """Apply manifest files in the given order."""
        for path in paths:
            self.output("apply", f"--filename={path}")

    def wait_rolled_out(self, namespace: str, workload: str, *, within_seconds: int = 120) -> None:
        """Return when the pods of *workload* (``deployment/x``) are the wanted ones and ready."""
        self.output(
            "rollout", "status", workload, f"--namespace={namespace}", f"--timeout={within_seconds}s",
            timeout_seconds=within_seconds + 10,
        )  # fmt: skip

    def execute(self, namespace: str, target: str, *command: str, stdin: bytes | None = None) -> bytes:
        """Run *command* in *target* (``pod`` or ``deployment/x``), first container; return what it prints."""
        interactive = ["--stdin"] if stdin is not None else []
        return self.output("exec", f"--namespace={namespace}", *interactive, target, "--", *command, stdin=stdin)
