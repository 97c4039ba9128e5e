"""Which event puts which MailFilter into the queue, and how kopf is told to watch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any

import kopf
import pytest
from tests.shell import virtual_time
from tests.unit import samples
from typing_extensions import override

from mailfilter_operator import handlers, names
from mailfilter_operator.settings import read_settings
from mailfilter_operator.workqueue import Key, WorkQueue

PLURALS = ("mailfilters", "configmaps", "deployments", "serviceaccounts", "services")
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


WATCHED = ("configmaps", "deployments", "poddisruptionbudgets", "pods", "services", "serviceaccounts")


def test_mailfilters_their_pods_and_every_kind_that_is_pruned_are_watched_and_nothing_else() -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, WorkQueue(_never))
    watched = {
        (handler.selector.group, handler.selector.plural or handler.selector.any_name)
        for handler in registry._watching.get_all_handlers()  # noqa: SLF001 - kopf has no public list
        if handler.selector
    }

    children = {(None, plural) for plural in WATCHED}
    assert watched == {(names.GROUP, names.PLURAL), *children}


def test_events_put_mailfilters_into_the_queue_and_wait_for_nothing() -> None:
    queue, events = Queue(), Events()
    handlers.register(events.registry, queue)
    for plural in PLURALS:
        asyncio.run(events.send(plural, "ADDED", f"of-{plural}"))

    children = [("mail", f"of-{plural}") for plural in ("configmaps", "deployments", "serviceaccounts", "services")]
    assert queue.added[0] == ("mail", "of-mailfilters")
    assert sorted(queue.added[1:]) == children


@pytest.mark.parametrize("plural", [plural for plural in PLURALS if plural != names.PLURAL])
def test_every_mailfilter_is_looked_at_after_children_were_listed_anew(
    plural: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was deleted while nobody watched causes no event, and is in no list."""

    async def test() -> None:
        queue, events = Queue(), Events()
        handlers.register(events.registry, queue)
        for name in ("a", "b", "gone"):
            await events.send(names.PLURAL, None, name)
        await events.send(names.PLURAL, "DELETED", "gone")
        queue.added.clear()
        await events.send(plural, None, "a")
        assert queue.added == [("mail", "a")]
        await asyncio.sleep(handlers.LISTED_SECONDS + 0.1)
        assert sorted(queue.added[1:]) == [("mail", "a"), ("mail", "b")]

    virtual_time.run(monkeypatch, test)


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
def test_change_of_a_child_is_the_business_of_its_mailfilter_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        queue, events = Queue(), Events()
        handlers.register(events.registry, queue)
        await events.send(names.PLURAL, None, "b")
        queue.added.clear()
        await events.send("configmaps", kind, "a")
        await asyncio.sleep(100)
        assert queue.added == [("mail", "a")]

    virtual_time.run(monkeypatch, test)


def test_list_of_many_children_is_one_reason_to_look_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        queue, events = Queue(), Events()
        handlers.register(events.registry, queue)
        for number in range(500):
            await events.send(names.PLURAL, None, f"m{number}")
        queue.added.clear()
        for number in range(500):
            await events.send("configmaps", None, f"m{number}")
            await asyncio.sleep(handlers.LISTED_SECONDS / 100)
        await asyncio.sleep(100)
        assert len(queue.added) == 500 + 500

    virtual_time.run(monkeypatch, test)


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


class Events:
    """Tells the handlers of `registry` what happened, as kopf does."""

    def __init__(self) -> None:
        self.registry = kopf.OperatorRegistry()

    async def send(self, plural: str, kind: str | None, mailfilter: str) -> None:
        """Send an event of the type *kind* about a MailFilter or a child of it."""
        (handler,) = (
            handler
            for handler in self.registry._watching.get_all_handlers()  # noqa: SLF001 - kopf has no public list
            if handler.selector and plural in (handler.selector.plural, handler.selector.any_name)
        )
        meta = {"labels": names.labels(mailfilter, "filter")}
        await handler.fn(namespace="mail", name=mailfilter, meta=meta, type=kind)  # type: ignore[arg-type, call-arg, misc]


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
