"""Changes in quick succession: the last one serves, and old workers never pile up, whoever keeps one busy."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bench.changes import MARK, SYMBOL, UNDATED
from tests.e2e import changes, pods, processes
from tests.image import milter
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

from mailfilter_operator.milter import Session

CHANGES = 10
MILTER_PORT = 11332
TASK_TIMEOUT_SECONDS = 60
"""`spec.workers.proxy.timeoutSeconds`, which the demo's MailFilter leaves at its default."""
WORKERS = {"rspamd_proxy": 2, "controller": 1}
"""Workers of one generation, by kind."""


@pytest.fixture
def restored(system: MailSystem) -> Iterator[MailSystem]:
    """Provide the mail system; scores are as before afterwards."""
    before = system.mailfilter()["spec"]
    yield system
    changes.restore(system, before, "metrics")


def test_the_last_of_many_changes_serves_and_old_workers_do_not_pile_up(restored: MailSystem) -> None:
    (pod,) = restored.filter_pods()
    with pods.undisturbed(restored), _counted(pod) as most:
        _change_often(restored)
        _wait_last(restored, pod, within_seconds=60)
    assert most["rspamd_proxy"] > WORKERS["rspamd_proxy"], "no change was seen to start workers"
    assert _too_many(most) == {}


def test_an_idle_session_delays_changes_by_two_task_timeouts_and_no_more(restored: MailSystem) -> None:
    """It keeps the worker that it came to: the first change goes live beside it, the others wait for its end."""
    (pod,) = restored.filter_pods()
    session = Session(pod["status"]["podIP"], MILTER_PORT, seconds=10)
    seconds = 2 * TASK_TIMEOUT_SECONDS + 60
    try:
        with pods.undisturbed(restored, longest_seconds=seconds + 60), _counted(pod) as most:
            _change_often(restored)
            _wait_last(restored, pod, within_seconds=seconds)
        assert _too_many(most) == {}
    finally:
        with contextlib.suppress(OSError):
            session.close()


def _change_often(system: MailSystem) -> None:
    """Change one score again and again without a pause; only the last one gets a mail marked."""
    for index in range(CHANGES):
        score = f"{7 if index == CHANGES - 1 else 0}.{index:02d}"
        changes.patch_spec(system, {"metrics": {"groups": [{"name": "quick", "symbols": [_symbol(score)]}]}})


def _symbol(score: str) -> dict[str, str]:
    return {"name": SYMBOL, "score": score}


def _wait_last(system: MailSystem, pod: dict[str, Any], *, within_seconds: float) -> None:
    """Return when the pod serves the last change, by its own word, by that of status, and by what it does."""
    generation = system.mailfilter()["metadata"]["generation"]

    def serves() -> bool:
        mailfilter = system.mailfilter()
        assert mailfilter["metadata"]["generation"] == generation
        assert changes.condition(mailfilter, "ConfigApplied").get("status") == "True"
        return bool(pods.report(pod)["active"] == mailfilter["status"]["config"]["hash"])

    eventually(serves, within_seconds=within_seconds, what="the last change in the pod")
    verdict = milter.scan(UNDATED, MILTER_PORT, host=pod["status"]["podIP"], sender="dave@example.net")
    assert verdict.reply == "accept"
    assert any(name == MARK for name, _ in verdict.headers)


@contextlib.contextmanager
def _counted(pod: dict[str, Any]) -> Iterator[Counter[str]]:
    """Provide the greatest number of rspamd's workers by kind that were there at one time while the block lasts."""
    uid, finish = pod["metadata"]["uid"], threading.Event()
    most: Counter[str] = Counter()

    def count() -> None:
        nonlocal most
        while not finish.wait(0.05):
            most |= _workers(uid)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield most
    finally:
        finish.set()
        thread.join()


def _workers(pod_uid: str) -> Counter[str]:
    """Count rspamd's workers by kind; they name it in their title."""
    titles = []
    for pid in processes.find(pod_uid, "rspamd"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            titles.append(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"))
    return Counter(kind for title in titles for kind in WORKERS if title.startswith(f"rspamd: {kind} process"))


def _too_many(most: Counter[str]) -> dict[str, int]:
    """Kinds of which there were more workers than those that serve and one old generation."""
    return {kind: number for kind, number in most.items() if number > 2 * WORKERS[kind]}
