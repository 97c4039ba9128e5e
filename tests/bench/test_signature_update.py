"""What counts as a signature update that has arrived, and from when its time is counted."""

from __future__ import annotations

import pytest
from tests.bench.live import Trial
from tests.bench.signature_update import marked, own_seconds, parse_versions
from tests.image.milter import Verdict

FOUND = [("X-Virus-Status", "Infected (Bench.1.UNOFFICIAL)")]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        ([("X-Spam", "Yes")], False),
        ([("X-Virus-Status", "Infected (Bench.11.UNOFFICIAL)")], False),
        (FOUND, True),
        ([("X-Spam", "Yes"), *FOUND], True),
    ],
)
def test_a_mail_shows_the_update_when_its_own_signature_is_found(
    headers: list[tuple[str, str]], *, expected: bool
) -> None:
    assert marked("Bench.1.UNOFFICIAL")(Verdict("accept", headers)) == expected


def test_the_time_until_freshclam_has_the_database_is_not_counted() -> None:
    assert own_seconds(Trial(seconds=12.5, kubectl_seconds=4.0)) == 8.5
    assert own_seconds(Trial(seconds=4.0, kubectl_seconds=4.1)) == 0.0


def test_the_versions_of_the_service_are_read() -> None:
    text = "daily.cvd 6 21 Nov 2026 03-21 -0500\nmain.cvd 5 20 Nov 2026 03-21 -0500\n\n"
    assert parse_versions(text) == {"daily.cvd": 6, "main.cvd": 5}
