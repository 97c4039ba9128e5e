"""P6: Ready says what is so, for the generation it names."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from tests.demo import installation
from tests.e2e import changes, processes
from tests.mail.polling import eventually
from tests.mail.system import MailSystem


def test_ready_is_false_soon_after_clamd_goes_down(
    system: MailSystem, filter_pod: dict[str, Any], figure: Callable[[str], None]
) -> None:
    started = time.monotonic()
    with processes.kept_under(filter_pod["metadata"]["uid"], "clamd", signal.SIGKILL):
        eventually(lambda: changes.ready(system)["status"] == "False", within_seconds=15, what="Ready=False")
    figure(f"Ready was False {time.monotonic() - started:.1f} s after clamd was killed")
    installation.wait_ready(system)


def test_ready_is_false_soon_after_clamd_stops_answering(
    system: MailSystem, filter_pod: dict[str, Any], figure: Callable[[str], None]
) -> None:
    started = time.monotonic()
    with processes.kept_under(filter_pod["metadata"]["uid"], "clamd", signal.SIGSTOP):
        eventually(lambda: changes.ready(system)["status"] == "False", within_seconds=15, what="Ready=False")
    figure(f"Ready was False {time.monotonic() - started:.1f} s after clamd was stopped")
    installation.wait_ready(system)


def test_ready_never_speaks_for_an_older_configuration(system: MailSystem) -> None:
    """When Ready is True for the generation of an edit, all pods run that edit's configuration."""
    try:
        changes.change(system, {"actions": {"addHeader": "5.5"}})
    finally:
        changes.patch_spec(system, {"actions": None})
        changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
