"""The web interface of the MailFilter, as somebody with kubectl and a browser opens it."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

from tests.mail import messages
from tests.mail.system import MailSystem
from tests.web.interface import visit


def password(system: MailSystem) -> str:
    """Return the password that the operator has made."""
    name = f"{system.name}-controller"
    printed = system.kubectl.output(
        "get", "secret", name, f"--namespace={system.namespace}", "--output=jsonpath={.data.password}"
    )
    return base64.b64decode(printed, validate=True).decode()


def address(system: MailSystem) -> str:
    """Return host and port of the Service."""
    service = system.kubectl.get("service", f"{system.name}-controller", f"--namespace={system.namespace}")
    return f"{service['spec']['clusterIP']}:11334"


def status(host_and_port: str, path: str, headers: dict[str, str]) -> int:
    """Return the status that a request is answered with."""
    connection = HTTPConnection(host_and_port, timeout=10)
    connection.request("GET", path, headers=headers)
    found = connection.getresponse().status
    connection.close()
    return found


def test_a_browser_logs_in_through_the_service_and_sees_the_mail(
    system: MailSystem, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    clean, spam, virus = messages.clean(), messages.with_gtube(), messages.with_eicar_body()
    assert system.receive(clean).accepted
    assert system.receive(spam).refused
    assert system.receive(virus).refused
    screenshot = tmp_path / "history.png"
    seen = visit(f"http://{address(system)}/", screenshot, wrong="wrong", right=password(system))
    figure(f"The web interface's history: {screenshot}")
    assert seen.refusal == "Request failed"
    assert seen.complaints == []
    assert seen.hosts == [address(system)]
    rows = {f"<{row.message_id}>": row for row in seen.history}
    assert [rows[mail["Message-ID"]].action == "reject" for mail in (clean, spam, virus)] == [False, True, True]
    assert "GTUBE" in rows[spam["Message-ID"]].details
    assert "CLAM_VIRUS" in rows[virus["Message-ID"]].details
    assert screenshot.stat().st_size > 0


def test_the_service_gives_nothing_to_those_without_the_password(system: MailSystem) -> None:
    assert status(address(system), "/history", {"Password": password(system)}) == 200
    for headers in ({}, {"Password": "wrong"}, {"Password": ""}, {"X-Forwarded-For": "127.0.0.1"}):
        assert status(address(system), "/history", headers) == 401, headers


def test_a_forwarded_port_needs_no_password(system: MailSystem) -> None:
    """As the README says: it ends inside the pod."""
    kubectl = ("kubectl", f"--kubeconfig={system.kubectl.kubeconfig}", f"--namespace={system.namespace}")
    command = (*kubectl, "port-forward", f"service/{system.name}-controller", ":11334")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forwarding:
        assert forwarding.stdout is not None
        try:
            said = forwarding.stdout.readline()  # "Forwarding from 127.0.0.1:40000 -> 11334"
            opened = said.split(" -> ")[0].rpartition(" ")[2]
            assert status(opened, "/history", {}) == 200
        finally:
            forwarding.terminate()
