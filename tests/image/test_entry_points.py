"""The entry points take only a complete, tested configuration, and end at once when told to."""

import socket
import time
from collections.abc import Callable

import pytest
from tests.image.conftest import files, note_source, place_database, serve_databases, wait_ready
from tests.image.pod import PROGRAMS, SALT, Pod, wait_until, write_candidate

BROKEN = {"override.d/actions.conf": "reject = 15;\nadd_header = ;\n"}


def said(container_log: Callable[[], str], text: str) -> None:
    """Returns when the container has printed text."""
    wait_until(lambda: text in container_log(), 15, f"{text!r} in the log")


def test_takes_a_complete_candidate(pod: Pod) -> None:
    wanted = write_candidate(pod.candidate, files())
    pod.start("rspamd")
    wait_ready(pod, "rspamd")
    live = pod.directory / "rspamd/memory/live"
    assert str(live.readlink()) == f"candidates/{wanted}"
    assert [path.name for path in live.parent.joinpath("candidates").iterdir()] == [wanted]
    assert live.joinpath("keys/example.com.mf1.key").stat().st_mode & 0o077 == 0


CREDENTIALS = {"override.d/worker-controller.inc": 'password = "q";\n', "maps/own": "192.0.2.1\n"}


def take(pod: Pod, salt: str = SALT) -> str:
    """What take-config says of a candidate with two files of mx-credentials."""
    write_candidate(pod.candidate, files(), secret=CREDENTIALS, salt=salt)
    taken = pod.run("rspamd", f"{PROGRAMS}/take-config", "local.d", "override.d", "maps", "keys")
    return taken.stdout + taken.stderr


def test_takes_files_of_the_credentials_by_their_salted_hashes(pod: Pod) -> None:
    taken = pod.directory / "rspamd/memory/candidates" / take(pod).strip()
    assert {path: (taken / path).read_text() for path in CREDENTIALS} == CREDENTIALS
    assert not list(taken.glob("*salt*"))


def test_a_copy_says_by_itself_whether_its_text_is_proven(pod: Pod) -> None:
    """The volume may have changed when it is judged, and what was live before says nothing of it."""
    copies = pod.directory / "rspamd/memory/candidates"
    for unproven in (True, False):
        options = files({"override.d/actions.conf": f"reject = {15 + unproven};\n"})
        wanted = write_candidate(pod.candidate, options, unproven=unproven)
        taken = pod.run("rspamd", f"{PROGRAMS}/take-config", "local.d", "override.d", "maps", "keys")
        assert taken.stdout.strip() == wanted
        assert (copies / wanted / "unproven").exists() == unproven
        live = copies.parent / "live"
        live.unlink(missing_ok=True)
        live.symlink_to(f"candidates/{wanted}")


@pytest.mark.parametrize("salt", ["", "5a" * 31, "5A" * 32, "5a" * 32 + "\n", "5a" * 33])
def test_takes_no_credentials_with_a_salt_of_another_form(pod: Pod, salt: str) -> None:
    assert "salt is not 64 hexadecimal digits" in take(pod, salt)


