"""What rspamd and clamd let through as they are packaged, and this image does not: why each of its answers is there.

The packaged ones are set up as their documentation says, with `action = "reject"` and a Redis.  When a test fails for
them, upstream has closed the hole.  That ours are closed through Postfix too is tested in tests/e2e.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.bench import stock_filter
from tests.e2e.processes import ask_clamd
from tests.image.conftest import place_database, wait_ready
from tests.image.messages import CLEAN, EICAR, message, with_attachment, zipped
from tests.image.pod import Container, Pod, wait_until, write_candidate
from tests.image.rootfs import USER
from tests.image.test_policies import SIGNATURES
from tests.image.test_rendered import configure, public_files
from tests.unit import samples

MEBIBYTE = 1024 * 1024
REDIS = 'antivirus { servers = "127.0.0.1:6379"; }\n'
ACTIONS = "reject = 900;\nadd_header = 800;\nrewrite_subject = null;\ngreylist = null;\n"
"""rspamd does not like archives: what is refused here is so for its scan."""
STOCK_ANTIVIRUS = """
clamav {
  symbol = "CLAM_VIRUS";
  type = "clamav";
  servers = "127.0.0.1:3310";
  action = "reject";
}
"""
RULE = "override.d/antivirus.conf"
SOCKET = "/run/clamav/clamd.sock"
STOCK_CLAMD = f"LocalSocket {SOCKET}\nLocalSocketMode 666\n"
"""A second way in, for the tests."""
BUILTIN = f"MailFilter.Builtin.Eicar:0:*:{EICAR.hex()}\n"
SPARING = "ConcurrentDatabaseReload no\nIdleTimeout 1\n"
"""What one chooses who has no memory for two engines."""
_NUMBERS = itertools.count()


@dataclass
class Filter:
    """A pod that serves; `packaged` if with none of this image's own."""

    pod: Pod
    packaged: bool

    @property
    def clamd(self) -> Container:
        """The container that was started last for it."""
        return next(one for one in reversed(self.pod.containers) if one.log.name == "clamd.log")

    def reply(self, mail: bytes) -> str:
        """The milter's final answer."""
        return self.pod.scan(mail).reply

    def passes(self, mail: bytes) -> bool:
        """Whether *mail* is accepted; else it has to be deferred, as nobody knows what is in it."""
        reply = self.reply(mail)
        assert reply == "accept" or reply.startswith("451 4.7.1 Virus scan failed"), reply
        return reply == "accept"


def infected() -> bytes:
    """A mail with a virus that nobody has seen yet, and so nobody remembers."""
    return with_attachment("file.zip", zipped(EICAR, f"number {next(_NUMBERS)}".encode()))


def start_packaged(pod: Pod, databases: Path) -> None:
    (databases / "builtin.ndb").write_text(BUILTIN)
    local = {"antivirus.conf": STOCK_ANTIVIRUS, "redis.conf": REDIS, "actions.conf": ACTIONS}
    stock_filter.start(pod, databases, local=local, clamd_conf=STOCK_CLAMD)


def start_ours(pod: Pod) -> None:
    configuration = configure(
        {"antivirus": {"maxMessageSize": "1Mi", "onUnofficial": "Reject", "signatures": SIGNATURES}}
    )
    files = public_files(configuration, {}) | {"local.d/redis.conf": REDIS, "override.d/actions.conf": ACTIONS}
    # So that the test need not wait so long.
    files[RULE], shortened = re.subn(r"\btimeout = \d+s;", "timeout = 2s;", files[RULE])
    assert shortened == 1
    write_candidate(pod.candidate, files, secret=configuration.credentials, salt=samples.SALT)
    place_database(pod)
    pod.start("rspamd")
    pod.start("clamd")
    wait_ready(pod, "rspamd", "clamd")


@pytest.fixture(scope="module", params=[True, False], ids=["packaged", "ours"])
def filter_pod(
    make_pod: Callable[[], Pod], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Filter]:
    """Provide a pod with a Redis beside it."""
    made = Filter(make_pod(), bool(request.param))
    made.pod.start("valkey", "valkey-server", "--save", "", "--dir", "/tmp")
    if made.packaged:
        start_packaged(made.pod, tmp_path_factory.mktemp("databases"))
    else:
        start_ours(made.pod)
    yield made
    made.pod.remove()


