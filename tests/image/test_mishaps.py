"""What goes wrong while a configuration is taken over is neither for ever nor blamed on the wrong one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.image.conftest import files, wait_ready
from tests.image.pod import PROGRAMS, Container, Pod, wait_until, write_candidate
from tests.image.test_following import active, offer, wait_active, wait_taken

ACTIONS = "override.d/actions.conf"
BROKEN = {ACTIONS: "reject = 15;\nadd_header = ;\n"}
IMPATIENT = ("env", "MAILFILTER_LOADING_TIME=2", f"{PROGRAMS}/rspamd")


def in_lua(text: str) -> dict[str, str]:
    """A configuration with Lua that rspamd runs while it loads it."""
    return files({"local.d/milter_headers.conf": f"custom {{ own = <<EOD\n{text}\nEOD\n}}\n"})


DEADLY = in_lua('if io.open("/proc/self/comm"):read("*l") ~= "rspamadm" then os.exit(1) end')
"""Ends rspamd, and passes its test."""
ENDLESS = in_lua("while true do end")
"""Its test goes on and on."""


def memory(pod: Pod) -> Path:
    return pod.directory / "rspamd/memory"


def refused(pod: Pod) -> str:
    """What the pod's report names as refused last."""
    file = memory(pod) / "refused"
    return file.read_text() if file.exists() else ""


def start(pod: Pod) -> tuple[Container, str]:
    """A pod's rspamd with its first configuration, and the hash of that."""
    first = offer(pod, 15)
    container = pod.start("rspamd")
    wait_ready(pod, "rspamd")
    wait_active(pod, first)
    return container, first


def wait_refused(pod: Pod, wanted: str) -> None:
    """Returns when a configuration has been refused."""
    wait_until(lambda: refused(pod).startswith(wanted), 20, "the refusal")


def restart(pod: Pod, container: Container) -> Container:
    """The container again, with what its memory volume holds. What is left of its processes goes first."""
    container.kill()
    (memory(pod) / "active").unlink(missing_ok=True)
    return pod.start("rspamd")


def start_without_reports(pod: Pod) -> Container:
    """A pod whose workers cannot say that they have loaded something: the file for that is not to be written to."""
    offer(pod, 15)
    unwritable = pod.directory / "loaded"
    unwritable.touch(0o444)
    container = pod.start("rspamd", *IMPATIENT, extra={unwritable: "/run/mailfilter/loaded"})
    wait_ready(pod, "rspamd")
    return container


def test_a_pod_whose_workers_say_nothing_goes_on_to_look_at_the_volume(pod: Pod) -> None:
    container = start_without_reports(pod)
    bad = write_candidate(pod.candidate, files(BROKEN))
    wait_until(lambda: refused(pod).startswith(bad), 20, "the refusal")
    assert "have not said within a minute" in container.output()
    assert active(pod) == ""
    assert pod.ready("rspamd")


def test_what_rspamd_does_not_take_over_is_tried_again_and_not_refused(pod: Pod) -> None:
    container = start_without_reports(pod)
    before = (memory(pod) / "live").readlink()
    wanted = offer(pod, 20)

    def failures() -> int:
        return container.output().count(f"{wanted} was not taken over")

    wait_until(lambda: failures() == 1, 20, "the first failure")
    assert (memory(pod) / "live").readlink() == before
    assert refused(pod) == ""
    # Said once, and tried again all the same.
    wait_until(lambda: (memory(pod) / "live").readlink().name == wanted, 60, "the second attempt")
    wait_until(lambda: (memory(pod) / "live").readlink() == before, 20, "the second failure")
    wait_ready(pod, "rspamd")


def test_what_ends_rspamd_while_it_loads_it_is_not_taken_again(pod: Pod) -> None:
    container, good = start(pod)
    deadly = write_candidate(pod.candidate, DEADLY)
    wait_until(lambda: not container.running(), 30, "the end of rspamd")
    for _ in range(2):
        container = restart(pod, container)
        wait_active(pod, good)
        assert refused(pod).splitlines() == [deadly, "rspamd ended while it loaded it"]
    wait_active(pod, offer(pod, 20))
    assert container.running()


def test_what_ends_rspamd_when_it_starts_is_not_taken_again(pod: Pod) -> None:
    container, good = start(pod)
    deadly = write_candidate(pod.candidate, DEADLY)
    dying = restart(pod, container)
    wait_until(lambda: not dying.running(), 30, "the end of rspamd")
    container = restart(pod, dying)
    wait_active(pod, good)
    assert refused(pod).startswith(deadly)
    assert container.running()


def test_the_end_of_the_container_is_no_verdict(pod: Pod) -> None:
    container, _ = start(pod)
    slow = write_candidate(pod.candidate, ENDLESS)
    wait_taken(pod, slow)
    wait_until(lambda: any("configtest" in line for line in container.processes().values()), 10, "its test")
    assert container.stop() < 10
    assert refused(pod) == ""


def test_what_is_live_is_not_reported_as_refused(pod: Pod) -> None:
    start(pod)
    wanted = offer(pod, 20)
    (memory(pod) / "refused").write_text(f"{wanted}\nfor some reason\n")
    wait_active(pod, wanted)
    wait_until(lambda: refused(pod) == "", 5, "the refusal forgotten")


def test_nothing_is_kept_of_what_was_refused(pod: Pod) -> None:
    _, good = start(pod)
    for score in ("a", "b", "c"):
        bad = write_candidate(pod.candidate, files({ACTIONS: f"reject = 15;\nadd_header = ;\ngreylist = {score};\n"}))
        wait_refused(pod, bad)
    assert [copy.name for copy in (memory(pod) / "candidates").iterdir()] == [good]


@pytest.mark.parametrize("started", [True, False], ids=["while it serves", "before it serves"])
def test_what_could_not_be_written_is_tried_again(pod: Pod, started: bool) -> None:
    candidates = memory(pod) / "candidates"
    container = start(pod)[0] if started else None
    if not started:
        # Makes the container's directories.
        pod.run("rspamd", "true")
        candidates.mkdir()
    candidates.chmod(0o555)
    os.chown(candidates, 0, 0)
    wanted = offer(pod, 20)
    container = container or pod.start("rspamd")
    wait_until(lambda: "cannot write to /run/mailfilter" in container.output(), 20, "the reason")
    candidates.chmod(0o777)
    wait_active(pod, wanted, 40)
    assert container.running()


def test_a_container_that_is_told_to_end_while_rspamd_loads_blames_nobody(pod: Pod) -> None:
    container = start_without_reports(pod)
    before = (memory(pod) / "live").readlink()
    wanted = offer(pod, 20)
    wait_until(lambda: (memory(pod) / "live").readlink().name == wanted, 20, "the reload")
    assert (memory(pod) / "loading").exists()
    # The oldest: it starts shells of its own, which end at any moment.
    os.kill(min(pid for pid, line in container.processes().items() if "/bin/sh" in line), signal.SIGTERM)
    # (rspamd itself may take long to end now.)
    wait_until(lambda: not (memory(pod) / "loading").exists(), 10, "nothing remembered")
    assert refused(pod) == ""
    assert (memory(pod) / "live").readlink() == before
