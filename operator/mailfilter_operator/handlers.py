"""Which event puts which key into the queue. Nothing else: events can be lost or doubled, a pass looks for itself."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import kopf

from mailfilter_operator import names
from mailfilter_operator.build import OWNED_KINDS
from mailfilter_operator.settings import Settings
from mailfilter_operator.workqueue import Key, WorkQueue

_WATCHED = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}


LONGEST_WAIT_SECONDS = 300.0
"""A pass ends within a minute even if every call of it times out; five of them in a row mean that nothing moves."""


def register(registry: kopf.OperatorRegistry, queue: WorkQueue) -> None:
    """Watch MailFilters and what belongs to them.

    A MailFilter that is listed again (start, or a watch that had to begin anew) is looked at again: kopf reports no
    deletion of a child that happened while a watch was down.
    """

    def log_in(**context: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)

    async def mailfilter_changed(namespace: str | None, name: str, **_: Any) -> None:
        queue.add((str(namespace), name))

    async def child_changed(namespace: str | None, meta: kopf.Meta, **_: Any) -> None:
        for key in owners(str(namespace), meta):
            queue.add(key)

    kopf.on.login(registry=registry)(log_in)
    kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)(mailfilter_changed)
    for kind in OWNED_KINDS:
        kopf.on.event(_WATCHED[kind], registry=registry)(child_changed)


def owners(namespace: str, meta: Mapping[str, Any]) -> Iterable[Key]:
    """MailFilters that an object belongs to: by owner reference, and by label if somebody removed the other."""
    by_reference = {owner["name"] for owner in meta.get("ownerReferences") or () if owner.get("kind") == names.KIND}
    labels = meta.get("labels") or {}
    by_label = {labels[names.LABEL_INSTANCE]} if labels.get(names.LABEL_INSTANCE) else set()
    return sorted((namespace, name) for name in by_reference | by_label)


def configure(settings: kopf.OperatorSettings, own: Settings) -> None:
    """How kopf watches: quietly (no Events, annotations, peering), and back at once after an outage."""
    selector = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.finalizer = f"{names.GROUP}/unused"  # else kopf removes other operators' default one
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    # kopf's own list grows to 21 s and then ends the process.
    settings.networking.error_backoffs = itertools.repeat(1.0)
    settings.networking.enforce_retry_after = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 360
    settings.watching.connect_timeout = 5
    settings.execution.max_workers = own.workers
    settings.process.ultimate_exiting_timeout = 10
    for plural in _WATCHED.values():
        settings.watching.label_selectors[plural] = selector


def register_probe(registry: kopf.OperatorRegistry, queue: WorkQueue) -> None:
    """Liveness at /healthz: fails when a key that is due has waited for a worker for too long."""

    async def queue_moves(**_: Any) -> float:
        if queue.overdue_seconds > LONGEST_WAIT_SECONDS:
            raise kopf.PermanentError(f"a MailFilter has waited {queue.overdue_seconds:.0f} s for a worker")
        return queue.overdue_seconds

    kopf.on.probe(id="overdue-seconds", registry=registry)(queue_moves)
