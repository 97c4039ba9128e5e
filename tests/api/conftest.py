"""Fixtures of the tests against a real API server without a node."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.api.server import CRD, NAMESPACE, ApiServer
from tests.cluster.connection import Connection
from tests.cluster.fixtures import api_tier

__all__ = ["api_tier", "mailfilter_api", "rsa_4096"]


@pytest.fixture(scope="session")
def mailfilter_api(api_tier: Connection) -> ApiServer:
    """Return the API server with the CRD of this checkout; objects are only tried there, never stored."""
    api_tier.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={CRD}")
    api_tier.kubectl("wait", "--for=condition=Established", "crd/mailfilters.mailfilter.dev", "--timeout=30s")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    api_tier.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(namespace))
    return ApiServer(api_tier.kubeconfig)


@pytest.fixture(scope="session")
def rsa_4096() -> bytes:
    """Return a private key of the greatest length, as PKCS#8 PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=4096)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