@pytest.fixture
def serving(filter_pod: Filter) -> Filter:
    """Provide the same, in order."""
    assert filter_pod.reply(CLEAN) == "accept"
    assert filter_pod.reply(infected()).startswith("554 ")
    return filter_pod


def test_a_virus_in_a_text_is_found(serving: Filter) -> None:
    assert (serving.reply(message(EICAR)) == "accept") == serving.packaged


def test_mail_is_not_accepted_while_clamd_hangs(serving: Filter) -> None:
    clamd = serving.clamd
    clamd.signal_all(signal.SIGSTOP)
    try:
        assert serving.passes(infected()) == serving.packaged
    finally:
        clamd.signal_all(signal.SIGCONT)


def test_no_mail_is_accepted_that_is_larger_than_what_clamd_takes(serving: Filter) -> None:
    """The answer is "INSTREAM size limit exceeded. ERROR", and rspamd's own limit is greater, if it is not ours."""
    reply = serving.reply(with_attachment("film.bin", bytes((26 if serving.packaged else 1) * MEBIBYTE) + EICAR))
    assert reply == ("accept" if serving.packaged else "554 5.7.1 Message larger than 1 MiB")


def test_no_file_is_accepted_that_clamd_cuts_off(serving: Filter) -> None:
    size = (26 if serving.packaged else 9) * MEBIBYTE
    assert serving.passes(with_attachment("film.zip", zipped(bytes(size) + EICAR))) == serving.packaged


def test_an_earlier_verdict_does_not_outlive_its_signatures(serving: Filter) -> None:
    mail, other = (with_attachment("late.bin", b"known to the next database" + end) for end in (b"", b" too"))
    assert serving.reply(mail) == "accept"
    add(serving.pod.databases / "late.ndb", f"Late.Pattern:0:*:{b'known to the next'.hex()}\n")
    if serving.packaged:
        reload(serving)
    wait_until(lambda: not clamd_accepts(serving, b"known to the next"), 20, "the new signature")
    assert serving.reply(other).startswith("554 ")
    assert (serving.reply(mail) == "accept") == serving.packaged


def test_mail_is_not_accepted_without_clamd_or_by_one_without_an_engine(serving: Filter, tmp_path: Path) -> None:
    """Without memory for two engines clamd has none when a reload has failed, whatever its log says."""
    serving.clamd.kill()
    assert serving.passes(infected()) == serving.packaged

    conf = tmp_path / "clamd.conf"
    databases = tmp_path / "databases"
    databases.mkdir()
    (databases / "builtin.ndb").write_text(BUILTIN)
    (serving.pod.sockets / "clamd.sock").unlink(missing_ok=True)
    listen = STOCK_CLAMD + ("TCPSocket 3310\nTCPAddr 127.0.0.1\n" if serving.packaged else "")
    conf.write_text(f"Foreground yes\nTemporaryDirectory /tmp\nDatabaseDirectory /databases\n{listen}{SPARING}")
    extra = {conf: "/clamd.conf", databases: "/databases"}
    serving.pod.start("clamd", "clamd", "--config-file=/clamd.conf", extra=extra)
    wait_until(lambda: clamd_accepts(serving, b"hello"), 20, "another clamd")
    assert serving.reply(infected()).startswith("554 ")

    (databases / "builtin.ndb").unlink()
    reload(serving)
    wait_until(lambda: not clamd_accepts(serving, b"hello"), 20, "a clamd without an engine")
    assert serving.passes(infected()) == serving.packaged


def reload(one: Filter) -> None:
    """Tell clamd to load its databases again, as freshclam does."""
    assert ask_clamd(one.pod.sockets / "clamd.sock", b"RELOAD") == b"RELOADING"


def clamd_accepts(one: Filter, content: bytes) -> bool:
    """Whether clamd calls *content* clean."""
    (one.pod.sockets / "ask.conf").write_text(f"LocalSocket {SOCKET}\n")
    (one.pod.sockets / "asked").write_bytes(content)
    ask = ("clamdscan", "--config-file=/run/clamav/ask.conf", "--stream", "/run/clamav/asked")
    return one.pod.run("clamd", *ask).returncode == 0


def add(path: Path, content: str) -> None:
    """Put a database where clamd finds it, as a whole."""
    unfinished = path.with_name("unfinished")
    unfinished.write_text(content)
    os.chown(unfinished, USER, USER)
    unfinished.rename(path)
