"""The only user of the Kubernetes client: a few verbs on plain dicts, with our errors.

Writes are server-side apply by one field manager with `force` and `fieldValidation=Strict`; every call has a time-out.
Models of the client are not used: they would decide which fields exist, and their memory dominates a fleet's.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.errors import ClusterError

_RESOURCES = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "Event": ("api/v1", "events"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "MailFilter": (f"apis/{names.API_VERSION}", names.PLURAL),
    "Pod": ("api/v1", "pods"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
}
_TIMEOUT_SECONDS = (5.0, 15.0)
"""To connect, and between two packets of an answer."""

_APPLY = {"fieldManager": names.FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
_CREATE = {"fieldManager": names.FIELD_MANAGER, "fieldValidation": "Strict"}


class Cluster(Protocol):
    """What the operator asks of an API server. Every verb raises ClusterError."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """One object, None if there is none."""

    def list_objects(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Manifest]:
        """Objects that match a label selector, of all namespaces if none is named."""

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object; status 409 if it exists."""

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply; what comes back is live."""

    def apply_status(self, manifest: Manifest) -> Manifest:
        """Server-side apply of the status subresource."""

    def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object; status 409 unless its resourceVersion is the live one."""

    def patch(self, live: Manifest, operations: list[dict[str, Any]]) -> Manifest:
        """JSON patch of *live*, refused with status 422 if it has changed meanwhile."""

    def annotate(self, live: Manifest, annotations: Mapping[str, str | None]) -> Manifest:
        """Set annotations of exactly this object (by UID), None removes one; status 404 or 409 if it is gone."""

    def delete(self, live: Manifest) -> None:
        """Delete exactly this object (by UID); it may be gone already."""


def connect(pool_size: int) -> "KubernetesCluster":
    """Client of the pod's own cluster, or of KUBECONFIG where there is no service account."""
    configuration = client.Configuration(connection_pool_maxsize=pool_size)
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        config.load_kube_config(client_configuration=configuration)
    configuration.retries = False  # the work queue retries, with back-off
    return KubernetesCluster(client.ApiClient(configuration))


class KubernetesCluster:
    """A Cluster behind the official client."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self._api.user_agent = names.FIELD_MANAGER

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        try:
            return self._call("GET", kind, namespace, name)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def list_objects(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Manifest]:
        query = {"labelSelector": selector} if selector else {}
        answer = self._call("GET", kind, namespace, "", query=query)
        api_version = answer["apiVersion"]
        return [{"apiVersion": api_version, "kind": kind, **item} for item in answer.get("items") or ()]

    def check_watch(self, kind: str) -> None:
        """List objects of all namespaces, then watch them for a second. Raises ClusterError if either is refused."""
        nothing = {"labelSelector": f"{names.GROUP}/watched=never"}
        self._call("GET", kind, None, "", query={**nothing, "resourceVersion": "0"})  # of the API server's cache
        self._call("GET", kind, None, "", query={**nothing, "watch": "true", "timeoutSeconds": "1"})

    def create(self, manifest: Manifest) -> Manifest:
        kind, namespace, _ = _identity(manifest)
        return self._call("POST", kind, namespace, "", manifest, _CREATE)

    def apply(self, manifest: Manifest) -> Manifest:
        return self._call("PATCH", *_identity(manifest), manifest, _APPLY, "application/apply-patch+yaml")

    def apply_status(self, manifest: Manifest) -> Manifest:
        kind, namespace, name = _identity(manifest)
        return self._call("PATCH", kind, namespace, f"{name}/status", manifest, _APPLY, "application/apply-patch+yaml")

    def replace(self, manifest: Manifest) -> Manifest:
        return self._call("PUT", *_identity(manifest), manifest, _CREATE)

    def patch(self, live: Manifest, operations: list[dict[str, Any]]) -> Manifest:
        version = live["metadata"]["resourceVersion"]
        guard = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        query = {"fieldManager": names.FIELD_MANAGER}
        return self._call("PATCH", *_identity(live), [guard, *operations], query, "application/json-patch+json")

    def annotate(self, live: Manifest, annotations: Mapping[str, str | None]) -> Manifest:
        body = {"metadata": {"uid": live["metadata"]["uid"], "annotations": dict(annotations)}}
        query = {"fieldManager": names.FIELD_MANAGER}
        return self._call("PATCH", *_identity(live), body, query, "application/merge-patch+json")

    def delete(self, live: Manifest) -> None:
        options = {"preconditions": {"uid": live["metadata"]["uid"]}, "propagationPolicy": "Background"}
        try:
            self._call("DELETE", *_identity(live), options)
        except ClusterError as error:
            if error.status not in (404, 409):
                raise

    def _call(
        self,
        method: str,
        kind: str,
        namespace: str | None,
        name: str,
        body: Any = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        headers = {
            "Accept": "application/json",
            "Content-Type": content_type,
            "User-Agent": self._api.user_agent,
        }
        self._api.update_params_for_auth(headers, [], ["BearerToken"], "", method, None)
        url = self._api.configuration.host + _path(kind, namespace, name)
        if query:
            url += "?" + urlencode(query)
        label = f"{namespace}/{name}" if namespace else name or "of all namespaces"
        try:
            response = self._api.call_api(method, url, headers, body, _request_timeout=_TIMEOUT_SECONDS)
            content = response.read()
        except (ApiException, HTTPError, OSError) as error:
            status = getattr(error, "status", None) or 0
            raise ClusterError(method, kind, label, status, type(error).__name__) from error
        try:
            answer: dict[str, Any] = json.loads(content) if content else {}
        except ValueError as error:  # from a proxy in between
            raise ClusterError(method, kind, label, response.status, "not in JSON") from error
        if not 200 <= response.status < 300:
            raise ClusterError(method, kind, label, response.status, str(answer.get("message", ""))[:500])
        return answer


def _path(kind: str, namespace: str | None, name: str) -> str:
    prefix, plural = _RESOURCES[kind]
    scope = f"/namespaces/{quote(namespace)}" if namespace else ""
    return f"/{prefix}{scope}/{plural}" + (f"/{quote(name)}" if name else "")


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    meta = manifest["metadata"]
    return manifest["kind"], meta["namespace"], meta.get("name", "")
