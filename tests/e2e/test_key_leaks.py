"""P3: a private key is seen in its Secret and in the keyring, nowhere else; nor are passwords and text of Secrets."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.demo.installation import OPERATOR_NAMESPACE
from tests.e2e import changes, leaks, plants, pods, processes, test_web
from tests.mail import messages
from tests.mail.kubectl import Kubectl, KubectlError
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

SECRET_NAME = "leaks-text"  # noqa: S105 - a name
SECRET_TEXT = "q7Zp0fXkTn3vLw9sBy2mHc6d"  # noqa: S105 - what is looked for
PROXY = {"url": "http://127.0.0.1:9", "username": "filter", "password": "d6cHm2yBs9wLv3nTkXf0pZ7qRr1"}
"""A proxy that does not answer: what is there of signatures stays."""


@pytest.fixture
def keys(system: MailSystem) -> list[bytes]:
    """Provide the private keys of the MailFilter as PEM."""
    secrets = [
        secret
        for secret in system.kubectl.items("secrets", f"--namespace={system.namespace}")
        if secret["metadata"]["name"].startswith(f"{system.name}-dkim-")
    ]
    found = [
        content
        for secret in secrets
        for value in secret["data"].values()
        if b"PRIVATE KEY" in (content := base64.b64decode(value))
    ]
    assert len(found) == len(system.mailfilter()["spec"]["domains"])
    return found


@pytest.fixture
def talkative(system: MailSystem) -> Iterator[MailSystem]:
    """Provide the mail system with a filter that logs all it can."""
    try:
        changes.change(system, {"logging": {"level": "Debug"}})
        yield system
    finally:
        changes.patch_spec(system, {"logging": None})
        changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])


def test_no_key_is_seen_outside_secrets(
    talkative: MailSystem, keys: list[bytes], figure: Callable[[str], None]
) -> None:
    """Also in what a filter logs that loads keys and signs at level Debug."""
    system = talkative
    for user in (messages.ALICE, messages.CAROL):
        assert system.submit(messages.clean(user, messages.DAVE), user).accepted
    logs = _logs(system)
    (pod,) = system.filter_pods()
    for container in ("rspamd", "clamd", "freshclam"):
        assert logs[_log_name(system.namespace, pod["metadata"]["name"], container)]
    assert any(name.startswith(f"log {OPERATOR_NAMESPACE}/") and text for name, text in logs.items())
    assert "dkim" in logs[_log_name(system.namespace, pod["metadata"]["name"], "rspamd")], "the level is not Debug"
    texts = {**_objects(system.kubectl), **logs}
    assert any(name.startswith("configmaps") for name in texts)
    pieces = leaks.pieces(keys)
    size = sum(map(len, texts.values()))
    figure(f"{len(pieces)} pieces of private keys searched in {len(texts)} texts of {size} characters")
    assert leaks.find_leaks(pieces, texts) == {}
    # Where the keys belong the search does find them: encoded once in the key, twice in the Secret.
    keyring = system.kubectl.run("get", "secret", f"{system.name}-keyring", f"--namespace={system.namespace}", "-ojson")
    assert leaks.find_leaks(pieces, {"key": keys[0].decode(), "keyring": keyring}).keys() == {"key", "keyring"}


@pytest.fixture
def with_secret_text(system: MailSystem) -> Iterator[MailSystem]:
    """Provide the mail system with rspamd files from a Secret: one that serves, then one that rspamd refuses.

    freshclam has a proxy with a password.
    """
    namespace = f"--namespace={system.namespace}"
    good = f"# {SECRET_TEXT}\n192.0.2.77\n"
    bad = f'own {{ type = "{SECRET_TEXT}"; {SECRET_TEXT} = = "{SECRET_TEXT}" ;;; {{\n'
    try:
        _apply_secret(system, {"good": good, "bad": bad, **PROXY})
        listed = {"name": SECRET_NAME, "key": "good", "path": "maps/own"}
        changes.patch_spec(system, {"logging": {"level": "Debug"}, "config": {"secretRefs": [listed]}})
        changes.patch_spec(system, _with_proxy({"name": SECRET_NAME}))
        changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
        broken = {"name": SECRET_NAME, "key": "bad", "path": "local.d/multimap.conf"}
        changes.patch_spec(system, {"config": {"secretRefs": [listed, broken]}})
        eventually(lambda: _refused(system), within_seconds=120, what="the refusal of the broken text")
        yield system
    finally:
        changes.patch_spec(system, {"logging": None, "config": None, **_with_proxy(None)})
        changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
        system.kubectl.run("delete", "secret", SECRET_NAME, namespace)


def test_no_password_and_no_text_of_a_secret_is_seen_outside_secrets(
    with_secret_text: MailSystem, figure: Callable[[str], None]
) -> None:
    """Also not the hash of the password, and not in what is said of a text that rspamd does not understand."""
    system = with_secret_text
    secret = test_web.password(system)
    credentials = system.kubectl.get("secret", f"{system.name}-credentials", f"--namespace={system.namespace}")["data"]
    texts_of = {key: base64.b64decode(text).decode() for key, text in credentials.items()}
    (password_hash,) = set(re.findall(r'\\u00241(\\u0024[^"]{80,})"', texts_of["override.d_worker-controller.inc"]))
    assert test_web.status(test_web.address(system), "/history", {"Password": secret}) == 200
    assert SECRET_TEXT in texts_of["maps_own"]
    own = system.kubectl.get("secret", f"{system.name}-freshclam", f"--namespace={system.namespace}")["data"]
    assert PROXY["password"] in base64.b64decode(own["freshclam_proxy.conf"]).decode()
    (pod,) = system.filter_pods()
    freshclam = processes.root_of(pod["metadata"]["uid"], "freshclam") / "run/mailfilter"
    eventually(
        lambda: PROXY["password"] in (freshclam / "settings.conf").read_text(),
        within_seconds=60,
        what="the proxy in use",
    )
    hashes = [password_hash.replace("\\u0024", "$"), password_hash]
    pieces = leaks.text_pieces([secret, *hashes, SECRET_TEXT, PROXY["password"]])
    reports = {f"report {pod['metadata']['name']}": pods.fetch(pod, "state") for pod in system.filter_pods()}
    texts = {**_objects(system.kubectl), **_logs(system), **reports}
    figure(f"{len(pieces)} pieces of passwords and secret text searched in {len(texts)} texts")
    assert leaks.find_leaks(pieces, texts) == {}
    assert leaks.find_leaks(pieces, texts_of).keys() >= {"override.d_worker-controller.inc", "maps_own"}


def test_planted_leaks_are_found(system: MailSystem, keys: list[bytes]) -> None:
    """Forty bytes out of the middle of a number are enough, at each alignment, encoded once or twice."""
    planted = {
        f"planted-{before}-{times}": _encoded(leaks.private_numbers(keys[0])[0][100:140], before, times)
        for before in range(3)
        for times in (1, 2)
    }
    namespace = f"--namespace={system.namespace}"
    system.kubectl.apply(*(_configmap(system.namespace, name, text) for name, text in planted.items()))
    try:
        found = leaks.find_leaks(leaks.pieces(keys), _objects(system.kubectl))
        assert set(found) == {f"configmaps {system.namespace}/{name}" for name in planted}
    finally:
        system.kubectl.run("delete", "configmap", namespace, *planted)


def test_planted_leaks_are_found_wherever_text_can_be(system: MailSystem, keys: list[bytes]) -> None:
    """In an Event, in annotations of the MailFilter and of a child, in the status of a pod, in a container's log."""
    leak = f"key: {_encoded(leaks.private_numbers(keys[0])[0][100:140], 1, 1)}"
    (pod,) = system.filter_pods()
    filter_pod = pod["metadata"]["name"]
    expected = {
        f"events {system.namespace}/planted",
        f"mailfilters.mailfilter.dev {system.namespace}/{system.name}",
        f"services {system.namespace}/{system.name}",
        f"pods {system.namespace}/{filter_pod}",
        _log_name(system.namespace, "planted", "first"),
        _log_name(system.namespace, "planted", "second"),
    }
    try:
        plants.plant(system, filter_pod, leak)
        texts = {**_objects(system.kubectl), **_logs(system)}
        found = set(leaks.find_leaks(leaks.pieces(keys), texts))
        # Events are listed under both of their groups.
        assert found - {f"events.events.k8s.io {system.namespace}/planted"} == expected
    finally:
        plants.remove(system, filter_pod)


