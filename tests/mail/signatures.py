"""Signature databases that the test HTTP server offers."""

from __future__ import annotations

import base64
import hashlib
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


def file_signature(name: str, content: bytes) -> bytes:
    """Write the line of a .hdb database that describes one whole file."""
    return f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}:{len(content)}:{name}\n".encode()


def many_signatures(number: int) -> bytes:
    """Write so many lines of a .hdb database, the same each time, that describe no file there is.

    Of as many sizes as the real database has them: clamd keeps the hashes of each size by themselves.
    """
    hashes = (hashlib.md5(str(index).encode(), usedforsecurity=False).hexdigest() for index in range(number))
    return "".join(f"{text}:{1024 + index % 100_000}:Generated.{index}\n" for index, text in enumerate(hashes)).encode()


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
