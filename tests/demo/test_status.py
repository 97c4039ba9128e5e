"""The demo's exit status, without a cluster; the full tier runs the demo itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.demo import __main__ as demo
from tests.demo import installation
from tests.demo.rows import Outcome, Row
from tests.mail import system as mail_system
from tests.mail.kubectl import KubectlError
from tests.mail.smtp import Reply

RECORD = {"zoneLine": 'mf._domainkey.example.com. 3600 IN TXT "v=DKIM1"'}


def row(name: str, check: Callable[[Any], Outcome]) -> Row:
    return Row(f"row {name}", "what it promises", check)


def fail(_system: object) -> Outcome:
    raise KubectlError("kubectl get pods: no such host")


HOLDS = row("good", lambda _: Outcome("250 [as promised]", ok=True))
FAILS = row("bad", lambda _: Outcome("250 accepted", ok=False))
BREAKS = row("broken", fail)


class _System:
    """Stands for the mail system of a cluster that there is not."""

    kubectl = None

    def publish_records(self) -> None:
        """Publish nothing."""


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every step before the rows succeed without one."""
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    monkeypatch.setattr(mail_system, "start", lambda _kubectl: _System())
    monkeypatch.setattr(installation, "install_operator", lambda _system: None)
    monkeypatch.setattr(installation, "apply_mailfilter", lambda _system: 4.2)
    monkeypatch.setattr(installation, "wait_ready", lambda _system: None)
    monkeypatch.setattr(installation, "wait_signing", lambda _system: None)
    monkeypatch.setattr(installation, "wait_records", lambda _system: [RECORD])


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize(
    ("rows", "status", "shown"),
    [
        ((HOLDS,), 0, "as promised"),
        ((HOLDS, FAILS), 1, "FAILED: row bad"),
        ((FAILS, HOLDS), 1, "FAILED: row bad"),
        ((BREAKS, HOLDS), 1, "FAILED: row broken"),
    ],
    ids=["all hold", "last fails", "first fails", "one cannot be tried"],
)
def test_status_is_zero_only_if_every_row_holds(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rows: tuple[Row, ...],
    status: int,
    shown: str,
) -> None:
    monkeypatch.setattr(demo, "ROWS", rows)
    assert demo.main() == status
    printed = capsys.readouterr().out
    assert shown in printed
    assert all(entry.name in printed for entry in rows)
    assert RECORD["zoneLine"] in printed
    assert "4.2 s" in printed


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize(
    "failure",
    [KubectlError("kubectl apply: refused"), TimeoutError("DNS records: not within 60 s"), RuntimeError("accepted")],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("step", ["install_operator", "apply_mailfilter", "wait_ready", "wait_records"])
def test_status_is_not_zero_if_it_ends_early(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str, failure: Exception
) -> None:
    def end(_system: object) -> None:
        raise failure

    monkeypatch.setattr(demo, "ROWS", (HOLDS,))
    monkeypatch.setattr(installation, step, end)
    assert demo.main() == 1
    assert str(failure) in capsys.readouterr().err


def test_the_process_ends_with_that_status() -> None:
    """As `make` sees it; here for want of a cluster."""
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo"],
        cwd=installation.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "The demo ended early: KUBECONFIG is not set" in done.stderr


def test_a_virus_that_is_accepted_before_the_filter_is_there_ends_the_demo() -> None:
    class Kubectl:
        def apply_files(self, paths: list[object]) -> None:
            assert paths == [installation.MAILFILTER]

    class Accepting:
        kubectl = Kubectl()

        def receive(self, message: object) -> Reply:
            assert message
            return Reply(250, "queued", "DATA")

    with pytest.raises(RuntimeError, match="EICAR was accepted"):
        installation.apply_mailfilter(Accepting())  # type: ignore[arg-type]
