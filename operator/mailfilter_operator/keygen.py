"""New private keys: the only place with entropy. Runs on threads of its own, off the event loop.

cryptography releases the interpreter lock while it looks for primes (since 47), so two threads use two cores.
"""

from collections.abc import Callable
from concurrent.futures import Executor

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfilter_operator.dkim.keys import ACTIVE, DkimKey, build_selector, read_public_der
from mailfilter_operator.dkim.slots import KeyRequest

_PUBLIC_EXPONENT = 65537


def generate_key(request: KeyRequest, now: str) -> DkimKey:
    """A new RSA key for *request*; *now* is its RFC 3339 creation time. With `AtOnce` it signs from now on."""
    private = rsa.generate_private_key(public_exponent=_PUBLIC_EXPONENT, key_size=request.bits)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return DkimKey(
        domain=request.domain,
        slot=request.slot,
        selector=request.selector or build_selector(now, read_public_der(pem)),
        algorithm="RSA",
        bits=request.bits,
        state=ACTIVE,
        created=now,
        signing_since=now,
        private_pem=pem,
    )


def generate_keys(
    requests: tuple[KeyRequest, ...], executor: Executor, clock: Callable[[], str]
) -> tuple[DkimKey, ...]:
    """Keys for all *requests*, made side by side."""
    return tuple(executor.map(lambda request: generate_key(request, clock()), requests))
