"""P1 where servers of signatures go bad: through Postfix, in status and in Events (tests/image has each kind alone).

What was good last finds on, the sources that are in order get what is new, and the server is not asked over and over.
"""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest
from tests.cluster.layout import NODE_ADDRESS
from tests.demo import installation
from tests.e2e import changes, databases, pods
from tests.image.answering import PORT, Answer, Answers
from tests.image.test_bad_servers import (
    ALL,
    CUSTOM,
    MIRROR,
    NO_CLD,
    added_in,
    custom,
    is_well,
    marker,
    official,
    pattern,
)
from tests.mail import messages
from tests.mail.polling import eventually
from tests.mail.signed_databases import read
from tests.mail.system import MailSystem

NAME = "badly-fed"
GOOD = "good.ndb"
URL = f"http://{NODE_ADDRESS}:{PORT}"
REFUSED = [f"{kind}.ndb" for kind, (_, key, _) in CUSTOM.items() if key == "refused"]
MIRRORED = ("broken", "tampered", "half", "older-than-told", "forbidden-later")
"""What the mirror does, in this order: after the last one it is left alone for a day."""
MOST_REQUESTS = 27
"""Of one check of a mirror (README)."""


class Fed:
    """A MailFilter whose signatures come from a server with chosen answers; port 2525 leads to its pod."""

    def __init__(self, system: MailSystem, answers: Answers) -> None:
        self.system = system
        self.answers = answers
        (self.pod,) = system.filter_pods()

    def answer(self, content: bytes) -> str:
        """Return what Postfix answers to a mail with this attachment."""
        mail = messages.with_attachment(content, "application", "octet-stream", "sample.bin")
        return self.system.receive_directly(mail).line

    def find(self, wanted: Mapping[str, bytes]) -> set[str]:
        """Return which of these signatures have a mail with their text refused; all other mail is accepted."""
        lines = {name: self.answer(text) for name, text in wanted.items()}
        found = {name for name, line in lines.items() if line.startswith(f"554 5.7.1 Virus found: {name}")}
        assert {line[:4] for name, line in lines.items() if name not in found} <= {"250 "}, lines
        return found

    def sources(self) -> dict[str, dict[str, Any]]:
        """Return what the pod says of each source."""
        return {source["name"]: source for source in pods.report(self.pod)["sources"]}

    def wait_said(self, expected: Mapping[str, tuple[str, str]]) -> None:
        """Return when the pod says all of this: source -> key and a part of its text."""

        def said() -> bool:
            found = self.sources()
            missing = {
                name: found[name] for name, (key, text) in expected.items() if text not in (found[name][key] or "")
            }
            assert not missing, missing
            return True

        eventually(said, within_seconds=120, what="what the pod is to say")

    def wait_status(self, reason: str, *texts: str) -> None:
        """Return when SignaturesFresh is False and says this; the operator's own next look is minutes away."""
        changes.cause_look(self.system, "mailfilter", self.system.name)

        def said() -> bool:
            condition = changes.condition(self.system.mailfilter(), "SignaturesFresh")
            assert (condition.get("status"), condition.get("reason")) == ("False", reason), condition
            assert all(text in condition["message"] for text in texts), condition
            return True

        eventually(said, within_seconds=60, what="the condition SignaturesFresh")

    def count_events(self, text: str) -> int:
        """Return how often Events about signatures say this."""
        selector = f"--field-selector=involvedObject.kind=MailFilter,involvedObject.name={self.system.name}"
        found = self.system.kubectl.items("events", f"--namespace={self.system.namespace}", selector)
        return sum(text in event["message"] for event in found if event["reason"].startswith("Signature"))

    def asked(self, names: Collection[str], since: float) -> int:
        """Return how often the server was asked for these names."""
        return sum(name in names and when >= since for name, when in self.answers.asked())


