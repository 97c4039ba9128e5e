"""Which event puts which key into the queue. Nothing else: events can be lost or doubled, a pass looks for itself."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import kopf

from mailfilter_operator import names
from mailfilter_operator.settings import Settings
from mailfilter_operator.workqueue import Key, WorkQueue

_WATCHED = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}

LISTED_SECONDS = 2.0
"""A list of children has ended when none has come for so long."""


class _Events:
    """What is done about each event."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._known: set[Key] = set()
        self._listed: asyncio.TimerHandle | None = None

    async def mailfilter_changed(self, namespace: str | None, name: str, **event: Any) -> None:
        key = (str(namespace), name)
        if event["type"] == "DELETED":
            self._known.discard(key)
        else:
            self._known.add(key)
        self._queue.add(key)

    async def child_changed(self, namespace: str | None, meta: kopf.Meta, **event: Any) -> None:
        for key in owners(str(namespace), meta):
            self._queue.add(key)
        if event["type"] is None:  # one of a list; all are looked at once, after its last
            if self._listed:
                self._listed.cancel()
            self._listed = asyncio.get_running_loop().call_later(LISTED_SECONDS, self._look_at_all)

    def _look_at_all(self) -> None:
        for key in self._known:
            self._queue.add(key)


def watched_kinds() -> tuple[str, ...]:
    """Kinds whose events wake a pass, beside MailFilters."""
    return tuple(_WATCHED)


def register(registry: kopf.OperatorRegistry, queue: WorkQueue) -> None:
    """Watch MailFilters and what belongs to them.

    A MailFilter that is listed again (start, or a watch that had to begin anew) is looked at again. When children are
    listed again, all MailFilters are: kopf reports no deletion that happened while a watch was down. A kind of which
    nothing is left causes no event at all; the regular look finds that.
    """

    def log_in(**context: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)

    events = _Events(queue)
    kopf.on.login(registry=registry)(log_in)
    kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)(events.mailfilter_changed)
    for plural in _WATCHED.values():
        kopf.on.event(plural, registry=registry)(events.child_changed)


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
