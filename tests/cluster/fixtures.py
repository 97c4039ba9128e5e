"""The cluster as pytest fixtures; a conftest takes them with `from tests.cluster.fixtures import api_tier, node`.

The test run itself has to be inside the cluster's network namespace, because the Kubernetes client of
the code under test has to: `python3 -m tests.cluster run -- pytest`.
"""

from __future__ import annotations

import pytest
from tests.cluster import connection, layout, namespace, tiers


def _connect(name: str) -> connection.Connection:
    cluster = layout.current_cluster()
    if not namespace.is_current(cluster):
        pytest.fail("run the tests inside the cluster's network: python3 -m tests.cluster run -- pytest", pytrace=False)
    tiers.ensure_up(cluster, cluster.tier(name))
    return connection.Connection(cluster, cluster.tier(name))


@pytest.fixture(scope="session")
def node() -> connection.Connection:
    """Return the tier with a node, started if it is not up; it is left up."""
    return _connect("node")


@pytest.fixture(scope="session")
def api_tier() -> connection.Connection:
    """Return the tier without a node, started if it is not up; it is left up."""
    return _connect("api")
