"""The password's hash: what rspamd takes, and nothing that it would take for any password."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator.credentials import Secrets, compute_password_hash, hash_password, is_salt
from mailfilter_operator.errors import InvalidReference

FROM_RSPAMADM = "$1$3or63ux84qi5oans9eu9kgxfksy3rerk$y38y398fxmz7oub5regdabh5osus54bxq1qn9onydx3ceenzet9y"
"""`rspamadm pw -e -q -t pbkdf2 -p q1` of version 4.1.5."""
ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"


def hashed(value: str, salt: str = samples.SALT) -> str:
    return compute_password_hash("spec.x", value, salt)


def decode(text: str) -> bytes:
    """The bytes that z-base-32 with the lowest bits first stands for."""
    number = sum(ALPHABET.index(letter) << 5 * position for position, letter in enumerate(text))
    return number.to_bytes((5 * len(text) + 7) // 8, "little")[: 5 * len(text) // 8]


def test_hash_is_the_one_that_rspamadm_makes_of_the_same_password_and_salt() -> None:
    assert hash_password("q1", decode(FROM_RSPAMADM.split("$")[2])) == FROM_RSPAMADM


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=80))
def test_password_becomes_a_hash_that_follows_from_it_and_the_salt(password: str) -> None:
    value = f"x{password}"

    assert re.fullmatch(rf"\$1\$[{ALPHABET}]{{32}}\$[{ALPHABET}]{{51,52}}", hashed(value))
    assert hashed(value) == hashed(value)
    assert len({hashed(value), hashed(value + "x"), hashed(value, "a5" * 32)}) == 3
    assert hashed(hashed(value)) == hashed(value), "a hash is handed on"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_line_ends_at_the_end_do_not_count(end: str) -> None:
    assert hashed(samples.PASSWORD + end) == hashed(samples.PASSWORD)


@pytest.mark.parametrize(
    "value",
    [
        "$1$",
        "$1$$",
        "$2$x",
        "$0$" + FROM_RSPAMADM[3:],
        "$3$" + FROM_RSPAMADM[3:],
        "$10$" + FROM_RSPAMADM[3:],
        FROM_RSPAMADM[:-2],
        FROM_RSPAMADM + "y",
        FROM_RSPAMADM.replace("$3", "$"),
        FROM_RSPAMADM.replace("q", "l"),
        FROM_RSPAMADM + " ",
        FROM_RSPAMADM + "\n" + FROM_RSPAMADM,
    ],
)
def test_what_begins_like_a_hash_and_is_none_is_refused(value: str) -> None:
    with pytest.raises(InvalidReference, match=r"^spec\.x: begins like a hash of rspamd and is none; write") as refused:
        hashed(value)

    assert value.strip() not in refused.value.message


@pytest.mark.parametrize("value", ["", "\n", "a\nb", "a\x00b", "a\tb", "p" * 257])
def test_what_nobody_can_type_is_refused(value: str) -> None:
    with pytest.raises(InvalidReference, match="is no password; write one line of 1 to 256 characters"):
        hashed(value)


def test_hash_of_the_other_kind_is_handed_on() -> None:
    catena = "$2$eigxi1md6y4ujpsffzyjeknsirkhwh3c$3bsiy9pmoz5mcq8bx65f77fh7jffc85r1kcx1cpcemnr7z1ygf8y"

    assert hashed(catena + "\n") == catena


@pytest.mark.parametrize("value", ["$", "$$", "$a$", "1$2$", " $1$", "p" * 256, "ümlaut 漢"])
def test_other_dollars_are_characters(value: str) -> None:
    assert hashed(value).startswith("$1$")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("5a" * 32, True), (None, False), ("", False), ("5A" * 32, False), ("5a" * 32 + "\n", False), ("5a" * 33, False)],
)
def test_salt_has_64_hexadecimal_digits(text: str | None, verdict: bool) -> None:
    assert is_salt(text) is verdict


def test_secrets_show_nothing() -> None:
    assert repr(Secrets("salt", "hash")) == "Secrets()"
