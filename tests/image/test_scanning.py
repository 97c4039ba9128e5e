"""The programs of a pod together: what is refused, what is accepted, and that failures never accept (P1)."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.image.conftest import files, serve_databases, wait_ready
from tests.image.messages import CLEAN, GTUBE, INFECTED, message
from tests.image.milter import Verdict
from tests.image.pod import Pod, wait_until, write_candidate
from tests.image.rootfs import rootfs

# Short enough for tests: a hanging clamd counts as failed after 2 * 2 seconds.
QUICK = {"override.d/antivirus.conf": files()["override.d/antivirus.conf"].replace("12.0", "2.0")}
GUARD = "-- Of the last kind that runs"
"""Where the rule against unscanned mail begins in mailfilter.lua; nothing comes after it."""
ANSWERS = {
    "error": "INSTREAM size limit exceeded. ERROR",
    "nothing": "",
    "nonsense": "stream: OK, or so",
    "limit": "stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND",
    "encrypted": "stream: Heuristics.Encrypted.Zip FOUND",
    "macro": "stream: Heuristics.OLE2.ContainsMacros FOUND",
}


class Filter:
    """A pod that serves, and its containers."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        write_candidate(pod.candidate, files(QUICK))
        self.server = serve_databases(pod)
        self.rspamd, self.freshclam, self.clamd = (pod.start(name) for name in ("rspamd", "freshclam", "clamd"))
        wait_ready(pod, "rspamd", "clamd")

    def reply(self, mail: bytes) -> str:
        """The milter's final answer."""
        return self.pod.scan(mail).reply

    def repair(self) -> None:
        """Restarts clamd if it was killed, and waits until all is well."""
        if not self.clamd.running():
            self.clamd = self.pod.start("clamd")
        wait_ready(self.pod, "clamd", "rspamd", seconds=60)
        assert self.reply(CLEAN) == "accept"


@pytest.fixture(scope="module")
def filter_pod(make_pod: Callable[[], Pod]) -> Filter:
    """Provide a serving pod that the tests of this module share."""
    return Filter(make_pod())


@pytest.fixture
def serving(filter_pod: Filter) -> Iterator[Filter]:
    """Provide the shared pod, in order before and after."""
    filter_pod.repair()
    yield filter_pod
    filter_pod.repair()


def test_clean_mail_passes_with_authentication_results(serving: Filter) -> None:
    verdict = serving.pod.scan(CLEAN)
    assert verdict.reply == "accept"
    assert [name for name, _ in verdict.headers] == ["Authentication-Results"]


@pytest.mark.parametrize("where", INFECTED)
def test_virus_is_refused_by_name(serving: Filter, where: str) -> None:
    reply = serving.reply(INFECTED[where])
    assert reply.startswith("554 5.7.1 Virus found: ")
    assert "Eicar" in reply


def test_pattern_of_a_fetched_database_is_found(serving: Filter) -> None:
    assert "Demo.Pattern" in serving.reply(message(b"a demo-virus-pattern here"))


def test_spam_is_refused(serving: Filter) -> None:
    assert serving.reply(message(GTUBE)).startswith("554 5.7.1")


@pytest.mark.parametrize(
    ("client", "sender", "username", "signed"),
    [
        ("198.51.100.7", "me@example.com", "me@example.com", True),
        ("192.0.2.9", "me@example.com", "", True),
        ("127.0.0.1", "me@example.com", "", True),
        ("198.51.100.7", "me@example.com", "", False),
        ("10.244.0.7", "me@example.com", "", False),
        ("198.51.100.7", "me@example.org", "me@example.org", False),
    ],
    ids=["authenticated", "network", "local", "stranger", "cluster address", "other domain"],
)
def test_signs_only_own_mail(serving: Filter, client: str, sender: str, username: str, *, signed: bool) -> None:
    mail = message(b"hello", sender=sender)
    verdict = serving.pod.scan(mail, client, sender, *([username] if username else []))
    assert verdict.reply == "accept"
    assert ("DKIM-Signature" in dict(verdict.headers)) == signed


def test_oversize_is_refused_with_the_limit(pod: Pod) -> None:
    changes = {
        "override.d/options.inc": files()["override.d/options.inc"].replace("52428800", "1048576"),
        "override.d/actions.conf": "reject = 900;\nadd_header = 800;\nrewrite_subject = null;\ngreylist = null;\n",
    }
    write_candidate(pod.candidate, files(changes))
    pod.start("rspamd")
    wait_ready(pod, "rspamd")
    verdict = pod.scan(message(b"0123456789abcdef" * 70_000))
    assert verdict.reply == "554 5.7.1 Message larger than 1 MiB"


def test_clamd_killed(serving: Filter) -> None:
    serving.clamd.kill()
    assert not serving.pod.ready("clamd")
    for mail in (CLEAN, INFECTED["body"]):
        assert serving.reply(mail).startswith("451 4.7.1 Virus scan failed")


def test_clamd_hanging(serving: Filter) -> None:
    serving.clamd.signal_all(signal.SIGSTOP)
    try:
        assert not serving.pod.ready("clamd")
        for mail in (CLEAN, INFECTED["body"]):
            assert serving.reply(mail).startswith("451 4.7.1 Virus scan failed")
    finally:
        serving.clamd.signal_all(signal.SIGCONT)


def test_rspamd_hanging(serving: Filter) -> None:
    serving.rspamd.signal_all(signal.SIGSTOP)
    try:
        assert not serving.pod.ready("rspamd")
    finally:
        serving.rspamd.signal_all(signal.SIGCONT)