def test_clamav_containers_take_only_their_files(pod: Pod) -> None:
    # As the operator mounts it: the whole manifest, but only the clamav files.
    wanted = write_candidate(pod.candidate, files())
    for path in pod.candidate.joinpath("..data").iterdir():
        if not path.name.startswith(("clamav_", "manifest", "wanted-hash")):
            path.unlink()
    container = pod.start("clamd")
    said(container.output, f"{wanted} accepted")
    taken = pod.directory / "clamd/memory/live"
    assert {str(path.relative_to(taken)) for path in taken.rglob("*") if path.is_file()} == {
        "manifest",
        "clamav/clamd.conf",
        "clamav/freshclam.conf",
    }


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda pod: (pod.candidate / "..data/wanted-hash").write_text("0" * 64), "does not have the wanted hash"),
        (lambda pod: (pod.candidate / "..data/wanted-hash").unlink(), "wanted-hash is missing"),
        (lambda pod: (pod.candidate / "..data/wanted-hash").write_text("any"), "wanted-hash is not a SHA-256"),
        (lambda pod: (pod.candidate / "..data/manifest").unlink(), "manifest is missing"),
        (
            lambda pod: (pod.candidate / "..data/override.d_actions.conf").unlink(),
            "override.d_actions.conf is missing",
        ),
        (
            lambda pod: (pod.candidate / "..data/override.d_actions.conf").write_text("reject = 1;\n"),
            "override.d_actions.conf does not have the hash",
        ),
        (lambda pod: (pod.candidate / "..data/salt").unlink(), "salt is missing"),
        (lambda pod: (pod.candidate / "..data/salt").write_text("a5" * 32), "maps_own does not have the hash"),
        (
            lambda pod: (pod.candidate / "..data/maps_own").write_text("0.0.0.0/0\n"),
            "maps_own does not have the hash",
        ),
        (
            lambda pod: (pod.candidate / "..data/example.com.mf1.key").write_text(""),
            "example.com.mf1.key does not have the hash",
        ),
    ],
    ids=[
        "annotation",
        "no file for the annotation",
        "annotation that is no hash",
        "no manifest",
        "missing file",
        "planted file",
        "no salt",
        "another salt",
        "planted file of the credentials",
        "empty key",
    ],
)
def test_waits_for_a_complete_candidate(pod: Pod, spoil: Callable[[Pod], object], reason: str) -> None:
    write_candidate(pod.candidate, files(), secret={"maps/own": "192.0.2.1\n"})
    spoil(pod)
    container = pod.start("rspamd")
    said(container.output, reason)
    assert not (pod.directory / "rspamd/memory/live").exists()
    assert reason in (pod.directory / "rspamd/termination-log").read_text()
    write_candidate(pod.candidate, files())
    said(container.output, "accepted")


def test_refuses_what_rspamd_cannot_read_and_names_the_line(pod: Pod) -> None:
    refused = write_candidate(pod.candidate, files(BROKEN))
    container = pod.start("rspamd")
    said(container.output, f"{refused} refused")
    report = (pod.directory / "rspamd/termination-log").read_text()
    assert "actions.conf" in report
    assert "line: 2" in report
    assert not pod.ready("rspamd")
    accepted = write_candidate(pod.candidate, files())
    wait_ready(pod, "rspamd")
    assert f"{accepted} accepted" in container.output()


def test_restarted_with_a_bad_candidate_serves_the_earlier_one(pod: Pod) -> None:
    good = write_candidate(pod.candidate, files())
    first = pod.start("rspamd")
    wait_ready(pod, "rspamd")
    first.kill()
    write_candidate(pod.candidate, files(BROKEN))
    second = pod.start("rspamd")
    wait_ready(pod, "rspamd")
    assert "refused" in second.output()
    assert (pod.directory / "rspamd/memory/live").readlink().name == good


