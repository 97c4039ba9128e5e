"""P3: a private key is seen in its Secret and in the keyring, nowhere else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from tests.demo.installation import OPERATOR_NAMESPACE
from tests.e2e import leaks
from tests.mail import messages
from tests.mail.kubectl import Kubectl, KubectlError
from tests.mail.system import MailSystem


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


def test_no_key_is_seen_outside_secrets(system: MailSystem, keys: list[bytes], figure: Callable[[str], None]) -> None:
    message = messages.clean(messages.ALICE, messages.DAVE)
    assert system.submit(message, messages.ALICE).accepted
    texts = {**_objects(system.kubectl), **_logs(system)}
    assert any(name.startswith("configmaps") for name in texts)
    assert any("operator" in name and name.startswith("log") and text for name, text in texts.items())
    pieces = leaks.pieces(keys)
    size = sum(map(len, texts.values()))
    figure(f"{len(pieces)} pieces of private keys searched in {len(texts)} texts of {size} characters")
    assert leaks.find_leaks(pieces, texts) == {}
    # Where the keys belong the search does find them: encoded once in the key, twice in the Secret.
    keyring = system.kubectl.run("get", "secret", f"{system.name}-keyring", f"--namespace={system.namespace}", "-ojson")
    assert leaks.find_leaks(pieces, {"key": keys[0].decode(), "keyring": keyring}).keys() == {"key", "keyring"}


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
                target = (pod["metadata"]["name"], container["name"])
                for previous in ("false", "true"):
                    texts[f"log {target} previous={previous}"] = _log(system.kubectl, namespace, target, previous)
    return texts


def _log(kubectl: Kubectl, namespace: str, target: tuple[str, str], previous: str) -> str:
    """Return one log; a container without an earlier run has no previous one."""
    try:
        return kubectl.run(
            "logs",
            f"--namespace={namespace}",
            target[0],
            f"--container={target[1]}",
            f"--previous={previous}",
        )
    except KubectlError:
        return ""
