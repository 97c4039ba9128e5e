"""Ask an API server whether it would take an object, and if not, what it says about which field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from tests.cluster.connection import Connection
from tests.mail.polling import eventually

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds" / "mailfilters.mailfilter.dev.yaml"
NAMESPACE = "mailfilter-corpus"
"""Where the objects are tried; nothing is stored there."""

_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """`stored` is the object with its defaults; `complaints` are (field, message) where it is refused.

    A refusal that names no field, as by another admission plug-in, is a complaint about "".
    """

    stored: Mapping[str, Any] = field(default_factory=dict)
    complaints: tuple[tuple[str, str], ...] = ()

    def says(self, name: str, part: str) -> bool:
        """Tell whether the field *name* is complained about with *part* in the message."""
        return any(name == about and part in message for about, message in self.complaints)


def wait_established(api: Connection) -> None:
    """Return when the API server takes MailFilters.

    `kubectl wait` fails on a definition whose conditions are still null, as they are for some milliseconds.
    """
    query = '--output=jsonpath={.status.conditions[?(@.type=="Established")].status}'

    def established() -> bool:
        return api.kubectl("get", "crd", "mailfilters.mailfilter.dev", query) == "True"

    eventually(established, within_seconds=30, what="the definition of MailFilters established")


class ApiServer:
    """Dry runs of creating MailFilters, with unknown fields refused."""

    def __init__(self, kubeconfig: Path) -> None:
        self._api = client.CustomObjectsApi(config.new_client_from_config(str(kubeconfig)))

    def try_create(self, body: Mapping[str, Any]) -> Answer:
        """Send *body* to be validated and not stored. Raises ApiException for anything but a verdict on it."""
        here = {**body, "metadata": {**body["metadata"], "namespace": NAMESPACE}}
        try:
            stored = self._api.create_namespaced_custom_object(
                group="mailfilter.dev",
                version="v1alpha1",
                namespace=NAMESPACE,
                plural="mailfilters",
                body=here,
                dry_run="All",
                field_validation="Strict",
                _request_timeout=_SECONDS,
            )
        except ApiException as error:
            if error.status not in (400, 422):
                raise
            return Answer(complaints=_read_complaints(json.loads(error.body)))
        return Answer(stored=stored)


def _read_complaints(status: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    causes = (status.get("details") or {}).get("causes") or [{"message": status.get("message", "")}]
    return tuple((cause.get("field", ""), cause["message"]) for cause in causes)