def test_restarted_without_a_complete_candidate_serves_the_earlier_one(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    first = pod.start("rspamd")
    wait_ready(pod, "rspamd")
    first.kill()
    (pod.candidate / "..data/wanted-hash").write_text("0" * 64)
    pod.start("rspamd")
    wait_ready(pod, "rspamd")


@pytest.mark.parametrize(("name", "file"), [("clamd", "clamav/clamd.conf"), ("freshclam", "clamav/freshclam.conf")])
def test_clamav_refuses_an_unknown_option(pod: Pod, name: str, file: str) -> None:
    write_candidate(pod.candidate, files({file: files()[file] + "NoSuchOption yes\n"}))
    container = pod.start(name)
    said(container.output, "refused")
    assert "NoSuchOption" in (pod.directory / name / "termination-log").read_text()
    assert container.running()


@pytest.mark.parametrize("name", ["rspamd", "clamd", "freshclam"])
def test_ends_at_once_while_it_waits_for_a_configuration(pod: Pod, name: str) -> None:
    container = pod.start(name)
    said(container.output, "no complete configuration yet")
    assert container.stop() < 3


def test_clamd_ends_at_once_while_it_waits_for_a_database(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    container = pod.start("clamd")
    said(container.output, "waiting for a signature database")
    assert container.stop() < 3


def test_freshclam_ends_at_once_while_a_server_does_not_answer(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    listen = "import socket, time; server = socket.create_server(('127.0.0.1', 8080))"
    silent = f"{listen}; asked = server.accept(); print('asked', flush=True); time.sleep(600)"
    server = pod.start_outside("silent", "python3", "-c", silent)
    container = pod.start("freshclam")
    said(server.output, "asked")
    assert container.stop() < 3


def test_programs_end_at_once_while_they_serve(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    serve_databases(pod)
    containers = [pod.start(name) for name in ("freshclam", "clamd", "rspamd")]
    wait_ready(pod, "clamd", "rspamd")
    assert max(container.stop() for container in containers) < 6


def test_clamd_never_serves_with_the_built_in_signature_alone(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    container = pod.start("clamd")
    said(container.output, "waiting for a signature database")
    (pod.databases / "mailfilter-builtin.ndb").write_text("X:0:*:41414141\n")
    (pod.databases / "local.ign2").write_text("X\n")
    assert not pod.ready("clamd")
    assert not pod.sockets.joinpath("clamd.sock").exists()
    place_database(pod)
    wait_ready(pod, "clamd")


def test_clamd_begins_when_every_source_was_asked(pod: Pod) -> None:
    """Whatever came of it. With the fastest source alone the pod would take the place of one that finds more."""
    other = "http://127.0.0.1:8080/other.ndb"
    write_candidate(pod.candidate, files())
    place_database(pod)
    note_source(pod, other)
    container = pod.start("clamd")
    said(container.output, "waiting for what other sources of signatures have")
    time.sleep(3)
    assert not pod.sockets.joinpath("clamd.sock").exists()
    note_source(pod, other, "failure")
    wait_ready(pod, "clamd")


def test_clamd_does_not_wait_for_ever_for_a_source(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    place_database(pod)
    note_source(pod, "http://127.0.0.1:8080/other.ndb")
    container = pod.start("clamd", "env", "MAILFILTER_SOURCES_PATIENCE=4", f"{PROGRAMS}/clamd")
    said(container.output, "waiting for what other sources of signatures have")
    wait_ready(pod, "clamd")


def test_clamd_waits_again_if_all_databases_go_while_it_waits_for_a_source(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    place_database(pod)
    note_source(pod, "http://127.0.0.1:8080/other.ndb")
    container = pod.start("clamd", "env", "MAILFILTER_SOURCES_PATIENCE=4", f"{PROGRAMS}/clamd")
    said(container.output, "waiting for what other sources of signatures have")
    (pod.databases / "demo.ndb").unlink()
    said(container.output, "waiting for a signature database")
    place_database(pod)
    wait_ready(pod, "clamd")
    assert container.running()


def test_freshclam_recovers_soon_from_a_server_that_has_nothing_at_first(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    server = serve_databases(pod)
    (pod.directory / "www/demo.ndb").unlink()
    container = pod.start("freshclam")
    pod.start("clamd")
    said(container.output, "trying again")
    server.kill()
    serve_databases(pod)
    wait_ready(pod, "clamd", seconds=60)


def test_freshclam_soon_fetches_what_was_missing_at_first(pod: Pod) -> None:
    second = "DatabaseCustomURL http://127.0.0.1:8080/second.ndb\n"
    write_candidate(pod.candidate, files({"clamav/freshclam.conf": files()["clamav/freshclam.conf"] + second}))
    serve_databases(pod)
    container = pod.start("freshclam")
    said(container.output, "trying again")
    wait_until((pod.databases / "demo.ndb").exists, 60, "the first database")
    (pod.directory / "www/second.ndb").write_text(f"Second.Pattern:0:*:{b'second-pattern'.hex()}\n")
    wait_until((pod.databases / "second.ndb").exists, 60, "the second database")


def test_changed_databases_are_loaded(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    place_database(pod)
    pod.start("clamd")
    wait_ready(pod, "clamd")
    (pod.databases / "more.ndb.new").write_text(f"More.Pattern:0:*:{b'another-pattern'.hex()}\n")
    (pod.databases / "more.ndb.new").rename(pod.databases / "more.ndb")

    def found() -> bool:
        script = "echo another-pattern | clamdscan --no-summary --stream -"
        return "More.Pattern" in pod.run("clamd", "sh", "-c", script).stdout

    wait_until(found, 20, "the new signature")


def test_probe_of_a_hanging_program_ends_soon(pod: Pod) -> None:
    # A listener that accepts and says nothing stands for a stopped clamd.
    path = pod.sockets / "clamd.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o666)
        place_database(pod)
        started = time.monotonic()
        assert not pod.ready("clamd")
        assert time.monotonic() - started < 3
