"""The password of the web interface as rspamd stores it, and the salt of everything that holds a secret.

A hash is PBKDF2 with BLAKE2b, what `rspamadm pw -t pbkdf2` makes. rspamd takes a hash of another form for one that any
password fits (some versions), so that only one that matches the whole grammar is handed on.
"""

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache

from mailfilter_operator.errors import InvalidReference

_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
"""z-base-32, which rspamd writes with the lowest bits first."""

_HASH = re.compile(rf"\$[12]\$[{_ALPHABET}]{{32}}\$[{_ALPHABET}]{{51,52}}")
_LOOKS_LIKE_A_HASH = re.compile(r"\$[0-9]+\$")
_SALT = re.compile(r"[0-9a-f]{64}")
_ROUNDS, _SALT_BYTES, _KEY_BYTES, _BLOCK_BYTES = 16000, 20, 32, 64
_LONGEST_PASSWORD = 256


@dataclass(frozen=True, slots=True)
class Secrets:
    """What rendered files hold that nobody may see."""

    salt: str = field(repr=False)
    password_hash: str = field(repr=False)


def is_salt(text: str | None) -> bool:
    """Tell whether *text* has the form that the pods insist on: 64 hexadecimal digits."""
    return text is not None and _SALT.fullmatch(text) is not None


def derive_freshclam_salt(salt: str) -> str:
    """The salt of files that freshclam's container alone mounts, by which *salt* cannot be found out.

    That container reads what the Internet sends, and the manifest with the hashes of all files: with the salt of the
    others it could guess what is weak in those.
    """
    return hashlib.blake2b(b"freshclam", key=bytes.fromhex(salt), digest_size=32).hexdigest()


def compute_password_hash(path: str, value: str, salt: str) -> str:
    """Hash for rspamd of a password, or *value* itself if it is a hash already. *path* names where it was found.

    The hash depends on the salt of this MailFilter and not on time, so that a pass that changes nothing writes nothing.
    Line ends at the end do not count: editors and `kubectl create secret --from-file` leave one.
    Raises InvalidReference for what rspamd would not take, or would take for any password.
    """
    password = value.rstrip("\r\n")
    if _LOOKS_LIKE_A_HASH.match(password):
        if not _HASH.fullmatch(password):
            raise InvalidReference(
                path,
                "begins like a hash of rspamd and is none; write the password itself, or the whole line that `rspamadm "
                "pw` prints",
            )
        return password
    if not password or len(password) > _LONGEST_PASSWORD or not password.isprintable():
        raise InvalidReference(
            path, f"is no password; write one line of 1 to {_LONGEST_PASSWORD} characters without control characters"
        )
    return hash_password(
        password, hashlib.blake2b(b"password", key=bytes.fromhex(salt), digest_size=_SALT_BYTES).digest()
    )


@lru_cache(maxsize=2048)
def hash_password(password: str, salt: bytes) -> str:
    """A password as rspamd stores it. It takes 10 ms and is asked for in every pass, hence the memory."""
    return f"$1${_encode(salt)}${_encode(_derive_key(password.encode(), salt))}"


def _derive_key(password: bytes, salt: bytes) -> bytes:
    """PBKDF2 as rspamd computes it; one block is longer than the key."""
    key = password if len(password) <= _BLOCK_BYTES else hashlib.blake2b(password).digest()
    keyed = hashlib.blake2b(key=key)

    def mac(message: bytes) -> bytes:
        state = keyed.copy()
        state.update(message)
        return state.digest()

    block = mac(salt + (1).to_bytes(4, "big"))
    total = int.from_bytes(block, "big")
    for _ in range(_ROUNDS - 1):
        block = mac(block)
        total ^= int.from_bytes(block, "big")
    return total.to_bytes(_BLOCK_BYTES, "big")[:_KEY_BYTES]


def _encode(data: bytes) -> str:
    number = int.from_bytes(data, "little")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(0, 8 * len(data), 5))
