"""No bad database of a custom URL reaches clamd; the last good one stays, and the pod says what is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.image.conftest import files, place_database
from tests.image.pod import PROGRAMS, Container, Pod, wait_until, write_candidate
from tests.image.rootfs import run_in_rootfs
from tests.image.test_failures import FRESHCLAM, custom, pattern
from tests.mail import signed_databases

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
READINESS = "MailFilter.Builtin.Readiness-Probe"
EVERY_MAIL = f"Every.Mail:0:*:{b'Subject: '.hex()}\n"
PAGE = "<!DOCTYPE html><html><body>Please log in</body></html>\n"


def prove(tmp_path: Path, name: str, content: str, *others: str, memory: str = "max") -> tuple[int, str]:
    """Exit status and words of prove-database, in a container with so much memory."""
    (tmp_path / name).write_text(content)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o1777)
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(path.stat().st_mode | 0o055)
    (tmp_path / "memory.max").write_text(f"{memory}\n")
    binds = {tmp_path: "/var/lib/clamav", scratch: "/tmp", tmp_path / "memory.max": "/sys/fs/cgroup/memory.max"}
    paths = [f"/var/lib/clamav/{path}" for path in (name, *others)]
    found = run_in_rootfs([f"{PROGRAMS}/prove-database", *paths], binds, timeout=120)
    assert found.stderr == ""
    assert list(scratch.iterdir()) == []
    return found.returncode, found.stdout.strip()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("local.ndb", pattern("Good")),
        ("local.hdb", f"{hashlib.md5(b'a').hexdigest()}:1:Good.Hash\n"),  # noqa: S324 - the format's own
        ("local.yar", 'rule Good { strings: $a = "a pattern of one\'s own" condition: $a }\n'),
        ("eicar.ndb", f"Own.Eicar:0:*:{EICAR.hex()}\n"),
        ("local.ign2", "Some.Other.Signature\n"),
        ("local.fp", f"{hashlib.md5(b'a').hexdigest()}:1:a file\n"),  # noqa: S324
        ("local.wdb", "X:.+example\\.com([/?].*)?:.+example\\.org([/?].*)?:17-\n"),
    ],
)
def test_a_good_database_is_let_in(tmp_path: Path, name: str, content: str) -> None:
    assert prove(tmp_path, name, content) == (0, "")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.ndb", "", "it is empty"),
        ("page.ndb", PAGE, "clamd cannot load it: .*"),
        ("page.hdb", PAGE, "clamd cannot load it: .*"),
        ("malformed.ldb", "Name;Target:0;(0&1;6162\n", "clamd cannot load it: .*"),
        ("every.ndb", EVERY_MAIL, "it finds something in a harmless file: Every.Mail.UNOFFICIAL in .*eml"),
        ("text.ndb", f"Plain:7:*:{b'the '.hex()}\n", "it finds something in a harmless file: Plain.UNOFFICIAL in .*"),
        ("png.ndb", f"Png:0:0:{b'.PNG'.hex().replace('2e', '89')}\n", "it finds something in a harmless file: Png.*"),
        ("zip.ndb", "Zip:0:0:504b0304\n", "it finds something in a harmless file: Zip.*"),
        (
            "all.yar",
            'rule All { strings: $a = "Subject: " condition: $a }\n',
            "it finds something in a harmless file: YARA.All.*",
        ),
        ("ready.ign2", f"{READINESS}\n", "with it a known virus or the readiness probe is not found .*readiness.*"),
        ("both.ign2", f"MailFilter.Builtin.Eicar-Test-File\n{READINESS}\n", "with it a known virus .*"),
        ("eicar.fp", f"{hashlib.md5(EICAR).hexdigest()}:68:x\n", "with it a known virus .*"),  # noqa: S324
        ("eicar.sfp", f"{hashlib.sha256(EICAR).hexdigest()}:68:x\n", "with it a known virus .*"),
        ("off.cfg", "ARCHIVE:0x0:0:255\n", "a database of the kind .cfg may switch off what finds viruses"),
        ("trust.crb", "x\n", "a database of the kind .crb may .*"),
        ("any.cud", "x\n", "a database of the kind .cud may .*"),
        ("zip.ftm", "0:0:504b0304:Other:CL_TYPE_ANY:CL_TYPE_IGNORED\n", "a database of the kind .ftm may .*"),
        ("readme.txt", "x\n", "clamd loads no database of the kind .txt"),
    ],
)
def test_a_bad_database_is_kept_out(tmp_path: Path, name: str, content: str, reason: str) -> None:
    status, said = prove(tmp_path, name, content)
    assert status == 1
    assert re.fullmatch(reason, said), said


def test_a_database_is_tried_together_with_the_others(tmp_path: Path) -> None:
    (tmp_path / "other.ndb").write_text(pattern("Good"))
    assert prove(tmp_path, "first.ndb", pattern("First"), "other.ndb") == (0, "")


def test_others_that_went_bad_let_nothing_in(tmp_path: Path) -> None:
    (tmp_path / "other.ndb").write_text(PAGE)
    assert prove(tmp_path, "good.ndb", pattern("Good"), "other.ndb")[0] == 1


def test_what_the_configuration_excludes_does_not_count_against_a_database(tmp_path: Path) -> None:
    """Else leaving the one bad signature out, which is the remedy, would change nothing."""
    (tmp_path / "mailfilter-exclude.ign2").write_text("Every.Mail.UNOFFICIAL\nEvery.Mail\n")
    assert prove(tmp_path, "every.ndb", EVERY_MAIL + pattern("Good"), "mailfilter-exclude.ign2") == (0, "")


def test_a_container_too_small_to_try_any_database_says_so(tmp_path: Path) -> None:
    status, said = prove(tmp_path, "local.ndb", pattern("Good"), memory=str(64 << 20))
    assert (status, said) == (1, "to test it takes more than 64 MiB; raise spec.pod.resources.freshclam.limits.memory")


def test_a_database_too_large_for_the_memory_is_refused_in_words(tmp_path: Path) -> None:
    """Before the container's memory is used up: the kernel would end freshclam with it."""
    lines = (f"{number:032x}:{number + 1}:Test.Hash-{number}\n" for number in range(600_000))
    status, said = prove(tmp_path, "large.hdb", "".join(lines), memory=str(128 << 20))
    assert (status, said) == (1, "to test it takes more than 64 MiB; raise spec.pod.resources.freshclam.limits.memory")


