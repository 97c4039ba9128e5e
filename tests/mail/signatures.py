"""Signature databases that the test HTTP server offers."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from tests.mail import messages
from tests.mail.kubectl import Kubectl

NAMESPACE = "mail"
DATABASE = "local.ndb"
"""As the examples in manifests/ name it."""
MARKER_NAME = "MailfilterTest.Marker"


def custom_database() -> bytes:
    """Write a database in ClamAV's extended format (.ndb) with one signature: the tests' marker, anywhere."""
    return f"{MARKER_NAME}:0:*:{messages.marker().encode().hex()}\n".encode()


def publish(kubectl: Kubectl, files: Mapping[str, bytes]) -> None:
    """Make the HTTP server offer *files* and nothing else; pods see it after the kubelet's next look."""
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "signatures-database", "namespace": NAMESPACE},
            "binaryData": {name: base64.b64encode(content).decode() for name, content in files.items()},
        }
    )
