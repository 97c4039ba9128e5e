"""What becomes of a mail by its virus scan is what spec.antivirus says.

With and without the rule that has the last word, and whatever else decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.image.conftest import wait_ready
from tests.image.messages import CLEAN, GTUBE, message
from tests.image.milter import Verdict
from tests.image.pod import Pod, write_candidate
from tests.image.test_guard import MAPS, MULTIMAP, SCORES
from tests.image.test_rendered import UNDATED, configure, public_files
from tests.image.test_scanning import judged_by, without_guard
from tests.unit import samples

__all__ = ["without_guard"]

ANSWERS = {
    "virus": "stream: Some.Virus FOUND",
    "builtin": "stream: MailFilter.Builtin.Eicar-Test-File.UNOFFICIAL FOUND",
    "unofficial": "stream: {HEX}some.pattern.1.UNOFFICIAL FOUND",
    "failure": "INSTREAM size limit exceeded. ERROR",
    "limits": "stream: Heuristics.Limits.Exceeded.MaxScanSize FOUND",
    "encrypted": "stream: Heuristics.Encrypted.Zip FOUND",
    "macros": "stream: Heuristics.OLE2.ContainsMacros.VBA FOUND",
    "clean": "stream: OK",
}
NAMES = {kind: answer.split()[1] for kind, answer in ANSWERS.items()}
FINDINGS = ("virus", "builtin", "unofficial")
ALERTS = ("limits", "encrypted", "macros")
TRY_AGAIN = "451 4.7.1 Virus scan failed, try again later"
SIGNATURES = {"source": "CustomOnly", "customURLs": ["http://127.0.0.1:8080/demo.ndb"]}
TEXT = {
    "local.d/multimap.conf": MULTIMAP,
    **MAPS,
    "local.d/settings.conf": """
whitelisted { from = "whitelisted@example.net"; whitelist = true; }
without_actions {
  from = "actions@example.net";
  apply { actions { reject = null; quarantine = null; discard = null; "add header" = null; "soft reject" = null; } }
}
unforced {
  from = "unforced@example.net";
  apply { symbols_disabled = ["FORCE_ACTION_VIRUS_FOUND", "FORCE_ACTION_UNOFFICIAL_FOUND",
    "FORCE_ACTION_LIMITS_EXCEEDED", "FORCE_ACTION_ENCRYPTED_FOUND", "FORCE_ACTION_MACROS_FOUND"]; }
}
unscanned { from = "unscanned@example.net"; apply { symbols_disabled = ["CLAM_VIRUS"]; } }
""",
}
"""Text of one's own that accepts or defers mail, or switches off what it can."""
LENIENT = ("accepted", "whitelisted", "actions", "unforced")


class Policies(NamedTuple):
    """A pod without a clamd of its own, and the policy that it has for each kind of outcome."""

    pod: Pod
    of: dict[str, str]

    def judge(self, kind: str, mail: bytes = CLEAN, *arguments: str) -> Verdict:
        """The verdict on a mail of which clamd gives the answer of this kind."""
        return judged_by(self.pod, ANSWERS[kind], mail, *arguments)


def policies_of(finding: str, alert: str, failure: str) -> dict[str, str]:
    return {**dict.fromkeys(FINDINGS, finding), **dict.fromkeys(ALERTS, alert), "failure": failure, "clean": "Accept"}


def start(pod: Pod, of: dict[str, str], extra: dict[Path, str], **spec: Any) -> Policies:
    """The pod with rspamd serving, and nothing in clamd's place."""
    alerts = {"limitsExceeded": of["limits"], "encrypted": of["encrypted"], "macros": of["macros"]}
    antivirus = {
        "maxMessageSize": "1Mi",
        "signatures": SIGNATURES,
        "onVirus": of["virus"],
        "onUnofficial": of["unofficial"],
        "onFailure": of["failure"],
        "alerts": alerts,
    }
    chosen = {"antivirus": antivirus, **spec}
    configuration = configure(chosen)
    files, salt = public_files(configuration, chosen), samples.SALT
    write_candidate(pod.candidate, files, secret=configuration.credentials, salt=salt)
    pod.start("rspamd", extra=extra)
    wait_ready(pod, "rspamd")
    return Policies(pod, of)


