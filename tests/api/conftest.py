"""Fixtures of the tests against a real API server without a node."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.api.filters import Filters
from tests.api.operator_process import INSTALL, OperatorProcess
from tests.api.server import CRD, NAMESPACE, ApiServer, wait_established
from tests.cluster.connection import Connection
from tests.cluster.fixtures import api_tier

__all__ = ["api_tier", "filters", "mailfilter_api", "operator_process", "rsa_4096"]


@pytest.fixture(scope="session")
def mailfilter_api(api_tier: Connection) -> ApiServer:
    """Return the API server with the CRD of this checkout; objects are only tried there, never stored."""
    api_tier.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={CRD}")
    wait_established(api_tier)
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


@pytest.fixture(scope="session")
def operator_process(api_tier: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """Return the operator at work, installed as install.yaml says but run as a process."""
    api_tier.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={INSTALL}")
    wait_established(api_tier)
    process = OperatorProcess(api_tier, tmp_path_factory.mktemp("operator"))
    process.start()
    yield process
    assert process.stop() == 0


@pytest.fixture
def filters(api_tier: Connection, operator_process: OperatorProcess) -> Iterator[Filters]:
    """Return a namespace of its own for MailFilters, with the operator at work."""
    with own_namespace(api_tier, operator_process) as made:
        yield made


@contextlib.contextmanager
def own_namespace(api_tier: Connection, operator_process: OperatorProcess) -> Iterator[Filters]:
    """Provide a new namespace for MailFilters."""
    assert operator_process.log.exists()
    namespace = f"filters-{uuid.uuid4().hex[:8]}"
    api_tier.kubectl("create", "namespace", namespace)
    yield Filters(api_tier, namespace)
    api_tier.kubectl("delete", "namespace", namespace, "--wait=false")