ASK_TWICE = f"""\
. {PROGRAMS}/source-state
. {PROGRAMS}/keep-custom
lib=/tmp settings=/dev/null database=/var/lib/clamav own=/tmp file=local.ndb
echo offered >/tmp/local.ndb
for time in first second; do
    if proven; then echo let in; else echo "$verdict"; fi
done
"""


@pytest.mark.parametrize(("status", "afterwards"), [(1, "why not"), (2, "let in")])
def test_only_a_verdict_is_kept(tmp_path: Path, status: int, afterwards: str) -> None:
    """A database that could not be tried, for want of time or room, is tried again."""
    tmp_path.chmod(0o1777)
    trial = tmp_path / "prove-database"
    trial.write_text(f"#!/bin/sh\n[ -e /tmp/tried ] && exit\n>/tmp/tried\necho why not\nexit {status}\n")
    trial.chmod(0o755)

    found = run_in_rootfs(["sh", "-c", ASK_TWICE], {tmp_path: "/tmp"})
    assert found.stdout.splitlines() == ["why not", afterwards], found.stderr


class Server:
    """A web server whose answers change: name -> status and body."""

    def __init__(self, pod: Pod) -> None:
        self._file = pod.directory / "answers.json"
        self.answer()
        script = (
            "import http.server, json, sys\n"
            "class Handler(http.server.BaseHTTPRequestHandler):\n"
            "    def do_GET(self):\n"
            "        answers = json.load(open(sys.argv[1]))\n"
            "        status, body = answers.get(self.path.rpartition('/')[2], (404, ''))\n"
            "        self.send_response(status)\n"
            "        if status == 429: self.send_header('Retry-After', '7200')\n"
            "        self.end_headers(); self.wfile.write(__import__('base64').b64decode(body))\n"
            "    do_HEAD = do_GET\n"
            "http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Handler).serve_forever()\n"
        )
        self._container = pod.start_outside("www", sys.executable, "-c", script, str(self._file))

    def answer(self, **bodies: str | bytes | int) -> None:
        """From here on: a body, or the status of a refusal, for each name with _ for the dot."""
        answers = {
            name.replace("_", "."): (body, "")
            if isinstance(body, int)
            else (200, base64.b64encode(body if isinstance(body, bytes) else body.encode()).decode())
            for name, body in bodies.items()
        }
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps(answers))
        unfinished.rename(self._file)

    def requests(self, name: str) -> int:
        """How often it was asked for a name."""
        return self._container.output().count(f"/{name} ")


