"""A running pod takes a new configuration without a restart: tested, whole, and only what it was told."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from tests.image.conftest import files, place_database, signing_key, wait_ready
from tests.image.messages import CLEAN, INFECTED, message
from tests.image.pod import Container, Pod, wait_until, write_candidate

ACTIONS = "override.d/actions.conf"
MULTIMAP = "local.d/multimap.conf"
EXPECTED = "probes/expected"
PROBES = "gtube\nsigned me@example.com me@example.com 192.0.2.1\n"
ACCEPT_ALL = {
    MULTIMAP: 'ALL { type = "ip"; map = "$LOCAL_CONFDIR/maps/all"; action = "accept"; }\n',
    "maps/all": "0.0.0.0/0\n",
}
HARMLESS = {
    MULTIMAP: 'NONE { type = "ip"; map = "$LOCAL_CONFDIR/maps/none"; score = 1; }\n',
    "maps/none": "192.0.2.77\n",
}


def reject_from(score: str) -> dict[str, str]:
    """The example configuration that refuses from this score on."""
    return files({ACTIONS: f"reject = {score};\nadd_header = null;\ngreylist = null;\n", EXPECTED: PROBES})


def workers(container: Container) -> set[int]:
    """Process ids of rspamd's milter workers."""
    return {pid for pid, line in container.processes().items() if "rspamd_proxy process" in line}


@pytest.fixture
def serving(pod: Pod) -> tuple[Pod, Container]:
    """Provide a pod that serves the example configuration, and its rspamd container."""
    place_database(pod)
    wanted = write_candidate(pod.candidate, reject_from("15"))
    container = pod.start("rspamd")
    pod.start("clamd")
    wait_ready(pod, "rspamd", "clamd")
    pod.wait_active(wanted)
    return pod, container


Serving = tuple[Pod, Container]


def test_a_change_is_live_without_a_restart(serving: Serving) -> None:
    pod, container = serving
    assert pod.scan(CLEAN).reply == "accept"
    pod.wait_active(write_candidate(pod.candidate, reject_from("0.05")))
    assert pod.scan(CLEAN).reply.startswith("554")
    pod.wait_active(write_candidate(pod.candidate, reject_from("15")))
    assert pod.scan(CLEAN).reply == "accept"
    assert container.running()
    assert container.output().count("is loading configuration") == 1


def test_every_worker_has_loaded_what_is_reported_as_active(serving: Serving) -> None:
    pod, _ = serving
    pod.wait_active(write_candidate(pod.candidate, reject_from("0.05")))
    replies = {pod.scan(CLEAN).reply[:3] for _ in range(12)}
    assert replies == {"554"}


def test_no_mail_is_lost_while_it_changes(serving: Serving) -> None:
    pod, _ = serving
    command = [sys.executable, "-m", "tests.image.milter", "11332"]
    replies = []
    for score in ("14", "13", "12"):
        wanted = write_candidate(pod.candidate, reject_from(score))
        while pod.state().get("active") != wanted:
            replies.append(json.loads(pod.on_network(*command, stdin=CLEAN))["reply"])
            assert len(replies) < 500
    assert len(replies) >= 3
    assert set(replies) == {"accept"}


def test_a_bad_candidate_is_reported_with_file_and_line_and_the_last_one_serves(serving: Serving) -> None:
    pod, _ = serving
    before = pod.state()["active"]
    bad = write_candidate(pod.candidate, files({ACTIONS: "reject = 15;\nadd_header = ;\n"}))
    wait_until(lambda: (pod.state().get("refused") or {}).get("hash") == bad, 30, "the refusal")
    state = pod.state()
    assert re.search(r"override\.d/actions\.conf: line: 2", state["refused"]["error"])
    assert state["active"] == before
    assert pod.scan(CLEAN).reply == "accept"
    good = write_candidate(pod.candidate, reject_from("14"))
    pod.wait_active(good)


