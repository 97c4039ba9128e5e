"""Fixtures of the full tier: the operator's pod of install.yaml, a MailFilter, and mail systems around it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from tests.cluster.connection import Connection
from tests.cluster.fixtures import node
from tests.demo import installation
from tests.e2e import changes, evidence, pods, traffic
from tests.mail import system as mail_system
from tests.mail.kubectl import Kubectl
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

__all__ = ["node"]

REPLICAS = 2
_FIGURES: list[str] = []


@pytest.fixture
def figure() -> Callable[[str], None]:
    """Provide a function that keeps a measured figure for the end of the run; figures are shown, not judged."""
    return _FIGURES.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures that the tests kept."""
    if _FIGURES:
        terminalreporter.section("figures")
        for line in _FIGURES:
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the cluster says at that moment."""
    report = yield
    connection = getattr(item, "funcargs", {}).get("node")
    if report.failed and connection is not None:
        report.sections += list(evidence.collect(Kubectl(str(connection.kubeconfig))))
    return report


@pytest.fixture(scope="session")
def demo(node: Connection) -> subprocess.CompletedProcess[str]:
    """Run the demo as `make demo` does: it puts everything in place that the tests need; return how it ended."""
    return subprocess.run(
        [sys.executable, "-m", "tests.demo"],
        cwd=installation.ROOT,
        env={**os.environ, "KUBECONFIG": str(node.kubeconfig)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="session")
def installed(node: Connection, demo: subprocess.CompletedProcess[str]) -> MailSystem:
    """Provide the mail system with operator and MailFilter in place, zones loaded from its status."""
    print(demo.stdout)
    return mail_system.connect(Kubectl(str(node.kubeconfig)))


@pytest.fixture
def system(installed: MailSystem) -> MailSystem:
    """Provide the mail system in working order: filter Ready, clean mail accepted, EICAR refused."""
    installation.wait_ready(installed)
    traffic.wait_filtering(installed, within_seconds=60)
    return installed


@pytest.fixture(scope="module")
def scaled(installed: MailSystem) -> Iterator[MailSystem]:
    """Provide the mail system with a MailFilter that was scaled to two pods, itself and by `kubectl scale`."""
    _scale(installed, REPLICAS)
    yield installed
    _scale(installed, 1)


@pytest.fixture
def two_pods(scaled: MailSystem, system: MailSystem) -> Iterator[MailSystem]:
    """Provide the mail system in working order with two pods; the configuration is as before afterwards."""
    assert scaled is system
    before = system.mailfilter()["spec"]
    yield system
    changes.restore(system, before, "metrics", "domains", "antivirus")


def _scale(system: MailSystem, number: int) -> None:
    namespace = f"--namespace={system.namespace}"
    system.kubectl.run("scale", "mailfilter", system.name, namespace, f"--replicas={number}")
    pods.wait_ready(system, number)
    changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])


@pytest.fixture
def filter_pod(system: MailSystem) -> Iterator[dict[str, Any]]:
    """Provide the filter's pod to break; port 2525 leads straight to it.

    The pod is replaced afterwards, so that the kubelet's back-off of killed containers does not reach the
    next test.
    """
    (pod,) = eventually(system.filter_pods, within_seconds=60, what="the filter's pod")
    system.point_at_pod()
    yield pod
    replace_pod(system, pod)


def replace_pod(system: MailSystem, pod: dict[str, Any]) -> None:
    """Delete *pod* and return when another one filters mail."""
    name = pod["metadata"]["name"]
    namespace = f"--namespace={system.namespace}"
    system.kubectl.run("delete", "pod", name, namespace, "--grace-period=1", "--ignore-not-found")

    def replaced() -> bool:
        others = system.filter_pods()
        return bool(others) and all(pods.is_ready(other) for other in others)

    eventually(replaced, within_seconds=120, what=f"a ready pod in place of {name}")
