"""How the filter is reached, and as whom it runs."""

from typing import Any

from mailfilter_operator import names
from mailfilter_operator.build.metadata import build_metadata
from mailfilter_operator.validate import ValidMailFilter


def build_service(valid: ValidMailFilter) -> dict[str, Any]:
    """Service of the milter. A pod that is not ready gets no mail: the MTA then answers 451."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(valid, valid.name),
        "spec": {
            "type": "ClusterIP",
            "selector": names.selector(valid.name),
            "ports": [
                {
                    "name": "milter",
                    "port": names.MILTER_PORT,
                    "targetPort": "milter",
                    "protocol": "TCP",
                }
            ],
        },
    }


def build_service_account(valid: ValidMailFilter) -> dict[str, Any]:
    """Account of the filter pods, without a token: they never talk to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": build_metadata(valid, valid.name),
        "automountServiceAccountToken": False,
    }