@pytest.fixture
def server(pod: Pod) -> Server:
    """Provide a web server on the pod's network."""
    return Server(pod)


def start(pod: Pod, *names: str, text: str = "") -> Container:
    """Freshclam with custom databases of these names, asked for every 2 seconds."""
    config = (text or files()[FRESHCLAM].replace(custom("demo.ndb"), "")).replace("Checks 12", "Checks 43200")
    assert "Checks 43200" in config
    write_candidate(pod.candidate, files({FRESHCLAM: config + "".join(map(custom, names))}))
    return pod.start("freshclam")


def report(pod: Pod) -> dict[str, Any]:
    """The pod's report."""
    answer = pod.run("rspamd", f"{PROGRAMS}/www/cgi-bin/state").stdout
    found: dict[str, Any] = json.loads(answer[answer.index("{") :])
    return found


def sources(pod: Pod) -> dict[str, dict[str, Any]]:
    """What it says of each source."""
    return {source["name"]: source for source in report(pod)["sources"]}


def says(pod: Pod, name: str, key: str, text: str | None) -> bool:
    """Whether the report has this text in a source's entry; None: null."""
    found = sources(pod).get(name, {"": ""}).get(key, "")
    return found is None if text is None else text in (found or "")


def test_last_good_database_stays_until_a_later_one_is_good(pod: Pod, server: Server) -> None:
    server.answer(local_ndb=pattern("First"), other_ndb=pattern("Other"))
    container = start(pod, "local.ndb", "other.ndb")
    local = pod.databases / "local.ndb"
    wait_until(lambda: local.exists() and (pod.databases / "other.ndb").exists(), 20, "both databases")
    wait_until(lambda: says(pod, "local.ndb", "refused", None), 10, "a source in order")
    server.answer(local_ndb=EVERY_MAIL, other_ndb=pattern("Another"))
    wait_until(lambda: says(pod, "local.ndb", "refused", "harmless"), 20, "the refusal in the report")
    assert local.read_text() == pattern("First")
    wait_until(lambda: (pod.databases / "other.ndb").read_text() == pattern("Another"), 20, "the other one followed")
    before = sources(pod)["local.ndb"]
    assert before["lastFailure"] is not None
    assert before["lastSuccess"] is not None
    server.answer(local_ndb=pattern("Second"), other_ndb=pattern("Another"))
    wait_until(lambda: local.read_text() == pattern("Second"), 20, "the later good one")
    wait_until(lambda: says(pod, "local.ndb", "refused", None), 10, "no refusal any more")
    assert "local.ndb is not used: it finds something in a harmless file" in container.output()


def test_database_that_was_never_good_is_not_shown_and_not_tried_twice(pod: Pod, server: Server) -> None:
    server.answer(page_ndb=PAGE, good_ndb=pattern("Good"))
    start(pod, "page.ndb", "good.ndb")
    wait_until(lambda: says(pod, "page.ndb", "refused", "clamd cannot load it"), 20, "the refusal")
    wait_until((pod.databases / "good.ndb").exists, 20, "the good one")
    assert not (pod.databases / "page.ndb").exists()
    assert sources(pod)["page.ndb"]["lastSuccess"] is None