CHOICES = [
    ("Reject", "Reject", "TempFail"),
    ("Quarantine", "Quarantine", "TempFail"),
    ("AddHeader", "AddHeader", "Accept"),
    ("Discard", "TempFail", "TempFail"),
    ("Reject", "Accept", "Accept"),
]
GUARDED = ("with the last word", "without")


@pytest.fixture(scope="module", params=itertools.product(CHOICES, GUARDED), ids=lambda value: f"{value[0]} {value[1]}")
def chosen(
    make_pod: Callable[[], Pod], request: pytest.FixtureRequest, without_guard: dict[Path, str]
) -> Iterator[Policies]:
    """Provide a pod with a choice of policies; the last rule is there or not."""
    choice, guarded = request.param
    scored = {"files": {"local.d/headers_group.conf": SCORES}}
    made = start(make_pod(), policies_of(*choice), {} if guarded == GUARDED[0] else without_guard, config=scored)
    yield made
    made.pod.remove()


def is_marked(verdict: Verdict) -> bool:
    """Whether mailboxes take the mail for spam."""
    return dict(verdict.headers).get("X-Spam") == "Yes"


def expected_reply(kind: str, policy: str) -> str:
    """The beginning of the milter's answer."""
    if policy == "Reject":
        refusal = {"limits": "Too much to scan", "encrypted": "Encrypted content", "macros": "Macros found"}
        # What rspamd's module calls it stands between in two cases.
        return f"554 5.7.1 {refusal.get(kind, 'Virus found')}: "
    return {"TempFail": TRY_AGAIN, "Quarantine": "quarantine", "Discard": "discard"}.get(policy, "accept")


@pytest.mark.parametrize("kind", ANSWERS)
def test_each_outcome_gets_its_policy(chosen: Policies, kind: str) -> None:
    policy = chosen.of[kind]
    verdict = chosen.judge(kind)

    assert verdict.reply.startswith(expected_reply(kind, policy))
    assert policy != "Reject" or verdict.reply.endswith(NAMES[kind])
    assert is_marked(verdict) is (policy == "AddHeader")


@pytest.mark.parametrize("kind", ["virus", "unofficial", "limits", "encrypted", "failure", "clean"])
def test_a_score_that_refuses_goes_before_a_mark(chosen: Policies, kind: str) -> None:
    reply = chosen.judge(kind, UNDATED).reply

    policy = chosen.of[kind]
    assert reply.startswith("554 5.7.1 " if policy in ("AddHeader", "Accept") else expected_reply(kind, policy))


@pytest.fixture(scope="module", params=CHOICES, ids=" ".join)
def lenient(make_pod: Callable[[], Pod], request: pytest.FixtureRequest) -> Iterator[Policies]:
    """Provide a pod with a choice of policies, and text that accepts mail of some senders in every way."""
    domains = [{"name": "example.com"}]
    made = start(make_pod(), policies_of(*request.param), {}, config={"files": TEXT}, domains=domains)
    yield made
    made.pod.remove()


def mail_of(name: str) -> tuple[Any, ...]:
    """A mail of a sender that the text says something of, from a stranger."""
    sender = f"{name}@example.net"
    return message(b"hello", sender=sender), "198.51.100.7", sender


def status(verdict: Verdict) -> list[str]:
    """What the mail that is delivered or held says of its scan."""
    return [value for name, value in verdict.headers if name == "X-Virus-Status" and value]


def expected_status(kind: str, policy: str) -> list[str]:
    if policy == "Accept":
        return ["Not Scanned"] if kind == "failure" else []
    word = "Infected" if kind in FINDINGS else "Suspicious"
    return [f"{word} ({NAMES[kind]})"] if policy in ("AddHeader", "Quarantine") else []


@pytest.mark.parametrize("kind", ANSWERS)
def test_what_is_delivered_or_held_says_what_was_found(lenient: Policies, kind: str) -> None:
    verdict = lenient.judge(kind)

    assert verdict.reply.startswith(expected_reply(kind, lenient.of[kind]))
    assert status(verdict) == expected_status(kind, lenient.of[kind])


