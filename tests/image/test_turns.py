"""A pod whose clamd scans nothing while it loads waits for its turn, and has left the Service by then."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.image.conftest import files, place_database, wait_ready
from tests.image.pod import PROGRAMS, Container, Pod, example_files, wait_until, write_candidate

CLAMD = "clamav/clamd.conf"
CONCURRENT = "ConcurrentDatabaseReload yes\n"
ONE_ENGINE = example_files()[CLAMD].replace(CONCURRENT, "ConcurrentDatabaseReload no\nIdleTimeout 5\n")
LONG = 600
"""Seconds that no test lasts."""


def start(pod: Pod, *, patience: int = LONG, notice: int = 0, drain: int = 0, text: str = ONE_ENGINE) -> Container:
    """A clamd that serves, with one database."""
    write_candidate(pod.candidate, files({CLAMD: text}))
    place_database(pod)
    times = {"PATIENCE": patience, "NOTICE": notice, "DRAIN": drain}
    settings = [f"MAILFILTER_RELOAD_{name}={seconds}" for name, seconds in times.items()]
    container = pod.start("clamd", "env", *settings, f"{PROGRAMS}/clamd")
    wait_ready(pod, "clamd")
    return container


def report(pod: Pod) -> dict[str, Any]:
    """The pod's report."""
    answer = pod.run("rspamd", f"{PROGRAMS}/www/cgi-bin/state").stdout
    found: dict[str, Any] = json.loads(answer[answer.index("{") :])
    return found


def add(pod: Pod, name: str, content: str | None = None) -> None:
    """Another database, as freshclam places it."""
    unfinished = pod.databases / "unfinished"
    unfinished.write_text(content or f"{name}:0:*:{name.encode().hex()}\n")
    unfinished.rename(pod.databases / f"{name}.ndb")


def give_turn(pod: Pod, turn: str) -> None:
    """What the kubelet shows of the pod's annotation."""
    (pod.candidate / "turn.new").write_text(turn)
    (pod.candidate / "turn.new").rename(pod.candidate / "reload-turn")


def wait_asked(pod: Pod) -> int:
    """The number by which it waits for its turn."""
    wait_until(lambda: report(pod)["reload"]["waiting"] is not None, 20, "the question for a turn")
    waiting: int = report(pod)["reload"]["waiting"]
    return waiting


def wait_loaded(pod: Pod, *names: str, seconds: float = 30) -> None:
    """Returns when clamd has loaded the databases of these names."""
    wanted = ["demo.ndb", *(f"{name}.ndb" for name in names)]
    wait_until(lambda: report(pod)["loaded"]["databases"] == wanted, seconds, f"{wanted} loaded")


def finds(pod: Pod, text: str) -> bool:
    """Whether clamd finds something in it."""
    return " FOUND" in pod.run("clamd", "sh", "-c", f"echo {text} | clamdscan --no-summary --stream -").stdout


IDLE = {"waiting": None, "loading": None}


def test_it_waits_for_its_turn_and_scans_with_what_it_has(pod: Pod) -> None:
    start(pod)
    assert report(pod)["reload"] == IDLE
    add(pod, "more")
    asked = wait_asked(pod)
    assert abs(time.time() - asked) < 30
    give_turn(pod, str(asked - 1))  # that of another time, or of another pod
    time.sleep(6)  # three looks of its
    assert report(pod)["reload"] == {"waiting": asked, "loading": None}
    assert report(pod)["loaded"]["databases"] == ["demo.ndb"]
    assert pod.ready("clamd")
    assert finds(pod, "demo-virus-pattern")
    give_turn(pod, str(asked))
    wait_loaded(pod, "more")
    wait_until(lambda: report(pod)["reload"] == IDLE, 10, "the end of its turn")
    wait_ready(pod, "clamd")
    assert finds(pod, "there-is-more")


def test_a_turn_is_for_one_time(pod: Pod) -> None:
    start(pod)
    add(pod, "more")
    asked = wait_asked(pod)
    give_turn(pod, str(asked))
    wait_loaded(pod, "more")
    add(pod, "third")
    wait_until(lambda: report(pod)["reload"]["waiting"] not in (None, asked), 20, "another question")
    assert report(pod)["loaded"]["databases"] == ["demo.ndb", "more.ndb"]


