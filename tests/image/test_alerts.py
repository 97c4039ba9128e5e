"""What clamd itself says of archives, documents and sizes, and what becomes of the mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.image.messages import (
    CLEAN,
    EICAR,
    encrypted_zip,
    macro_workbook,
    with_attachment,
    with_attachments,
    zipped,
)
from tests.image.pod import Pod
from tests.image.test_policies import SIGNATURES, TRY_AGAIN, is_marked, status
from tests.image.test_rendered import start

MEBIBYTE = 1024 * 1024
ENCRYPTED = ("secret.zip", encrypted_zip())
MACROS = ("sums.xls", macro_workbook())
LARGE_INSIDE = ("large.zip", zipped(bytes(9 * MEBIBYTE)))
"""One file of more than eight times maxMessageSize, which is MaxScanSize."""
MUCH_INSIDE = ("much.zip", zipped(*(bytes([number]) * (MEBIBYTE * 3 // 2) for number in range(8))))
"""Many that are more together."""
MAX_FILE = 8 * MEBIBYTE + 64 * 1024


def start_with(pod: Pod, **alerts: str) -> Pod:
    """A pod that takes mails of 1 MiB, and marks and refuses none for its score: rspamd does not like archives."""
    antivirus: dict[str, Any] = {"maxMessageSize": "1Mi", "signatures": SIGNATURES, "alerts": alerts}
    return start(pod, {"antivirus": antivirus, "actions": {"greylist": "Disabled", "addHeader": 800, "reject": 900}})


@pytest.fixture(scope="module")
def plain(make_pod: Callable[[], Pod]) -> Pod:
    """Provide a pod without a policy of its own."""
    return start_with(make_pod())


@pytest.fixture(scope="module")
def looking(make_pod: Callable[[], Pod]) -> Pod:
    """Provide a pod with a policy for each alert."""
    return start_with(make_pod(), limitsExceeded="Reject", encrypted="AddHeader", macros="Quarantine")


@pytest.mark.parametrize("part", [ENCRYPTED, MACROS], ids=["encrypted", "macros"])
def test_what_has_no_policy_leaves_no_trace(plain: Pod, part: tuple[str, bytes]) -> None:
    verdict = plain.scan(with_attachments(part))

    assert verdict.reply == "accept"
    assert {name for name, _ in verdict.headers} == {name for name, _ in plain.scan(CLEAN).headers}


def test_encrypted_content_is_found(looking: Pod) -> None:
    verdict = looking.scan(with_attachments(ENCRYPTED))

    assert verdict.reply == "accept"
    assert is_marked(verdict)
    assert status(verdict) == ["Suspicious (Heuristics.Encrypted.Zip)"]


def test_macros_are_found(looking: Pod) -> None:
    verdict = looking.scan(with_attachments(MACROS))

    assert verdict.reply == "quarantine"
    assert status(verdict) == ["Suspicious (Heuristics.OLE2.ContainsMacros.XLM)"]


@pytest.mark.parametrize("part", [LARGE_INSIDE, MUCH_INSIDE], ids=["large", "much"])
def test_what_unpacks_to_too_much_follows_its_policy(plain: Pod, looking: Pod, part: tuple[str, bytes]) -> None:
    mail = with_attachments(part)

    assert plain.scan(mail).reply == TRY_AGAIN
    refusal = looking.scan(mail).reply
    assert refusal.startswith("554 5.7.1 Too much to scan: ")
    assert refusal.endswith("Heuristics.Limits.Exceeded.MaxScanSize")


@pytest.mark.parametrize("size", [8 * MEBIBYTE, MAX_FILE - 8192, MAX_FILE, MAX_FILE + 1, MAX_FILE + 8193])
def test_no_packed_file_is_cut_off_without_a_word(plain: Pod, size: int) -> None:
    """Its end would not be scanned."""
    assert plain.scan(with_attachment("large.zip", zipped(bytes(size) + EICAR))).reply == TRY_AGAIN


def test_a_packed_file_is_scanned_to_its_end(plain: Pod) -> None:
    mail = with_attachment("large.zip", zipped(bytes(7 * MEBIBYTE) + EICAR))

    assert plain.scan(mail).reply.startswith("554 5.7.1 Virus found: ")


def test_a_virus_goes_before_every_alert(looking: Pod) -> None:
    for parts in ((ENCRYPTED, MACROS), (LARGE_INSIDE,), (MUCH_INSIDE,)):
        mail = with_attachments(*parts, ("file.com", EICAR))
        # What comes after too much is not looked at any more.
        assert looking.scan(mail).reply.startswith("554 5.7.1 Virus found: " if parts[0] != MUCH_INSIDE else "554 ")


@pytest.mark.parametrize("part", [LARGE_INSIDE, MUCH_INSIDE], ids=["large", "much"])
def test_what_nobody_looks_for_hides_no_limit(plain: Pod, part: tuple[str, bytes]) -> None:
    """Of several alerts clamd tells any one, each time another."""
    mail = with_attachments(part, ENCRYPTED, MACROS)

    assert {plain.scan(mail).reply for _ in range(8)} == {TRY_AGAIN}


def test_limits_may_be_accepted(make_pod: Callable[[], Pod]) -> None:
    pod = start_with(make_pod(), limitsExceeded="Accept")

    verdict = pod.scan(with_attachment(*MUCH_INSIDE))
    assert verdict.reply == "accept"
    assert status(verdict) == []
    assert pod.scan(with_attachment("file.com", EICAR)).reply.startswith("554 5.7.1 Virus found: ")
    pod.remove()
