"""Keys of a MailFilter with many domains, made through the operator, over the bare making of such keys."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from tests.bench.figures import Figure
from tests.demo.installation import OPERATOR_NAMESPACE
from tests.e2e import operators
from tests.mail.kubectl import Kubectl

DOMAINS = 40
BITS = 4096
ROUNDS = 2
NAMESPACE = "bench-keys"
NAME = "keys"
LONGEST_SECONDS = 180.0


@dataclass(frozen=True)
class Cost:
    """What the keys took: seconds from beginning to end, and processor seconds."""

    seconds: float
    processor: float


def measure(kubectl: Kubectl) -> list[Figure]:
    """Make the keys ROUNDS times each way, in turn: how long it takes to find primes differs from time to time."""
    bare, ours = [], []
    for _ in range(ROUNDS):
        bare.append(make_bare(DOMAINS, BITS))
        ours.append(_make_by_operator(kubectl))
    basis = (
        f"{ROUNDS} times {DOMAINS} domains, RSA of {BITS} bits and Ed25519 each, from kubectl to the last key Secret, "
        f"in turn with the same kinds of keys on {os.cpu_count()} threads alone; each round makes other keys, by which "
        "single rounds differ"
    )
    processor = "the operator's alone; unlike the time it does not depend on what else the machine does"
    elapsed = describe_ratio([cost.seconds for cost in ours], [cost.seconds for cost in bare])
    spent = describe_ratio([cost.processor for cost in ours], [cost.processor for cost in bare])
    return [
        Figure("keys of a MailFilter over the bare keys", elapsed, "<= 1.25", basis),
        Figure("the same in processor seconds", spent, "", processor),
    ]


def describe_ratio(ours: list[float], bare: list[float]) -> str:
    """Write the ratio of all seconds, those of each round beside it."""
    rounds = ", ".join(f"{one:.1f} s / {other:.1f} s" for one, other in zip(ours, bare, strict=True))
    return f"{sum(ours) / sum(bare):.2f} ({rounds})"


def make_bare(domains: int, bits: int) -> Cost:
    """Make an RSA and an Ed25519 key for each domain on all processors, and nothing else."""

    def make(_: int) -> None:
        rsa.generate_private_key(public_exponent=65537, key_size=bits)
        ed25519.Ed25519PrivateKey.generate()

    started, spent = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(make, range(domains)))
    return Cost(time.monotonic() - started, time.process_time() - spent)


def _make_by_operator(kubectl: Kubectl) -> Cost:
    """Apply the MailFilter and wait for its last key Secret; all of it is gone afterwards.

    Raises RuntimeError if not all keys are made within LONGEST_SECONDS.
    """
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    try:
        started, spent = time.monotonic(), _operator_seconds(kubectl)
        kubectl.apply(_mailfilter())
        made = set()
        for name in _watch_secrets(kubectl):
            made |= {name} if "-dkim-" in name else set()
            if len(made) == 2 * DOMAINS:
                return Cost(time.monotonic() - started, _operator_seconds(kubectl) - spent)
        raise RuntimeError(f"{len(made)} of {2 * DOMAINS} keys were made within {LONGEST_SECONDS:g} s")
    finally:
        # Also its pods: nothing else shall run while bare keys are made.
        kubectl.run("delete", "namespace", NAMESPACE, "--timeout=120s", timeout_seconds=130)


def _operator_seconds(kubectl: Kubectl) -> float:
    """Return the processor seconds of the operator's processes since they were started."""
    pods = kubectl.items("pods", f"--namespace={OPERATOR_NAMESPACE}")
    processes = [pid for pod in pods for pid in operators.find_processes(pod["metadata"]["uid"])]
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in processes]
    return sum(int(ticks) for stat in stats for ticks in stat[11:13]) / os.sysconf("SC_CLK_TCK")


def _watch_secrets(kubectl: Kubectl) -> Iterator[str]:
    """Yield the name of each Secret whenever something is heard of it, for LONGEST_SECONDS."""
    options = (f"--namespace={NAMESPACE}", "--watch", "--output=name")
    command = ["kubectl", f"--kubeconfig={kubectl.kubeconfig}", "get", "secrets", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        timer = threading.Timer(LONGEST_SECONDS, watch.terminate)
        timer.start()
        try:
            for line in watch.stdout or ():
                yield line.strip()
        finally:
            timer.cancel()
            watch.terminate()


def _mailfilter() -> dict[str, Any]:
    """The MailFilter whose keys are made."""
    return {
        "apiVersion": "mailfilter.dev/v1alpha1",
        "kind": "MailFilter",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "domains": [{"name": f"keys{number}.example.com"} for number in range(DOMAINS)],
            "dkim": {"activation": "AtOnce", "algorithms": ["RSA", "Ed25519"], "keyBits": BITS},
            "antivirus": {
                "signatures": {"source": "CustomOnly", "customURLs": ["http://signatures.mail.svc:8080/local.ndb"]}
            },
        },
    }
