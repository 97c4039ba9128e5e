"""What the MTA makes of what a milter wants; the sessions themselves are tried with the probes of signing."""

from __future__ import annotations

import pytest

from mailfilter_operator.milter import HeaderChange, change_message, final, split_message

MESSAGE = b"A: 1\r\nB: 2\r\n folded\r\nA: 3\r\n\r\nbody\r\n"


def test_a_message_is_split_and_put_together_again() -> None:
    assert split_message(MESSAGE) == ([(b"A", b"1"), (b"B", b"2\n folded"), (b"A", b"3")], b"body\r\n")
    assert change_message(MESSAGE, []) == MESSAGE


@pytest.mark.parametrize(
    ("change", "head"),
    [
        (HeaderChange("C", "x\n y"), b"A: 1\r\nB: 2\r\n folded\r\nA: 3\r\nC: x\r\n y"),
        (HeaderChange("C", "x", 0), b"C: x\r\nA: 1\r\nB: 2\r\n folded\r\nA: 3"),
        (HeaderChange("C", "x", 1), b"A: 1\r\nC: x\r\nB: 2\r\n folded\r\nA: 3"),
        (HeaderChange("C", "x", 99), b"A: 1\r\nB: 2\r\n folded\r\nA: 3\r\nC: x"),
        (HeaderChange("a", "x", 2, replaces=True), b"A: 1\r\nB: 2\r\n folded\r\na: x"),
        (HeaderChange("A", "", 1, replaces=True), b"B: 2\r\n folded\r\nA: 3"),
        (HeaderChange("C", "x", 1, replaces=True), b"A: 1\r\nB: 2\r\n folded\r\nA: 3\r\nC: x"),
        (HeaderChange("C", "", 1, replaces=True), b"A: 1\r\nB: 2\r\n folded\r\nA: 3"),
    ],
    ids=["add", "top", "second", "beyond", "change", "remove", "change-missing", "remove-missing"],
)
def test_a_header_is_changed_where_the_milter_says(change: HeaderChange, head: bytes) -> None:
    assert change_message(MESSAGE, [change]) == head + b"\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("answer", "data", "reply"),
    [
        (b"c", b"", "accept"),
        (b"a", b"", "accept"),
        (b"t", b"", "tempfail"),
        (b"y", b"451 4.7.1 Later\0", "451 4.7.1 Later"),
        (b"Z", b"", "b'Z'"),
    ],
)
def test_final_answers_have_names(answer: bytes, data: bytes, reply: str) -> None:
    assert final(answer, data) == reply