def test_what_a_sender_says_of_the_scan_is_taken_out(lenient: Policies) -> None:
    lying = message(b"hello", extra=b"X-Virus-Status: Clean\r\nX-Virus-Status: Clean\r\n")
    verdict = lenient.judge("unofficial", lying)

    if expected_status("unofficial", lenient.of["unofficial"]):
        assert sorted(value for name, value in verdict.headers if name == "X-Virus-Status")[:2] == ["", ""]


@pytest.mark.parametrize("sender", LENIENT)
@pytest.mark.parametrize("kind", ["virus", "unofficial", "limits", "encrypted"])
def test_text_that_accepts_a_mail_changes_no_policy(lenient: Policies, kind: str, sender: str) -> None:
    policy = lenient.of[kind]
    verdict = lenient.judge(kind, *mail_of(sender))

    assert verdict.reply.startswith(expected_reply(kind, policy))
    assert status(verdict) == expected_status(kind, policy)
    assert is_marked(verdict) is (policy == "AddHeader")


@pytest.mark.parametrize("kind", ["virus", "encrypted"])
def test_text_that_has_a_mail_wait_weakens_no_policy(lenient: Policies, kind: str) -> None:
    reply = lenient.judge(kind, *mail_of("deferred")).reply

    policy = lenient.of[kind]
    expected = expected_reply(kind, policy)
    assert reply.startswith({"Reject": (expected,), "Discard": (expected,)}.get(policy, ("451 ",)))


@pytest.mark.parametrize("kind", ["virus", "clean", "failure"])
def test_mail_that_nobody_asked_clamd_about_is_not_accepted(lenient: Policies, kind: str) -> None:
    """That is no failure of the scanner, which onFailure would be for."""
    verdict = lenient.judge(kind, *mail_of("unscanned"))

    assert verdict.reply == TRY_AGAIN


@pytest.mark.parametrize("kind", ["limits", "encrypted", "unofficial", "failure"])
def test_spam_is_refused_whatever_marks_or_accepts_it(lenient: Policies, kind: str) -> None:
    reply = lenient.judge(kind, message(GTUBE)).reply

    if lenient.of[kind] in ("AddHeader", "Accept"):
        assert reply.startswith("554 5.7.1 ")


@pytest.mark.parametrize("kind", ["encrypted", "unofficial"])
def test_what_is_delivered_or_held_is_signed(lenient: Policies, kind: str) -> None:
    mail = message(b"hello", sender="me@example.com")
    verdict = lenient.judge(kind, mail, "198.51.100.7", "me@example.com", "me@example.com")

    signed = any(name == "DKIM-Signature" for name, _ in verdict.headers)
    assert signed is (verdict.reply in ("accept", "quarantine"))


def test_no_scanner_at_all_is_a_failure(make_pod: Callable[[], Pod]) -> None:
    made = start(make_pod(), policies_of("Reject", "Accept", "Accept"), {})
    (made.pod.sockets / "clamd.sock").unlink(missing_ok=True)
    verdict = made.pod.scan(CLEAN)

    assert verdict.reply == "accept"
    assert status(verdict) == ["Not Scanned"]
    made.pod.remove()


def test_a_mark_needs_no_score_to_be_marked_from(make_pod: Callable[[], Pod]) -> None:
    actions = {"addHeader": "Disabled", "reject": "Disabled", "greylist": "Disabled"}
    made = start(make_pod(), policies_of("AddHeader", "Reject", "TempFail"), {}, actions=actions)

    assert is_marked(made.judge("virus"))
    assert made.judge("limits").reply.startswith("554 ")
    assert not is_marked(made.judge("clean", UNDATED))
    made.pod.remove()


def test_no_score_holds_a_mail_or_throws_it_away(make_pod: Callable[[], Pod]) -> None:
    scores = "max_score = 1000000;\nsymbols { MISSING_DATE { weight = 999999; } }\n"
    files = {"local.d/headers_group.conf": scores}
    made = start(make_pod(), policies_of("Reject", "Reject", "TempFail"), {}, config={"files": files})

    assert made.judge("clean", UNDATED).reply.startswith("554 5.7.1 ")
    made.pod.remove()