def test_databases_emptied_under_a_running_clamd(serving: Filter) -> None:
    serving.server.kill()
    empty(serving.pod.databases)
    assert serving.pod.ready("clamd")
    assert "Eicar" in serving.reply(INFECTED["body"])
    serving.server = serve_databases(serving.pod)
    wait_until((serving.pod.databases / "mailfilter-builtin.ndb").exists, 60, "the built-in signature again")


def test_clamd_restarted_on_an_empty_directory(serving: Filter) -> None:
    serving.server.kill()
    serving.clamd.kill()
    empty(serving.pod.databases)
    serving.clamd = serving.pod.start("clamd")
    wait_until(lambda: serving.clamd.output().rstrip().endswith("/var/lib/clamav"), 15, "clamd waits")
    assert not serving.pod.ready("clamd")
    for mail in (CLEAN, INFECTED["body"]):
        assert serving.reply(mail).startswith("451")
    serving.server = serve_databases(serving.pod)


def empty(directory: Path) -> None:
    """Removes all files of a directory."""
    for path in directory.iterdir():
        if path.is_file():
            path.unlink(missing_ok=True)


def serve_with_fake_clamd(pod: Pod, changes: dict[str, str], extra: dict[Path, str] | None = None) -> Pod:
    """The pod with rspamd serving, and nothing in clamd's place yet."""
    write_candidate(pod.candidate, files({**QUICK, **changes}))
    pod.start("rspamd", extra=extra)
    wait_ready(pod, "rspamd")
    return pod


def answered_by(pod: Pod, answer: str) -> str:
    """The reply to a clean message when clamd gives this answer."""
    return judged_by(pod, answer, CLEAN).reply


def judged_by(pod: Pod, answer: str, mail: bytes, *arguments: str) -> Verdict:
    """The verdict on a message when clamd gives this answer; arguments as of Pod.scan."""
    path = pod.sockets / "clamd.sock"
    path.unlink(missing_ok=True)
    fake = pod.start_outside("clamd", sys.executable, "-m", "tests.image.fake_clamd", str(path), answer)
    # It shows the socket before it listens; only the mode comes after that.
    wait_until(lambda: path.exists() and path.stat().st_mode & 0o777 == 0o666, 5, "the socket")
    verdict = pod.scan(mail, *arguments)
    fake.kill()
    return verdict


@pytest.fixture(scope="session")
def without_guard(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Provide mailfilter.lua without the rule against unscanned mail, and where it belongs."""
    inside = "/usr/share/rspamd/plugins/mailfilter.lua"
    before, found, _ = (rootfs() / inside[1:]).read_text().partition(GUARD)
    assert found
    unguarded = tmp_path_factory.mktemp("unguarded") / "mailfilter.lua"
    unguarded.write_text(before)
    return {unguarded: inside}


@pytest.fixture(scope="module", params=[True, False], ids=["with guard", "without guard"])
def patched(make_pod: Callable[[], Pod], request: pytest.FixtureRequest, without_guard: dict[Path, str]) -> Pod:
    """Provide rspamd as the image has it, with and without the rule against unscanned mail."""
    return serve_with_fake_clamd(make_pod(), {}, {} if request.param else without_guard)


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_answer_but_ok_lets_mail_through(patched: Pod, answer: str) -> None:
    assert answered_by(patched, ANSWERS[answer]).startswith("451 4.7.1 Virus scan failed")


def test_ok_lets_mail_through(patched: Pod) -> None:
    assert answered_by(patched, "stream: OK") == "accept"


def test_finding_is_refused(patched: Pod) -> None:
    assert answered_by(patched, "stream: Some.Virus FOUND") == "554 5.7.1 Virus found: Some.Virus"


@pytest.mark.parametrize(("guarded", "reply"), [(False, "accept"), (True, "451 4.7.1 Virus scan failed")])
def test_upstream_lets_mail_through_on_an_error(
    pod: Pod, unpatched_clamav_lua: Path, without_guard: dict[Path, str], guarded: bool, reply: str
) -> None:
    # Why the patch is there, and that the guard alone closes the hole too. When this fails without the guard, upstream
    # has closed the hole and the patch can be smaller.
    there = {unpatched_clamav_lua: "/usr/share/rspamd/lualib/lua_scanners/clamav.lua"}
    there.update({} if guarded else without_guard)
    assert answered_by(serve_with_fake_clamd(pod, {}, there), ANSWERS["error"]).startswith(reply)


def test_nothing_in_its_section_switches_the_guard_off(pod: Pod, unpatched_clamav_lua: Path) -> None:
    there = {unpatched_clamav_lua: "/usr/share/rspamd/lualib/lua_scanners/clamav.lua"}
    serve_with_fake_clamd(pod, {"override.d/mailfilter.conf": "require_scan = false;\n"}, there)
    assert answered_by(pod, ANSWERS["error"]).startswith("451 4.7.1 Virus scan failed")


def test_mail_that_the_antivirus_rule_skipped_is_not_accepted(pod: Pod) -> None:
    # A mistake that configtest does not see: a setting that switches the rule off for some mail.
    skipping = 'strangers {\n    ip = "198.51.100.0/24";\n    apply { symbols_disabled = ["CLAM_VIRUS"]; }\n}\n'
    serve_with_fake_clamd(pod, {"override.d/settings.conf": skipping})
    assert answered_by(pod, "stream: OK").startswith("451 4.7.1 Virus scan failed")
