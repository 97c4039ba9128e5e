"""P1 and P2 where clamd has memory for one set of signatures and scans nothing while it loads another.

Of two pods one after the other leaves the Service and loads, so that no mail has to come again. SOAK_SIGNATURES is how
many signatures they load; without it a tenth of what `make soak` takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import pytest
from tests.e2e import changes, constant_mail, lossless, pods
from tests.e2e.conftest import REPLICAS
from tests.e2e.test_many_signatures import NUMBER, WITHIN_SECONDS, seconds_until_found
from tests.mail import offers, signatures
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

LIMIT = "700Mi"
"""Of clamd's memory: enough for one set of signatures, and too little for two, as ConfigValid says."""
DATABASE = "turns.hdb"
LOADED = "signatures loaded in turn"
CONTENT = b"a file that the database describes"
TURN_SECONDS = 240 + NUMBER / 10_000
"""The pod sees its clients off for 135 s at most."""


@pytest.fixture
def blocking(two_pods: MailSystem) -> Iterator[MailSystem]:
    """Provide the mail system with two pods that hold one set of signatures each."""
    _change_pods(two_pods, {"resources": {"clamd": {"limits": {"memory": LIMIT}}}}, limited=True)
    yield two_pods
    _change_pods(two_pods, None, limited=False)


def test_pods_load_in_turn_and_no_mail_is_deferred(blocking: MailSystem, figure: Callable[[str], None]) -> None:
    system, both = blocking, blocking.filter_pods()
    assert "ReloadsBlock" in changes.condition(system.mailfilter(), "ConfigValid")["reason"]
    offered = {DATABASE: signatures.many_signatures(NUMBER) + signatures.file_signature("Loaded.InTurn", CONTENT)}
    urls = system.mailfilter()["spec"]["antivirus"]["signatures"]["customURLs"]
    before = pods.containers(system)
    with (
        offers.offering(offered) as url,
        constant_mail.sending(system, longest_seconds=WITHIN_SECONDS + 3 * TURN_SECONDS) as mail,
        pods.watched(system, "pods", f"--selector=app.kubernetes.io/instance={system.name}") as seen,
    ):
        mail.enter(LOADED)
        changes.patch_spec(system, {"antivirus": {"signatures": {"customURLs": [*urls, f"{url}{DATABASE}"]}}})
        eventually(lambda: all(map(_has_asked, both)), within_seconds=WITHIN_SECONDS, what="pods that ask for turns")
        started = time.monotonic()
        changes.cause_look(system, "mailfilter", system.name)  # the operator's own may be two minutes away
        eventually(lambda: any(map(_has_loaded, both)), within_seconds=TURN_SECONDS, what="one pod's turn")
        changes.cause_look(system, "mailfilter", system.name)
        eventually(lambda: all(map(_has_loaded, both)), within_seconds=TURN_SECONDS, what="the other pod's turn")
        pods.wait_ready(system, len(both))
        took = time.monotonic() - started
        seconds_until_found(both, CONTENT, "Loaded.InTurn")

    figure(f"{NUMBER} signatures loaded by two pods in turn: {took:.1f} s; {lossless.describe(mail)}")
    names = {pod["metadata"]["name"] for pod in both}
    assert set(_away(seen, names)) == {frozenset(), *(frozenset({name}) for name in names)}
    assert pods.containers(system) == before
    lossless.assert_lossless(system, mail, (LOADED,), ())


def _change_pods(system: MailSystem, spec: dict[str, Any] | None, *, limited: bool) -> None:
    changes.patch_spec(system, {"pod": spec})
    changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])

    def replaced() -> bool:
        return all((_memory_limit(pod) == LIMIT) is limited for pod in pods.wait_ready(system, REPLICAS))

    eventually(replaced, within_seconds=120, what="pods with the other limit")


def _memory_limit(pod: dict[str, Any]) -> str:
    (found,) = (entry for entry in pod["spec"]["containers"] if entry["name"] == "clamd")
    return str(found["resources"]["limits"]["memory"])


def _has_asked(pod: dict[str, Any]) -> bool:
    """Tell whether it waits for its turn, or has it, or had it: the operator may have looked in between."""
    return _has_loaded(pod) or any(pods.report(pod)["reload"].values())


def _has_loaded(pod: dict[str, Any]) -> bool:
    report = pods.report(pod)
    return DATABASE in report["loaded"]["databases"] and report["reload"] == {"waiting": None, "loading": None}


def _away(seen: Iterable[dict[str, Any]], names: Collection[str]) -> Iterator[frozenset[str]]:
    """Of pods of these *names* those that are not ready, each time that one of them changes."""
    ready = dict.fromkeys(names, True)
    for pod in seen:
        if pod["metadata"]["name"] in names:
            ready[pod["metadata"]["name"]] = pods.is_ready(pod)
            yield frozenset(name for name, is_ready in ready.items() if not is_ready)
