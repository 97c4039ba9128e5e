"""rspamd's web interface as the image serves it: a real browser logs in and sees what the milter has scanned."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.image.conftest import files, serve_databases, wait_ready
from tests.image.messages import CLEAN, GTUBE, INFECTED, message
from tests.image.pod import Pod, wait_until, write_candidate
from tests.image.rootfs import run_in_rootfs
from tests.web.interface import Scanned, Visit

ADDRESS = "192.0.2.11"
"""Not a loopback address: whoever comes from there needs the password."""
PASSWORD = "right-password"  # noqa: S105 - it opens nothing but this test's pod
CONTROLLER = """
bind_socket = "*:11334";
count = 1;
secure_ip = ["127.0.0.1"];
allow_file_and_shm_inputs = false;
password = "{hash}";
"""


def controller(password: str) -> dict[str, str]:
    """The controller's configuration with the hash of a password."""
    made = run_in_rootfs(["rspamadm", "pw", "--encrypt", "--type=pbkdf2", f"--password={password}"])
    return {"override.d/worker-controller.inc": CONTROLLER.format(hash=made.stdout.strip())}


def named(mail: bytes, name: str) -> bytes:
    """The message with a Message-ID of its own."""
    return mail.replace(b"<1@mail.example.org>", f"<{name}@mail.example.org>".encode())


@dataclasses.dataclass
class Served:
    """A pod that has scanned a clean mail, spam and a virus."""

    pod: Pod

    def ask(self, path: str, password: str = "", address: str = ADDRESS, *, post: str = "") -> str:
        """The controller's answer; empty if it refuses."""
        header = [f"--header=Password: {password}"] if password else []
        header += [f"--post-data={post}"] if post else []
        return self.pod.run("rspamd", "wget", "-q", "-O", "-", *header, f"http://{address}:11334/{path}").stdout

    def history(self, password: str) -> set[str]:
        """The Message-IDs in the history."""
        return {row["id"] for row in json.loads(self.ask("history", password))}

    def scores(self) -> dict[str, float | None]:
        """What each action and each symbol costs."""
        actions = json.loads(self.ask("actions", PASSWORD))
        groups = json.loads(self.ask("symbols", PASSWORD))
        symbols = {rule["symbol"]: rule["weight"] for group in groups for rule in group["rules"]}
        return {**symbols, **{action["action"]: action["value"] for action in actions}}


@pytest.fixture(scope="module")
def served(make_pod: Callable[[], Pod]) -> Served:
    """Provide a pod whose controller has a password and listens on all addresses."""
    pod = make_pod()
    pod.on_network("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    write_candidate(pod.candidate, files(controller(PASSWORD)))
    serve_databases(pod)
    for name in ("rspamd", "freshclam", "clamd"):
        pod.start(name)
    wait_ready(pod, "rspamd", "clamd")
    for name, mail in {"clean": CLEAN, "spam": message(GTUBE), "virus": INFECTED["body"]}.items():
        pod.scan(named(mail, name))
    return Served(pod)


@pytest.fixture(scope="module")
def screenshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the path of a picture of the history; pytest keeps it with the other files of its last three runs."""
    return tmp_path_factory.mktemp("web") / "history.png"


@pytest.fixture(scope="module")
def visit(served: Served, screenshot: Path) -> Visit:
    """Provide what somebody sees who tries a wrong password, the right one, and then every tab."""
    command = (sys.executable, "-m", "tests.web.interface", f"http://{ADDRESS}:11334/", str(screenshot))
    seen = json.loads(served.pod.on_network(*command, stdin=f"wrong\n{PASSWORD}\n".encode()))
    return Visit(**{**seen, "history": [Scanned(**row) for row in seen["history"]]})


def test_a_wrong_password_is_refused(visit: Visit) -> None:
    assert visit.refusal == "Request failed"


def test_the_history_shows_what_the_milter_has_scanned(visit: Visit, screenshot: Path) -> None:
    rows = {row.message_id.partition("@")[0]: row for row in visit.history}
    assert {name: row.action for name, row in rows.items()} == {
        "clean": "no action",
        "spam": "reject",
        "virus": "reject",
    }
    assert {row.address for row in rows.values()} == {"198.51.100.7"}
    assert "GTUBE" in rows["spam"].details
    assert "CLAM_VIRUS" in rows["virus"].details
    assert screenshot.read_bytes().startswith(b"\x89PNG")
    print(f"screenshot: {screenshot}")


def test_no_tab_complains(visit: Visit) -> None:
    assert visit.complaints == []


def test_everything_that_the_pages_need_is_in_the_image(visit: Visit) -> None:
    assert visit.hosts == [f"{ADDRESS}:11334"]


def test_only_who_is_inside_the_pod_needs_no_password(served: Served) -> None:
    assert served.ask("history") == ""
    assert served.ask("history", "wrong") == ""
    assert json.loads(served.ask("history", address="127.0.0.1"))


@pytest.mark.parametrize(
    ("path", "change"),
    [("saveactions", "[null, 1, 2, 3]"), ("savesymbols", '[{"name": "MISSING_DATE", "value": 7.5}]')],
)
def test_no_score_is_changed_past_the_mailfilter(served: Served, path: str, change: str) -> None:
    before = served.scores()
    assert served.ask(path, PASSWORD, post=change) == ""
    assert served.scores() == before


def test_the_history_outlives_a_reload_that_changes_the_password(served: Served) -> None:
    write_candidate(served.pod.candidate, files(controller("other-password")))
    wait_until(lambda: bool(served.ask("auth", "other-password")), 30, "the new password accepted")
    wait_until(lambda: not served.ask("auth", PASSWORD), 30, "the old password refused")
    served.pod.scan(named(CLEAN, "later"))
    names = {f"{name}@mail.example.org" for name in ("clean", "spam", "virus", "later")}
    assert served.history("other-password") == names
