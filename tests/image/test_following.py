"""What comes while rspamd runs goes live in it: one configuration after the other, and never with many old workers."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.image.conftest import files, wait_ready
from tests.image.pod import Container, Pod, wait_until, write_candidate
from tests.image.rootfs import CHECKOUT

OPTIONS = "override.d/options.inc"
TASK_TIMEOUT = 5
PROXIES = 2
"""Milter workers of one generation in the example."""
IDLE = """
import time
from tests.image.milter import Session
session = Session(11332, 10)
print("idle", flush=True)
time.sleep(300)
"""


def offer(pod: Pod, reject: int) -> str:
    """Offers a configuration that refuses from a score on; its hash."""
    options = files()[OPTIONS].replace("task_timeout = 30s", f"task_timeout = {TASK_TIMEOUT}s")
    return write_candidate(pod.candidate, files({OPTIONS: options, "override.d/actions.conf": f"reject = {reject};\n"}))


def active(pod: Pod) -> str:
    """What the pod's report names as active."""
    file = pod.directory / "rspamd/memory/active"
    return file.read_text().strip() if file.exists() else ""


def wait_active(pod: Pod, wanted: str, seconds: float = 20) -> None:
    """Returns when a configuration is active."""
    wait_until(lambda: active(pod) == wanted, seconds, f"{wanted} active")


def wait_taken(pod: Pod, wanted: str) -> None:
    """Returns when a configuration has been taken, live or not."""
    wait_until((pod.directory / "rspamd/memory/candidates" / wanted / "manifest").exists, 10, f"{wanted} taken")


def start(pod: Pod) -> Container:
    """A pod's rspamd with its first configuration."""
    first = offer(pod, 15)
    container = pod.start("rspamd")
    wait_ready(pod, "rspamd")
    wait_active(pod, first)
    return container


def hold_idle_session(pod: Pod) -> None:
    """Keeps one worker of now busy, for as long as rspamd lets it."""
    session = pod.start_outside("idle", "env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-c", IDLE)
    wait_until(lambda: "idle" in session.output(), 10, "an idle session")


def proxies(container: Container) -> int:
    """How many milter workers there are."""
    return sum("rspamd_proxy process" in line for line in container.processes().values())


@contextmanager
def counting(container: Container) -> Iterator[list[int]]:
    """How many milter workers there were at each look while the block lasts."""
    seen: list[int] = []
    finish = threading.Event()

    def look() -> None:
        while not finish.wait(0.05):
            seen.append(proxies(container))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        finish.set()
        thread.join()


def test_the_last_of_several_changes_in_a_row_serves(pod: Pod) -> None:
    container = start(pod)
    with counting(container) as seen:
        for reject in range(20, 26):
            wanted = offer(pod, reject)
            wait_taken(pod, wanted)
        wait_active(pod, wanted)
    assert container.running()
    assert PROXIES < max(seen) <= 2 * PROXIES
    live = pod.directory / "rspamd/memory/live"
    assert (live / "override.d/actions.conf").read_text() == "reject = 25;\n"
    wait_until(lambda: [copy.name for copy in live.parent.joinpath("candidates").iterdir()] == [wanted], 20, "one copy")
    wait_ready(pod, "rspamd")


def test_keys_that_are_no_longer_wanted_stay_for_the_workers_of_before(pod: Pod) -> None:
    """One of them may sign with such a key for the first time, and it knows the key by its name only."""
    container = start(pod)
    hold_idle_session(pod)
    options = files()[OPTIONS].replace("task_timeout = 30s", f"task_timeout = {TASK_TIMEOUT}s")
    renamed = {path.replace(".mf1.", ".mf2."): text for path, text in files({OPTIONS: options}).items()}
    wait_active(pod, write_candidate(pod.candidate, renamed))
    keys = pod.directory / "rspamd/memory/live/keys"
    assert sorted(path.name for path in keys.iterdir()) == ["example.com.mf1.key", "example.com.mf2.key"]
    wait_until(lambda: not (keys / "example.com.mf1.key").exists(), 2 * TASK_TIMEOUT + 20, "the old key gone")
    assert (keys / "example.com.mf2.key").exists()
    assert container.running()


def test_changes_wait_for_the_workers_of_an_idle_session_and_not_for_ever(pod: Pod) -> None:
    container = start(pod)
    hold_idle_session(pod)
    with counting(container) as seen:
        second = offer(pod, 20)
        wait_active(pod, second)
        for reject in (21, 22):
            last = offer(pod, reject)
            wait_taken(pod, last)
        assert active(pod) == second, "the idle session's worker was not waited for"
        wait_active(pod, last, 2 * TASK_TIMEOUT + 20)
    assert container.running()
    assert max(seen) <= 2 * PROXIES
