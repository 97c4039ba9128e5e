"""Whatever raw text says of some mail, none with a virus and none unscanned is accepted."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from tests.image.messages import CLEAN, EICAR, message
from tests.image.pod import Pod
from tests.image.test_rendered import UNDATED, start

MULTIMAP = """
ACCEPTED { type = "from"; map = "$LOCAL_CONFDIR/maps/accepted"; action = "accept"; }
DEFERRED { type = "from"; map = "$LOCAL_CONFDIR/maps/deferred"; action = "soft reject"; }
EARLY { type = "ip"; map = ["203.0.113.1"]; prefilter = true; action = "accept"; }
"""
MAPS = {"maps/accepted": "accepted@example.net\n", "maps/deferred": "deferred@example.net\n"}
SETTINGS = """
whitelisted { from = "whitelisted@example.net"; whitelist = true; }
wanted { from = "wanted@example.net"; want_spam = true; }
skipped { from = "skipped@example.net"; apply { flags = ["skip"]; } }
without_group { from = "group@example.net"; apply { groups_disabled = ["antivirus", "mailfilter"]; } }
without_symbol { from = "symbol@example.net"; apply { symbols_disabled = ["CLAM_VIRUS"]; } }
chosen { from = "chosen@example.net"; apply { symbols_enabled = ["DMARC_NA"]; } }
static { id = "static"; from = "static@example.net"; apply { symbols_enabled = ["DMARC_NA"]; } }
unforced { from = "unforced@example.net"; apply { symbols_disabled = ["FORCE_ACTION_VIRUS_FOUND"]; } }
without_guard { from = "guard@example.net"; apply { symbols_disabled = ["CLAM_VIRUS", "MAILFILTER_UNSCANNED"]; } }
static_guard {
  id = "own";
  from = "own@example.net";
  apply { symbols_disabled = ["CLAM_VIRUS", "MAILFILTER_UNSCANNED"]; }
}
grouped { from = "grouped@example.net"; apply { groups_disabled = ["antivirus", "own"]; } }
without_actions { from = "actions@example.net"; apply { actions { reject = null; } } }
"""
FLAGS = (
    "bad_unicode",
    "broken_headers",
    "extended_urls",
    "greylisted",
    "learn_ham",
    "learn_spam",
    "message_rewrite",
    "no_log",
    "no_stat",
    "pass_all",
    "skip",
    "skip_process",
)
"""Of a mail, as rspamd names them; each is given twice, as once is not all."""
FLAGGED = "".join(
    f'{flag} {{ from = "{flag}@example.net"; apply {{ flags = ["{flag}", "{flag}"]; }} }}\n' for flag in FLAGS
)
OWN_GROUP = {"groups": [{"name": "own", "symbols": [{"name": "MAILFILTER_UNSCANNED", "score": 0}]}]}
SCORES = "max_score = 100;\nsymbols { MISSING_DATE { weight = 50; } }\n"
STRANGER = "198.51.100.7"


@pytest.fixture(scope="module")
def lenient(make_pod: Callable[[], Pod]) -> Pod:
    """Provide a pod with raw text that accepts mail of some senders, in every way that rspamd has."""
    files = {
        "local.d/multimap.conf": MULTIMAP,
        "local.d/settings.conf": SETTINGS + FLAGGED,
        "local.d/headers_group.conf": SCORES,
        **MAPS,
    }
    return start(make_pod(), {"config": {"files": files}, "metrics": OWN_GROUP})


def answer(pod: Pod, body: bytes, sender: str, client: str = STRANGER) -> str:
    """The reply to a mail of *sender*."""
    return pod.scan(message(body, sender=sender), client, sender).reply


@pytest.mark.parametrize("name", ["accepted", "deferred", "unforced", "actions"])
def test_a_virus_is_refused_whatever_else_decided(lenient: Pod, name: str) -> None:
    assert answer(lenient, EICAR, f"{name}@example.net").startswith("554 5.7.1 Virus found: MailFilter.Builtin.Eicar")


@pytest.mark.parametrize("body", [b"hello world", EICAR], ids=["clean", "virus"])
@pytest.mark.parametrize("name", ["group", "symbol", "chosen", "static", "guard", "own", "grouped"])
def test_mail_that_is_not_scanned_is_not_accepted(lenient: Pod, name: str, body: bytes) -> None:
    assert answer(lenient, body, f"{name}@example.net").startswith("451 4.7.1 Virus scan failed")


@pytest.mark.parametrize("name", ["whitelisted", "wanted", "skipped"])
def test_mail_that_settings_whitelist_is_scanned_and_accepted(lenient: Pod, name: str) -> None:
    """Twice each: both workers, and a table that was changed before."""
    for _ in range(2):
        assert answer(lenient, EICAR, f"{name}@example.net").startswith("554 5.7.1 Virus found: ")
        assert lenient.scan(UNDATED, STRANGER, f"{name}@example.net").reply == "accept"


@pytest.mark.parametrize("flag", FLAGS)
def test_no_flag_keeps_a_mail_from_being_scanned(lenient: Pod, flag: str) -> None:
    assert answer(lenient, EICAR, f"{flag}@example.net").startswith("554 5.7.1 Virus found: ")
    # Some of them have a score.
    assert not answer(lenient, b"hello world", f"{flag}@example.net").startswith("451 ")


def test_mail_accepted_before_its_scan_is_scanned_all_the_same(lenient: Pod) -> None:
    assert answer(lenient, EICAR, "any@example.net", "203.0.113.1").startswith("554 5.7.1 Virus found: ")
    assert answer(lenient, b"hello world", "any@example.net", "203.0.113.1") == "accept"


def test_mail_of_accepted_senders_flows(lenient: Pod) -> None:
    assert lenient.scan(CLEAN).reply == "accept"
    assert lenient.scan(UNDATED).reply.startswith("554 ")
    assert answer(lenient, b"hello world", "accepted@example.net") == "accept"
    assert answer(lenient, b"hello world", "deferred@example.net").startswith("451 ")


def test_a_failed_scan_defers_what_would_be_accepted(make_pod: Callable[[], Pod]) -> None:
    pod = start(make_pod(), {"config": {"files": {"local.d/multimap.conf": MULTIMAP, **MAPS}}})
    clamd = next(container for container in pod.containers if container.log.name == "clamd.log")
    clamd.signal_all(signal.SIGKILL)
    for client, sender in ((STRANGER, "accepted@example.net"), ("203.0.113.1", "any@example.net")):
        assert answer(pod, EICAR, sender, client).startswith("451 4.7.1 Virus scan failed")
    pod.remove()