@pytest.fixture(scope="module")
def fed(installed: MailSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    """Provide the MailFilter with good signatures from everywhere."""
    answers = Answers(tmp_path_factory.mktemp("server") / "answers")
    names = [*(f"{kind}.ndb" for kind in CUSTOM), GOOD]
    answers.choose({**official(Answer(read(5))), **{name: Answer(custom(name[:-4], 1)) for name in names}})
    system = MailSystem(installed.kubectl, installed.address, installed.namespace, NAME)
    with _serving(answers):
        system.kubectl.apply(_mailfilter(system, names))
        try:
            installation.wait_ready(system)
            system.point_at_pod()
            made = Fed(system, answers)
            # Old since it was built long ago: that is all that is wrong.
            made.wait_status("TooOld", "official was built at 2021-")
            yield made
        finally:
            system.kubectl.run("delete", "mailfilter", NAME, f"--namespace={system.namespace}")


@contextlib.contextmanager
def _serving(answers: Answers) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.image.answering", NODE_ADDRESS, str(PORT), str(answers.directory)]
    with subprocess.Popen(command, cwd=installation.ROOT, stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.kill()


@pytest.mark.parametrize("kind", MIRRORED)
def test_a_mirror_that_goes_bad(fed: Fed, kind: str) -> None:
    answers, text, _ = MIRROR[kind]
    new = marker("good", 2 + MIRRORED.index(kind))
    fed.answers.choose({**NO_CLD, **official(Answer(read(5)))})
    databases.check_now(fed.pod)
    eventually(lambda: is_well(fed.sources()["official"]), within_seconds=60, what="a good check")

    started = time.monotonic()
    (name,) = new
    fed.answers.choose({**NO_CLD, **answers, GOOD: Answer(pattern(name))})
    databases.check_now(fed.pod)
    databases.fetch_again([databases.directory(fed.pod)], GOOD)
    fed.wait_said({"official": ("error", text)})
    eventually(lambda: fed.find(new), within_seconds=60, what="what the other source has")
    fed.wait_status("TooOld", text)
    assert fed.find({**added_in(5), **added_in(6)}) == set(added_in(5))
    assert fed.answer(b"nothing to be found").startswith("250 ")
    assert is_well(fed.sources()[GOOD])
    assert 1 <= fed.asked(ALL, started) <= MOST_REQUESTS


def test_custom_urls_that_go_bad(fed: Fed) -> None:
    last_good = {name: text for kind in CUSTOM for name, text in marker(kind, 1).items()}
    assert fed.find(last_good) == set(last_good)
    started = time.monotonic()
    fed.answers.choose({f"{kind}.ndb": answer(custom(kind, 2)) for kind, (answer, _, _) in CUSTOM.items()})
    for kind in CUSTOM:
        databases.fetch_again([databases.directory(fed.pod)], f"{kind}.ndb")

    fed.wait_said({f"{kind}.ndb": (key, text) for kind, (_, key, text) in CUSTOM.items()})
    assert fed.find(last_good) == set(last_good)
    assert fed.find({name: text for kind in CUSTOM for name, text in marker(kind, 2).items()}) == set()
    assert fed.answer(b"nothing to be found").startswith("250 ")
    assert is_well(fed.sources()[GOOD])
    fed.wait_status("DatabaseRefused", *REFUSED, "There is more: ")
    assert fed.count_events(REFUSED[0]) == 1
    assert changes.ready(fed.system)["status"] == "True"
    for kind in CUSTOM:
        # What is not there, as `fetch_again` has it, is asked for again after 2, 4, 8 ... 600 s.
        longest = 2 + math.log2(time.monotonic() - started)
        assert 1 <= fed.asked([f"{kind}.ndb"], started) <= longest, kind


def _mailfilter(system: MailSystem, names: Collection[str]) -> dict[str, Any]:
    urls = [f"{URL}/{name}" for name in names]
    source = {"source": "Mirror", "mirrorURL": URL, "customURLs": urls}
    return {
        "apiVersion": "mailfilter.dev/v1alpha1",
        "kind": "MailFilter",
        "metadata": {"name": system.name, "namespace": system.namespace},
        "spec": {"antivirus": {"onUnofficial": "Reject", "signatures": source}},
    }