def _apply_secret(system: MailSystem, texts: dict[str, str]) -> None:
    metadata = {"name": SECRET_NAME, "namespace": system.namespace}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    # Not by `kubectl apply`, which would write it to an annotation.
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    system.kubectl.output("create", "--filename=-", stdin=json.dumps(body).encode())


def _with_proxy(reference: dict[str, str] | None) -> dict[str, Any]:
    return {"antivirus": {"signatures": {"proxySecretRef": reference}}}


def _refused(system: MailSystem) -> bool:
    found = changes.condition(system.mailfilter(), "ConfigApplied")
    return found.get("reason") == "ConfigRefused"


def _encoded(content: bytes, before: int, times: int) -> str:
    for _ in range(times):
        content = base64.b64encode(b"." * before + content)
    return content.decode()


def _configmap(namespace: str, name: str, text: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"note": f"key: {text}"},
    }


def _objects(kubectl: Kubectl) -> dict[str, str]:
    """Return every object of the cluster that can be listed as JSON text; of Secrets only the metadata."""
    texts = {}
    kinds = kubectl.run("api-resources", "--verbs=list", "--output=name").split()
    for kind in kinds:
        for item in kubectl.items(kind, "--all-namespaces", "--show-managed-fields"):
            metadata = item["metadata"]
            shown = {key: value for key, value in item.items() if kind != "secrets" or key != "data"}
            texts[f"{kind} {metadata.get('namespace', '')}/{metadata['name']}"] = json.dumps(shown)
    return texts


def _logs(system: MailSystem) -> dict[str, str]:
    """Return the logs of all containers of filter and operator, of their last runs too."""
    texts = {}
    for namespace in (system.namespace, OPERATOR_NAMESPACE):
        for pod in system.kubectl.items("pods", f"--namespace={namespace}"):
            spec = pod["spec"]
            for container in spec["containers"] + spec.get("initContainers", []):
                arguments = (f"--namespace={namespace}", pod["metadata"]["name"], f"--container={container['name']}")
                name = _log_name(namespace, pod["metadata"]["name"], container["name"])
                texts[name] = _current_log(system.kubectl, arguments)
                # A container without an earlier run has no previous log.
                with contextlib.suppress(KubectlError):
                    texts[f"{name} previous"] = system.kubectl.run("logs", "--previous", *arguments)
    return texts


def _log_name(namespace: str, pod: str, container: str) -> str:
    return f"log {namespace}/{pod} {container}"


def _current_log(kubectl: Kubectl, arguments: tuple[str, str, str]) -> str:
    """Return the log of a container's present run; raises KubectlError unless its pod has gone meanwhile."""
    try:
        return kubectl.run("logs", *arguments)
    except KubectlError:
        namespace, pod, _ = arguments
        found = kubectl.output("get", "pod", pod, namespace, "--ignore-not-found", "--output=json")
        if found and "deletionTimestamp" not in json.loads(found)["metadata"]:
            raise
        return ""