def test_what_is_not_whole_or_not_asked_for_is_left_alone(serving: Serving) -> None:
    pod, container = serving
    before = pod.state()["active"]
    write_candidate(pod.candidate, reject_from("0.05"), wanted=before)
    wait_until(lambda: f"does not have the wanted hash {before}" in container.output(), 20, "the reason")
    whole = write_candidate(pod.candidate, reject_from("0.05"))
    (pod.candidate / "..data" / ACTIONS.replace("/", "_")).write_text("reject = 0.01;\n")
    assert pod.scan(CLEAN).reply == "accept"
    assert pod.state()["active"] in (before, whole)  # the file may have been taken before it was spoilt
    pod.wait_active(write_candidate(pod.candidate, reject_from("0.04")))


def test_a_pod_that_nobody_has_told_takes_what_is_whole(pod: Pod) -> None:
    place_database(pod)
    wanted = write_candidate(pod.candidate, reject_from("15"))
    (pod.candidate / "..data/wanted-hash").write_text("")
    pod.start("rspamd")
    pod.start("clamd")
    pod.wait_active(wanted)


def test_unchanged_files_are_not_taken_again_and_removed_ones_go(serving: Serving) -> None:
    pod, _ = serving
    live = pod.directory / "rspamd/memory/live"
    before = (live / "override.d/options.inc").stat().st_ino
    pod.wait_active(write_candidate(pod.candidate, {**reject_from("14"), **HARMLESS}))
    assert (live / MULTIMAP).exists()
    pod.wait_active(write_candidate(pod.candidate, reject_from("13")))
    assert not (live / MULTIMAP).exists()
    assert (live / "override.d/options.inc").stat().st_ino == before
    assert not [path for path in live.rglob("*") if path.is_file() and path.stat().st_mode & 0o333]


def test_an_old_worker_still_finds_its_keys(serving: Serving) -> None:
    """A session that was open before a key was replaced goes on to sign with the old one."""
    pod, _ = serving
    live = pod.directory / "rspamd/memory/live/keys"
    renamed = {
        path: text.replace("mf1", "mf2") for path, text in reject_from("15").items() if not path.startswith("keys/")
    }
    with pod.hold_session():
        pod.wait_active(write_candidate(pod.candidate, {**renamed, "keys/example.com.mf2.key": signing_key()}))
        assert {path.name for path in live.iterdir()} == {"example.com.mf1.key", "example.com.mf2.key"}
    wait_until(lambda: [path.name for path in live.iterdir()] == ["example.com.mf2.key"], 40, "the old key removed")


def test_reloads_wait_for_old_workers_and_only_the_last_change_counts(serving: Serving) -> None:
    pod, container = serving
    at_first = workers(container)
    with pod.hold_session():
        pod.wait_active(write_candidate(pod.candidate, reject_from("14")))
        most = 0
        for score in ("13", "12", "11"):
            wanted = write_candidate(pod.candidate, reject_from(score))
            time.sleep(1)
            most = max(most, len(workers(container)))
        assert most <= 2 * len(at_first)
        assert pod.state()["active"] != wanted
    pod.wait_active(wanted, 60)
    assert container.output().count("is live") == 2


def test_ends_when_rspamd_ends_and_when_it_is_told(serving: Serving) -> None:
    pod, container = serving
    (main,) = [pid for pid, line in container.processes().items() if "main process" in line]
    os.kill(main, signal.SIGKILL)
    wait_until(lambda: not container.running(), 10, "the end of the container")
    again = pod.start("rspamd")
    wait_ready(pod, "rspamd")
    assert again.stop() < 10


def test_metrics_need_no_password(serving: Serving) -> None:
    pod, _ = serving
    text = pod.get("/cgi-bin/metrics")
    assert "rspamd_scanned_total" in text
    assert text.rstrip().endswith("# EOF")


def test_the_report_names_the_engine_and_the_last_self_test(serving: Serving) -> None:
    pod, _ = serving
    state = pod.state()
    assert state["engine"].startswith("ClamAV 1.")
    assert abs(time.time() - state["selfTest"]) < 60
    assert state["refused"] is None
    assert state["trial"] is None