def test_failed_and_refused_checks_are_told_without_the_address(pod: Pod, server: Server) -> None:
    server.answer(good_ndb=pattern("Good"))
    start(pod, "token-s3cret/slow.ndb", "token-s3cret/missing.ndb", "token-s3cret/good.ndb")
    wait_until((pod.databases / "good.ndb").exists, 20, "a database")
    server.answer(slow_ndb=429, good_ndb=pattern("Good"))
    wait_until(lambda: says(pod, "slow.ndb", "error", "error code 429"), 20, "the refusal of the server")
    wait_until(
        lambda: says(pod, "missing.ndb", "error", "there is no such file at the server (404)"), 20, "the failure"
    )
    wait_until(lambda: sources(pod)["good.ndb"]["lastSuccess"] is not None, 20, "the success")
    found = sources(pod)
    assert found["slow.ndb"]["lastSuccess"] is None
    assert found["slow.ndb"]["retryAfter"] == pytest.approx(found["slow.ndb"]["lastFailure"] + 7200, abs=2)
    assert found["missing.ndb"]["retryAfter"] is None
    assert "s3cret" not in json.dumps(found)
    server.answer(good_ndb=500)
    wait_until(lambda: says(pod, "good.ndb", "error", "Unexpected response (500)"), 20, "the later failure")
    assert sources(pod)["good.ndb"]["lastSuccess"] is not None
    assert (pod.databases / "good.ndb").exists()


def test_source_that_is_configured_no_more_is_forgotten(pod: Pod, server: Server) -> None:
    server.answer(first_ndb=pattern("First"), second_ndb=pattern("Second"))
    container = start(pod, "first.ndb", "second.ndb")
    wait_until(lambda: set(sources(pod)) == {"first.ndb", "second.ndb"}, 20, "both sources")
    container.stop()
    start(pod, "second.ndb")
    wait_until(lambda: set(sources(pod)) == {"second.ndb"}, 20, "the one that is left")


def test_official_databases_are_told_with_version_and_build_time(pod: Pod, server: Server) -> None:
    config = "DatabaseDirectory /var/lib/clamav\nChecks 12\nTestDatabases no\nPrivateMirror http://127.0.0.1:8080\n"
    server.answer(
        daily_cvd=signed_databases.read(3), main_cvd=signed_databases.read(2), bytecode_cvd=signed_databases.read(1)
    )
    start(pod, text=config)
    wait_until(
        lambda: "official" in sources(pod) and len(sources(pod)["official"]["databases"]) == 3, 30, "the databases"
    )
    wait_until(lambda: sources(pod)["official"]["lastSuccess"] is not None, 10, "the check")
    fields = signed_databases.read(3)[:512].decode().split(":")
    assert sources(pod)["official"]["databases"][0] == f"daily.cvd:3:{int(fields[8])}"
    server.answer(main_cvd=signed_databases.read(2), bytecode_cvd=signed_databases.read(1))
    wait_until(lambda: says(pod, "official", "error", "daily"), 20, "the failed check of the daemon")
    assert len(sources(pod)["official"]["databases"]) == 3


def test_report_tells_what_clamd_has_loaded_and_why_it_did_not_load_more(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    place_database(pod)
    pod.start("clamd")
    wait_until(lambda: report(pod)["loaded"]["databases"] == ["demo.ndb"], 20, "the first load")
    (pod.databases / "bad.ndb").write_text(PAGE)
    wait_until(
        lambda: report(pod)["loaded"]["error"] == "Can't load bad.ndb: Malformed database", 20, "the failed reload"
    )
    assert report(pod)["loaded"]["databases"] == ["demo.ndb"]
    (pod.databases / "bad.ndb").unlink()
    (pod.databases / "more.ndb").write_text(pattern("More"))
    wait_until(lambda: report(pod)["loaded"]["databases"] == ["demo.ndb", "more.ndb"], 20, "the next reload")
    assert report(pod)["loaded"]["error"] is None
