"""Looking for private DKIM keys, and other texts that nobody may see, in text, whatever form they were written in.

A base64 text of a key holds the base64 of each private number at one of three alignments; encoded twice, it
holds the base64 of that text, again at one of three.  Any piece of 24 characters of one of these is a leak.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

PIECE = 24


def private_numbers(pem: bytes) -> list[bytes]:
    """Return the numbers of an RSA key that must stay secret, as big-endian bytes."""
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"not an RSA key: {type(key).__name__}")
    numbers = key.private_numbers()
    secret = (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    return [number.to_bytes((number.bit_length() + 7) // 8, "big") for number in secret]


def encodings(content: bytes) -> Iterator[str]:
    """Yield the base64 of *content* at the three alignments, without what depends on its neighbours."""
    for before in range(3):
        # Each of the characters left out mixes bits of the neighbouring bytes with those of the content.
        encoded = base64.b64encode(b"\0" * before + content).decode().rstrip("=")
        start = (before * 8 + 5) // 6
        stop = (before + len(content)) * 8 // 6
        yield encoded[start:stop]


def pieces(pems: Iterable[bytes]) -> set[str]:
    """Return every piece of the private numbers of the keys, encoded once and twice."""
    found: set[str] = set()
    for pem in pems:
        for number in private_numbers(pem):
            for once in encodings(number):
                found.update(_slices(once))
                for twice in encodings(once.encode()):
                    found.update(_slices(twice))
    return found


def text_pieces(secrets: Iterable[str]) -> set[str]:
    """Return every piece of the texts, as they are and encoded once and twice. Raises ValueError for a short one."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) < PIECE:
            raise ValueError(f"{len(secret)} characters are less than the {PIECE} of a piece")
        found.update(_slices(secret))
        for once in encodings(secret.encode()):
            found.update(_slices(once))
            for twice in encodings(once.encode()):
                found.update(_slices(twice))
    return found


def find_leaks(secret_pieces: set[str], texts: Mapping[str, str]) -> dict[str, str]:
    """Return the first piece found in each text, by the text's name."""
    leaks = {}
    for name, text in texts.items():
        piece = next((piece for piece in _slices(text) if piece in secret_pieces), None)
        if piece is not None:
            leaks[name] = piece
    return leaks


def _slices(text: str) -> Iterator[str]:
    for start in range(len(text) - PIECE + 1):
        yield text[start : start + PIECE]
