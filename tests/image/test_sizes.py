"""Mail up to maxMessageSize is scanned whole, and what is larger is refused with the limit."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from tests.image.messages import EICAR, message, with_attachment
from tests.image.pod import Pod
from tests.image.test_guard import MAPS, MULTIMAP
from tests.image.test_guard import SETTINGS as ACCEPTING
from tests.image.test_policies import SIGNATURES
from tests.image.test_rendered import start

MEBIBYTE = 1024 * 1024
REFUSAL = "554 5.7.1 Message larger than {} MiB"


def start_with(pod: Pod, **antivirus: Any) -> Pod:
    return start(pod, {"antivirus": {"signatures": SIGNATURES, **antivirus}})


@pytest.fixture(scope="module", params=[1, 50], ids="{}Mi".format)
def limited(make_pod: Callable[[], Pod], request: pytest.FixtureRequest) -> tuple[Pod, int]:
    """Provide a pod and its limit in MiB: the smallest and the default."""
    limit = int(request.param)
    return start_with(make_pod(), maxMessageSize=f"{limit}Mi"), limit


@pytest.fixture(scope="module")
def lenient(make_pod: Callable[[], Pod]) -> Pod:
    """Provide a pod with a limit of 1 MiB and raw text that accepts mail of some senders."""
    files = {"local.d/multimap.conf": MULTIMAP, "local.d/settings.conf": ACCEPTING, **MAPS}
    return start(make_pod(), {"config": {"files": files}})


def message_of(size: int, end: bytes = b"") -> bytes:
    """A plain message of so many bytes; it ends with *end*."""
    line = b"Nothing to see here, and a great deal of it, line after line after line.\r\n"
    missing = size - len(message(b"")) - len(end)
    mail = message((line * (missing // len(line) + 1))[:missing] + end)
    assert len(mail) == size
    return mail


@pytest.mark.parametrize("missing", [1, 0])
def test_up_to_the_limit_mail_is_scanned_to_its_end(limited: tuple[Pod, int], missing: int) -> None:
    pod, limit = limited
    size = limit * MEBIBYTE - missing

    assert pod.scan(message_of(size)).reply == "accept"
    assert pod.scan(message_of(size, EICAR)).reply.startswith("554 5.7.1 Virus found: ")


@pytest.mark.parametrize("end", [b"", EICAR], ids=["clean", "virus"])
def test_above_it_the_answer_names_the_limit(limited: tuple[Pod, int], end: bytes) -> None:
    pod, limit = limited

    assert pod.scan(message_of(limit * MEBIBYTE + 1, end)).reply == REFUSAL.format(limit)


@pytest.mark.parametrize("end", [b"", EICAR], ids=["clean", "virus"])
@pytest.mark.parametrize("sender", ["whitelisted", "wanted", "skipped", "accepted", "deferred"])
def test_text_that_accepts_a_mail_does_not_make_it_smaller(lenient: Pod, sender: str, end: bytes) -> None:
    address = f"{sender}@example.net"
    mail = message_of(MEBIBYTE + 1, end)

    assert lenient.scan(mail, "198.51.100.7", address).reply == REFUSAL.format(1)


@pytest.mark.parametrize("limited", [50], ids="{}Mi".format, indirect=True)
def test_a_clean_attachment_of_35_mb_passes_and_one_with_a_virus_does_not(limited: tuple[Pod, int]) -> None:
    pod, _ = limited
    content = os.urandom(35_000_000)

    assert pod.scan(with_attachment("film.bin", content)).reply == "accept"
    assert pod.scan(with_attachment("film.bin", content + EICAR)).reply.startswith("554 5.7.1 Virus found: ")