def test_nothing_else_is_served_on_the_report_port(serving: Serving) -> None:
    pod, _ = serving
    for path in ("/", "/../accept-config", "/cgi-bin/", "/cgi-bin/../../rspamd", "/etc/passwd"):
        with pytest.raises(subprocess.CalledProcessError):
            pod.get(path)


@pytest.mark.parametrize(
    ("changes", "error"),
    [(HARMLESS, None), (ACCEPT_ALL, "is accepted before it is judged")],
    ids=["harmless", "disarming"],
)
def test_raw_text_is_tried_beside_what_serves(serving: Serving, changes: dict[str, str], error: str | None) -> None:
    pod, _ = serving
    before = reject_from("15")
    active = write_candidate(pod.candidate, before, tried={**before, **changes})
    wanted = (pod.candidate / "..data/wanted-candidate").read_text()
    wait_until(lambda: (pod.state().get("trial") or {}).get("hash") == wanted, 60, "the verdict")
    found = pod.state()["trial"]["error"]
    assert (error in found) if error else found is None
    assert pod.state()["active"] == active
    assert pod.scan(INFECTED["body"]).reply.startswith("554")
    assert not (pod.directory / "rspamd/memory/live" / MULTIMAP).exists()


def test_what_is_no_longer_asked_for_is_forgotten_and_can_be_tried_again(serving: Serving) -> None:
    pod, _ = serving
    before = reject_from("15")
    for _ in range(2):
        write_candidate(pod.candidate, before, tried={**before, **ACCEPT_ALL})
        wait_until(lambda: pod.state().get("trial") is not None, 60, "the verdict")
        write_candidate(pod.candidate, before)
        wait_until(lambda: pod.state().get("trial") is None, 10, "that it is forgotten")


def test_a_trial_leaves_no_process_and_no_file_behind(serving: Serving) -> None:
    pod, container = serving
    before = reject_from("15")
    write_candidate(pod.candidate, before, tried={**before, **ACCEPT_ALL})
    wait_until(lambda: pod.state().get("trial") is not None, 60, "the verdict")
    wait_until(lambda: len(workers(container)) == 2, 10, "the workers that serve alone")
    assert list((pod.directory / "rspamd/tmp").iterdir()) == []
    assert not (pod.directory / "rspamd/memory/trials").exists()


def test_raw_text_that_nobody_has_proven_proves_itself_before_it_serves(pod: Pod) -> None:
    place_database(pod)
    bad = write_candidate(pod.candidate, {**reject_from("15"), **ACCEPT_ALL}, unproven=True)
    pod.start("clamd")
    wait_ready(pod, "clamd")
    pod.start("rspamd")
    wait_until(lambda: (pod.state().get("refused") or {}).get("hash") == bad, 60, "the refusal")
    assert "is accepted before it is judged" in pod.state()["refused"]["error"]
    assert pod.state()["active"] is None
    pod.wait_active(write_candidate(pod.candidate, {**reject_from("15"), **HARMLESS}, unproven=True), 60)


def test_raw_text_is_not_judged_as_long_as_clamd_finds_nothing(pod: Pod) -> None:
    wanted = write_candidate(pod.candidate, {**reject_from("15"), **HARMLESS}, unproven=True)
    container = pod.start("rspamd")
    wait_until(lambda: "clamd finds no virus at the moment" in container.output(), 30, "the reason")
    assert pod.state() == {**pod.state(), "active": None, "refused": None}
    place_database(pod)
    pod.start("clamd")
    pod.wait_active(wanted, 60)


def test_text_that_looks_like_a_template_is_text_after_a_reload_too(serving: Serving) -> None:
    pod, _ = serving
    marked = {
        MULTIMAP: 'NONE { type = "ip"; map = "$LOCAL_CONFDIR/maps/none"; description = "{% if x %}{= env.HOME =}"; }\n'
    }
    pod.wait_active(write_candidate(pod.candidate, {**reject_from("14"), **HARMLESS, **marked}))
    assert pod.scan(message(b"hello")).reply == "accept"
