"""The mails by which a change is noticed."""

from __future__ import annotations

from tests.bench.changes import UNDATED


def test_a_mail_by_which_a_score_is_noticed_lacks_a_date_and_nothing_else() -> None:
    names = [line.partition(b":")[0] for line in UNDATED.partition(b"\r\n\r\n")[0].split(b"\r\n")]

    assert names == [b"From", b"To", b"Subject", b"Message-ID", b"MIME-Version", b"Content-Type"]
