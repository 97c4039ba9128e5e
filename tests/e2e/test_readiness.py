"""P6: Ready says what is so, for the generation it names."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.demo import installation
from tests.e2e import processes
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

HASH_ANNOTATION = "mailfilter.dev/config-hash"


def test_ready_is_false_soon_after_clamd_goes_down(
    system: MailSystem, filter_pod: dict[str, Any], figure: Callable[[str], None]
) -> None:
    started = time.monotonic()
    with processes.kept_under(filter_pod["metadata"]["uid"], "clamd", signal.SIGKILL):
        eventually(lambda: _ready(system)["status"] == "False", within_seconds=15, what="Ready=False")
    figure(f"Ready was False {time.monotonic() - started:.1f} s after clamd was killed")
    installation.wait_ready(system)


def test_ready_is_false_soon_after_clamd_stops_answering(
    system: MailSystem, filter_pod: dict[str, Any], figure: Callable[[str], None]
) -> None:
    started = time.monotonic()
    with processes.kept_under(filter_pod["metadata"]["uid"], "clamd", signal.SIGSTOP):
        eventually(lambda: _ready(system)["status"] == "False", within_seconds=15, what="Ready=False")
    figure(f"Ready was False {time.monotonic() - started:.1f} s after clamd was stopped")
    installation.wait_ready(system)


def test_ready_never_speaks_for_an_older_configuration(system: MailSystem) -> None:
    """When Ready is True for the generation of an edit, all pods run that edit's configuration."""
    before = _template_hash(system)
    _set_reject_score(system, "14.5")
    try:
        generation = system.mailfilter()["metadata"]["generation"]
        eventually(lambda: _is_ready_for(system, generation), within_seconds=180, what="Ready for the edit")
        hashes = {pod["metadata"]["annotations"][HASH_ANNOTATION] for pod in system.filter_pods()}
        assert hashes == {_template_hash(system)}
        assert before not in hashes
    finally:
        _set_reject_score(system, 15)
        installation.wait_ready(system)


def _ready(system: MailSystem) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = system.mailfilter()["status"]["conditions"]
    return next(condition for condition in conditions if condition["type"] == "Ready")


def _is_ready_for(system: MailSystem, generation: int) -> bool:
    condition = _ready(system)
    return bool(condition["status"] == "True" and condition["observedGeneration"] == generation)


def _template_hash(system: MailSystem) -> str:
    deployment = system.kubectl.get("deployment", system.name, f"--namespace={system.namespace}")
    annotation: str = deployment["spec"]["template"]["metadata"]["annotations"][HASH_ANNOTATION]
    return annotation


def _set_reject_score(system: MailSystem, score: int | str) -> None:
    patch = json.dumps({"spec": {"actions": {"reject": score}}})
    system.kubectl.run(
        "patch",
        "mailfilter",
        system.name,
        f"--namespace={system.namespace}",
        "--type=merge",
        f"--patch={patch}",
    )
