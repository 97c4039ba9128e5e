"""Which event puts which MailFilter into the queue, and how kopf is told to watch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any

import kopf
import pytest
from tests.unit import samples
from typing_extensions import override

from mailfilter_operator import handlers, names
from mailfilter_operator.settings import read_settings
from mailfilter_operator.workqueue import Key, WorkQueue

OWNER = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "mx", "uid": "x", "controller": True}


@pytest.mark.parametrize(
    ("meta", "keys"),
    [
        ({"labels": names.labels("mx", "filter"), "ownerReferences": [OWNER]}, ["mx"]),
        ({"labels": {}, "ownerReferences": [OWNER]}, ["mx"]),
        ({"labels": names.labels("mx", "filter")}, ["mx"]),
        ({"labels": names.labels("mx-2", "filter"), "ownerReferences": [OWNER]}, ["mx", "mx-2"]),
        ({"ownerReferences": [{**OWNER, "kind": "ReplicaSet"}]}, []),
        ({"labels": None, "ownerReferences": None}, []),
        ({"labels": {names.LABEL_INSTANCE: ""}}, []),
        ({}, []),
    ],
)
def test_object_belongs_to_its_owner_and_to_the_instance_of_its_label(meta: dict[str, Any], keys: list[str]) -> None:
    assert list(handlers.owners("mail", meta)) == [("mail", key) for key in keys]


def test_every_kind_that_is_pruned_is_watched_with_the_mailfilter_and_nothing_else() -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, WorkQueue(_never))
    watched = {
        (handler.selector.group, handler.selector.plural or handler.selector.any_name)
        for handler in registry._watching.get_all_handlers()  # noqa: SLF001 - kopf has no public list
        if handler.selector
    }

    children = {(None, plural) for plural in ("configmaps", "deployments", "services", "serviceaccounts")}
    assert watched == {(names.GROUP, names.PLURAL), *children}


def test_events_put_mailfilters_into_the_queue_and_wait_for_nothing() -> None:
    queue, registry = Queue(), kopf.OperatorRegistry()
    handlers.register(registry, queue)
    for handler in registry._watching.get_all_handlers():  # noqa: SLF001 - kopf has no public list
        assert handler.selector
        plural = handler.selector.plural or handler.selector.any_name
        meta = {"labels": names.labels(f"of-{plural}", "filter")}
        asyncio.run(handler.fn(namespace="mail", name=plural, meta=meta, type="ADDED"))  # type: ignore[arg-type, call-arg]

    children = [("mail", f"of-{plural}") for plural in ("configmaps", "deployments", "serviceaccounts", "services")]
    assert sorted(queue.added) == [("mail", "mailfilters"), *children]


def test_kopf_writes_nothing_and_never_gives_up() -> None:
    settings = kopf.OperatorSettings()
    handlers.configure(settings, read_settings({"MAILFILTER_IMAGE": samples.IMAGE}))
    pauses = settings.networking.error_backoffs

    assert isinstance(pauses, Iterable)
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert list(itertools.islice(pauses, 1000)) == [1.0] * 1000
    assert settings.watching.server_timeout
    assert settings.watching.client_timeout
    assert settings.watching.client_timeout > settings.watching.server_timeout


def test_probe_fails_when_a_mailfilter_waits_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, registry = WorkQueue(_never), kopf.OperatorRegistry()
    handlers.register_probe(registry, queue)
    (probe,) = registry._activities.get_all_handlers()  # noqa: SLF001 - kopf has no public list

    def ask(seconds: float) -> Any:
        monkeypatch.setattr(WorkQueue, "overdue_seconds", seconds)
        return asyncio.run(probe.fn())  # type: ignore[arg-type, call-arg]

    assert ask(handlers.LONGEST_WAIT_SECONDS - 1) == handlers.LONGEST_WAIT_SECONDS - 1
    with pytest.raises(kopf.PermanentError, match="has waited 301 s for a worker"):
        ask(handlers.LONGEST_WAIT_SECONDS + 1)


class Queue(WorkQueue):
    """Only writes down what is added."""

    def __init__(self) -> None:
        super().__init__(_never)
        self.added: list[Key] = []

    @override
    def add(self, key: Key, delay: float = 0.0) -> None:
        assert delay == 0
        self.added.append(key)


async def _never(_: Any) -> float | None:
    raise AssertionError
