"""Headers, lists, own text and the workers' fields do in the real rspamd what the spec says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.image.messages import CLEAN, GTUBE, INFECTED, message
from tests.image.pod import Pod
from tests.image.test_rendered import STRANGER, start
from tests.image.web import ask
from tests.unit import samples

LISTED = {"from": ["Friend@example.org"], "domains": ["partner.example"], "networks": ["192.0.2.0/24", "2001:db8::25"]}
UNWANTED = {"from": ["foe@example.org"], "domains": ["foes.example"], "networks": ["203.0.113.9"]}
OWN_RULE = """OWN_SUBJECT {
  type = "header"; header = "subject"; map = "$LOCAL_CONFDIR/maps/subjects"; regexp = true; score = 3.5;
  description = "{{ text }} {% if text %} {= env.HOME =} {# text #}";
}
"""
ADDRESS = "10.9.8.7"
"""Another address of the pod, as its Services have: one that nobody is trusted from."""


@pytest.fixture(scope="module")
def full(make_pod: Callable[[], Pod]) -> Pod:
    """Provide a pod with all that has a field."""
    pod = make_pod()
    pod.on_network("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    spec: dict[str, Any] = {
        "domains": [{"name": "example.com"}],
        "headers": ["SpamStatus", "SpamdResult", "SpamdBar", "SpamLevel"],
        "lists": {"allow": LISTED, "deny": UNWANTED},
        "metrics": {
            "groups": [{"name": "mailfilter", "symbols": [{"name": "MAILFILTER_DENY_NETWORK", "score": "4.5"}]}]
        },
        "workers": {"normal": {"enabled": True}},
        "config": {"files": {"local.d/multimap.conf": OWN_RULE, "maps/subjects": "/watches \\{\\{ cheap/\n"}},
    }
    return start(pod, spec)


def headers(pod: Pod, mail: bytes, *arguments: str) -> dict[str, str]:
    """Return the header fields that are added to an accepted mail."""
    verdict = pod.scan(mail, *arguments)
    assert verdict.reply == "accept"
    return dict(verdict.headers)


def symbols(pod: Pod, mail: bytes, *arguments: str) -> dict[str, float]:
    """Return symbols with their scores, as the header SpamdResult lists them."""
    found = re.findall(r"([A-Z0-9_]+)\((-?[0-9.]+)\)", headers(pod, mail, *arguments)["X-Spamd-Result"])
    return {name: float(score) for name, score in found}


def test_headers_are_those_of_the_spec(full: Pod) -> None:
    found = headers(full, CLEAN)

    assert {"X-Spam-Status", "X-Spamd-Result", "X-Spamd-Bar", "X-Spam-Level"} <= set(found)
    assert re.match(r"(Yes|No), score=[0-9.]+$", found["X-Spam-Status"])
    assert set(found["X-Spam-Level"]) == {"*"}
    assert headers(full, CLEAN, "192.0.2.7")["X-Spam-Status"].startswith("No, score=-")
    assert "Authentication-Results" not in found


def test_own_rules_survive_beside_the_lists_and_their_template_marks_are_text(full: Pod) -> None:
    found = symbols(full, message(b"hello", subject="watches {{ cheap"), "203.0.113.9")

    assert found["OWN_SUBJECT"] == 3.5
    assert found["MAILFILTER_DENY_NETWORK"] == 4.5, "spec.metrics says so"
    assert "OWN_SUBJECT" not in symbols(full, CLEAN)


@pytest.mark.parametrize(
    ("symbol", "arguments"),
    [
        ("MAILFILTER_ALLOW_FROM", (STRANGER, "friend@EXAMPLE.org")),
        ("MAILFILTER_ALLOW_DOMAIN", (STRANGER, "any@Partner.example")),
        ("MAILFILTER_ALLOW_NETWORK", ("192.0.2.7", "a@example.net")),
    ],
)
def test_allowed_senders_get_a_better_score(full: Pod, symbol: str, arguments: tuple[str, ...]) -> None:
    assert symbols(full, CLEAN, *arguments)[symbol] == -20
    assert symbol not in symbols(full, CLEAN, STRANGER, "a@sub.partner.example")


def test_sender_in_envelope_and_header_counts_once(full: Pod) -> None:
    mail = message(b"hello", sender="any@partner.example")

    assert symbols(full, mail, STRANGER, "other@partner.example")["MAILFILTER_ALLOW_DOMAIN"] == -20
    assert symbols(full, mail, STRANGER, "other@example.net")["MAILFILTER_ALLOW_DOMAIN"] == -20


@pytest.mark.parametrize("sender", ["foe@example.org", "any@foes.example"])
def test_denied_senders_are_refused(full: Pod, sender: str) -> None:
    assert full.scan(CLEAN, STRANGER, sender).reply.startswith("554 5.7.1")


@pytest.mark.parametrize("kind", INFECTED)
def test_no_list_bypasses_the_virus_scan(full: Pod, kind: str) -> None:
    for client, sender in (("192.0.2.7", "friend@example.org"), ("203.0.113.9", "foe@example.org")):
        assert "Eicar" in full.scan(INFECTED[kind], client, sender).reply


def test_no_list_bypasses_the_signing(full: Pod) -> None:
    for client in ("192.0.2.7", "203.0.113.9"):
        added = headers(full, message(b"hello", sender="me@example.com"), client, "me@example.com", "me@example.com")
        assert "d=example.com" in added["DKIM-Signature"]


def test_web_interface_asks_for_the_password(full: Pod) -> None:
    """Whoever comes from elsewhere; 127.0.0.1 is trusted."""

    def status(path: str, password: str = "", body: bytes = b"") -> int:
        return ask(full, 11334, path, password, body, ADDRESS).status

    assert status("/stat") == 401
    assert status("/stat", "wrong") == 401
    assert status("/stat", samples.PASSWORD) == 200
    assert status("/learnspam", "wrong", CLEAN) == 401
    assert status("/actions", samples.PASSWORD) == 200
    assert ask(full, 11334, "/stat").status == 200


def test_scans_over_http_find_viruses_and_spam(full: Pod) -> None:
    def action(mail: bytes) -> str:
        answer = ask(full, 11333, "/checkv2", body=mail, address=ADDRESS)
        assert answer.status == 200
        found: str = json.loads(answer.text)["action"]
        return found

    assert action(CLEAN) == "no action"
    assert action(message(GTUBE)) == "reject"
    assert action(INFECTED["zip"]) == "reject"


def test_without_being_asked_for_nothing_scans_over_http(make_pod: Callable[[], Pod]) -> None:
    trusted = {"controller": {"secureNetworks": [f"{ADDRESS}/32"]}}
    pod = start(make_pod(), {"workers": trusted, "headers": [], "actions": {"addHeader": "Disabled"}})
    pod.on_network("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")

    assert ":11333" not in pod.on_network("ss", "--listening", "--tcp", "--numeric")
    assert ask(pod, 11334, "/stat", address=ADDRESS).status == 200, "a trusted network needs no password"
    assert headers(pod, CLEAN) == {}
    pod.remove()
