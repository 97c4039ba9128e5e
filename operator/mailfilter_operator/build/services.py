"""How the filter is reached, and as whom it runs."""

from typing import Any

from mailfilter_operator import names
from mailfilter_operator.build.metadata import build_metadata
from mailfilter_operator.validate import ValidMailFilter


def build_service(valid: ValidMailFilter) -> dict[str, Any]:
    """Service of the milter, and of scans over HTTP if wanted.

    A pod that is not ready gets no mail: the MTA then answers 451.
    """
    ports = [_build_port("milter", names.MILTER_PORT)]
    if valid.spec.workers.normal.enabled:
        ports.append(_build_port("http", names.NORMAL_PORT))
    return _build_service(valid, valid.name, {"ports": ports})


def build_controller_service(valid: ValidMailFilter) -> dict[str, Any]:
    """Service of the web interface and rspamd's API. What a browser sees of one pod it goes on seeing of that pod."""
    ports = [_build_port("controller", names.CONTROLLER_PORT)]
    return _build_service(valid, names.controller(valid.name), {"sessionAffinity": "ClientIP", "ports": ports})


def _build_service(valid: ValidMailFilter, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(valid, name),
        "spec": {"type": "ClusterIP", "selector": names.selector(valid.name), **spec},
    }


def _build_port(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}


def build_service_account(valid: ValidMailFilter) -> dict[str, Any]:
    """Account of the filter pods, without a token: they never talk to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": build_metadata(valid, valid.name),
        "automountServiceAccountToken": False,
    }
