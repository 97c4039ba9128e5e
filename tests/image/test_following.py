"""What comes while rspamd runs goes live in it: one configuration after the other, and never with many old workers."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.image.conftest import files, wait_ready
from tests.image.messages import CLEAN
from tests.image.pod import PROGRAMS, Container, Pod, wait_until, write_candidate

OPTIONS = "override.d/options.inc"
TASK_TIMEOUT = 5
PROXIES = 2
"""Milter workers of one generation in the example."""
IDLE = """
import time
from mailfilter_operator.milter import Session
session = Session('127.0.0.1', 11332, seconds=10)
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
    session = pod.start_outside("idle", sys.executable, "-c", IDLE)
    wait_until(lambda: "idle" in session.output(), 10, "an idle session")


def slow_to_load(seconds: int) -> dict[str, str]:
    """A configuration that each worker takes so long to load."""
    lua = f"""
rspamd_config:add_on_load(function(_, _, worker)
  local finish = os.time() + {seconds}
  while os.time() < finish do end
end)
"""
    return files({"local.d/milter_headers.conf": f"custom {{ own = <<EOD\n{lua}\nEOD\n}}\n"})


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


def test_a_pod_stays_ready_while_its_workers_load_a_configuration(pod: Pod) -> None:
    """None of them takes connections then: mail waits for them, and is not sent away."""
    start(pod)
    wanted = write_candidate(pod.candidate, slow_to_load(5))
    wait_until((pod.directory / "rspamd/memory/reloading").exists, 20, "the reload")
    with ThreadPoolExecutor(1) as pool:
        verdict = pool.submit(pod.scan, CLEAN)
        looks = [pod.ready("rspamd")]
        while active(pod) != wanted:
            looks.append(pod.ready("rspamd"))
        assert verdict.result(60).reply == "451 4.7.1 Virus scan failed, try again later"
    assert all(looks)
    assert len(looks) > 2


def test_a_pod_is_ready_at_once_when_a_configuration_is_active(pod: Pod) -> None:
    """Else two changes in a row could meet two probes in a row, and the Service would refuse all mail."""
    start(pod)
    for reject in range(20, 24):
        wait_active(pod, offer(pod, reject))
        probe = pod.run("rspamd", f"{PROGRAMS}/probe-rspamd")
        assert probe.returncode == 0, probe.stdout


def test_a_pod_whose_workers_load_for_too_long_is_not_ready(pod: Pod) -> None:
    start(pod)
    wanted = write_candidate(pod.candidate, slow_to_load(8))
    impatient = ("env", "MAILFILTER_DEAF_TIME=2", f"{PROGRAMS}/probe-rspamd")
    wait_until(lambda: pod.run("rspamd", *impatient).returncode != 0, 20, "a probe that fails")
    assert active(pod) != wanted
    wait_active(pod, wanted)
    assert pod.run("rspamd", *impatient).returncode == 0
