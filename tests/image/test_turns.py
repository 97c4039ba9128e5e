"""A pod whose clamd scans nothing while it loads waits for its turn, and has left the Service by then."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.image.conftest import files, place_database, wait_ready
from tests.image.pod import PROGRAMS, Container, Pod, example_files, wait_until, write_candidate
from tests.image.rootfs import run_in_rootfs
from tests.mail.signatures import many_signatures

CLAMD = "clamav/clamd.conf"
CONCURRENT = "ConcurrentDatabaseReload yes\n"
ONE_ENGINE = example_files()[CLAMD].replace(CONCURRENT, "ConcurrentDatabaseReload no\nIdleTimeout 5\n")
LONG = 600
"""Seconds that no test lasts."""


def start(pod: Pod, *, patience: int = LONG, notice: int = 0, drain: int = 0, text: str = ONE_ENGINE) -> Container:
    """A clamd that serves, with one database."""
    container = begin(pod, patience=patience, notice=notice, drain=drain, text=text)
    wait_ready(pod, "clamd")
    return container


def begin(pod: Pod, *, patience: int = LONG, notice: int = 0, drain: int = 0, text: str = ONE_ENGINE) -> Container:
    """A clamd that is about to serve, with one database."""
    write_candidate(pod.candidate, files({CLAMD: text}))
    place_database(pod)
    times = {"PATIENCE": patience, "NOTICE": notice, "DRAIN": drain}
    settings = [f"MAILFILTER_RELOAD_{name}={seconds}" for name, seconds in times.items()]
    return pod.start("clamd", "env", *settings, f"{PROGRAMS}/clamd")


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
    (pod.sockets / "reload").unlink()  # as the late end of an earlier load does
    wait_until(lambda: report(pod)["reload"]["waiting"] == asked, 10, "the same question again")
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
    start(pod, patience=8)
    add(pod, "more")
    asked = wait_asked(pod)
    wait_loaded(pod, "more", seconds=4 * 8 + 30)
    assert time.time() - asked >= 8


def test_told_to_wait_it_waits_longer_than_it_would_for_nobody(pod: Pod) -> None:
    start(pod, patience=2)
    give_turn(pod, "wait")
    add(pod, "more")
    asked = wait_asked(pod)
    time.sleep(4 * 2 + 6)  # with three looks of its
    assert report(pod)["reload"] == {"waiting": asked, "loading": None}
    give_turn(pod, str(asked))
    wait_loaded(pod, "more")


def test_pods_that_nobody_tells_anything_do_not_load_at_the_same_time() -> None:
    """They ask together; each waits for half an hour and up to an hour and a half more, by its own name."""
    script = (
        f". {PROGRAMS}/take-turn; say_reload() {{ :; }}; "
        'date() { echo 1795970193; }; uptime_seconds() { echo 0; }; cat() { echo "the name $pod of the pod"; }; '
        'for pod in $(seq 20); do asked=; ask_for_turn; echo "$latest $longest"; done'
    )
    lines = run_in_rootfs(["sh", "-c", script]).stdout.splitlines()
    alone, told_to_wait = (sorted(map(int, column)) for column in zip(*map(str.split, lines), strict=True))
    assert len(lines) == 20
    assert alone[0] >= 1800
    assert alone[-1] <= 7200
    assert alone[-1] - alone[0] > 3600
    assert told_to_wait[0] >= 23 * 3600
    assert told_to_wait[-1] - told_to_wait[0] > 3600


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


def test_it_does_not_wait_for_ever_for_a_client_that_stays(pod: Pod) -> None:
    start(pod, drain=5)
    pod.start("rspamd")
    wait_ready(pod, "rspamd", seconds=60)
    with pod.hold_session():
        add(pod, "more")
        give_turn(pod, str(wait_asked(pod)))
        wait_loaded(pod, "more")


def test_when_all_databases_go_while_it_sees_its_clients_off_it_keeps_what_it_has(pod: Pod) -> None:
    start(pod, notice=6)
    add(pod, "more")
    give_turn(pod, str(wait_asked(pod)))
    wait_until(lambda: report(pod)["reload"]["loading"] is not None, 10, "its turn")
    for path in pod.databases.glob("*.*"):
        path.unlink()
    wait_until(lambda: report(pod)["reload"] == IDLE, 30, "the end of its turn")
    time.sleep(3)  # a look of its
    assert report(pod)["loaded"]["databases"] == ["demo.ndb"]
    assert finds(pod, "demo-virus-pattern")
    add(pod, "more")
    give_turn(pod, str(wait_asked(pod)))
    wait_until(lambda: report(pod)["loaded"]["databases"] == ["more.ndb"], 30, "what has come again")


def test_what_comes_while_clamd_starts_waits_for_a_turn_as_well(pod: Pod) -> None:
    """However long clamd takes: it is held up here."""
    pod.databases.joinpath("many.hdb").write_bytes(many_signatures(500_000))
    container = begin(pod)
    with container.held("clamd --foreground"):
        add(pod, "more")
        time.sleep(8)  # three looks of its
    wait_ready(pod, "clamd")
    asked = wait_asked(pod)
    assert report(pod)["loaded"]["databases"] == ["demo.ndb", "many.hdb"]
    give_turn(pod, str(asked))
    wait_until(lambda: "more.ndb" in report(pod)["loaded"]["databases"], 30, "what came")


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