def test_what_comes_while_it_waits_is_loaded_at_the_same_time(pod: Pod) -> None:
    start(pod)
    add(pod, "more")
    asked = wait_asked(pod)
    add(pod, "third")
    time.sleep(5)  # two looks of its
    assert report(pod)["reload"]["waiting"] == asked
    give_turn(pod, str(asked))
    wait_loaded(pod, "more", "third")
    wait_until(lambda: report(pod)["reload"] == IDLE, 10, "the end of its turn")


def test_without_anybody_to_give_it_a_turn_it_loads_at_last(pod: Pod) -> None:
    start(pod, patience=15)
    add(pod, "more")
    asked = wait_asked(pod)
    wait_loaded(pod, "more", seconds=45)
    assert time.time() - asked >= 15


@pytest.mark.parametrize("concurrent", [True, False], ids=["with memory for two engines", "alone"])
def test_a_pod_that_disturbs_nobody_loads_at_once(pod: Pod, concurrent: bool) -> None:
    start(pod, text=example_files()[CLAMD] if concurrent else ONE_ENGINE, notice=LONG)
    if not concurrent:
        give_turn(pod, "any-time")
    add(pod, "more")
    wait_loaded(pod, "more")
    wait_ready(pod, "clamd")


def test_it_leaves_the_service_first_and_sees_its_clients_off(pod: Pod) -> None:
    start(pod, notice=4, drain=LONG)
    pod.start("rspamd")
    wait_ready(pod, "rspamd", seconds=60)
    with pod.hold_session():
        add(pod, "more")
        give_turn(pod, str(wait_asked(pod)))
        wait_until(lambda: not pod.ready("clamd"), 10, "the pod out of the Service")
        assert "loads other signatures" in pod.run("clamd", f"{PROGRAMS}/probe-clamd").stdout
        time.sleep(8)  # twice the notice
        assert report(pod)["reload"]["loading"] is not None
        assert report(pod)["loaded"]["databases"] == ["demo.ndb"]
        assert finds(pod, "demo-virus-pattern")
    wait_loaded(pod, "more")
    wait_ready(pod, "clamd")


def test_a_clamd_that_does_not_answer_while_it_loads_is_not_hung(pod: Pod) -> None:
    container = start(pod, notice=LONG)
    add(pod, "more")
    give_turn(pod, str(wait_asked(pod)))
    wait_until(lambda: report(pod)["reload"]["loading"] is not None, 10, "its turn")
    (clamd,) = (pid for pid, line in container.processes().items() if line.startswith("clamd --foreground"))
    pod.on_network("kill", "-STOP", str(clamd))
    assert pod.run("clamd", f"{PROGRAMS}/probe-clamd", "alive").returncode == 0
    state = pod.sockets / "reload"
    past = time.time() - 31 * 60
    pod.on_network("touch", "-d", f"@{past:.0f}", str(state))
    assert pod.run("clamd", f"{PROGRAMS}/probe-clamd", "alive").returncode == 1
    pod.on_network("kill", "-CONT", str(clamd))


def test_a_database_that_cannot_be_loaded_takes_it_out_of_the_service_until_another_comes(pod: Pod) -> None:
    container = start(pod)
    add(pod, "bad", "<html>\n")
    give_turn(pod, str(wait_asked(pod)))
    wait_until(lambda: "bad.ndb" in str(report(pod)["loaded"]["error"]), 30, "the failed load")
    wait_until(lambda: report(pod)["reload"] == IDLE, 10, "the end of its turn")
    assert not pod.ready("clamd")
    (pod.databases / "bad.ndb").unlink()
    wait_ready(pod, "clamd")
    assert finds(pod, "demo-virus-pattern")
    assert report(pod)["loaded"]["error"] is None
    assert container.running()
    add(pod, "more")
    give_turn(pod, str(wait_asked(pod)))
    wait_loaded(pod, "more")
    assert container.stop() < 10


def test_a_clamd_that_starts_anew_has_loaded_what_it_waited_for(pod: Pod) -> None:
    container = start(pod)
    add(pod, "more")
    wait_asked(pod)
    container.stop()
    pod.start("clamd")
    wait_loaded(pod, "more")
    assert report(pod)["reload"] == IDLE
