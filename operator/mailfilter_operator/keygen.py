"""New private keys: the only place with entropy. Runs on threads of its own, off the event loop.

cryptography releases the interpreter lock while it looks for primes (since 47), so two threads use two cores.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future
from itertools import islice

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfilter_operator.dkim.keys import ACTIVE, DkimKey, build_selector, read_public_der
from mailfilter_operator.dkim.slots import KeyRequest

AHEAD = 7
"""Keys in the making beside the one that is waited for. All at once would make other MailFilters wait for them all."""

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
    requests: Sequence[KeyRequest], executor: Executor, clock: Callable[[], str]
) -> Generator[DkimKey, None, None]:
    """Keys for *requests* in their order, each as soon as it is made, so that it can be stored before the next.

    Lazy: nothing is made until the first is asked for; then a few are made side by side, ahead of what is asked for.
    Those of another call are made in between. Whoever closes the iterator ends the making of the rest.
    """

    def make(request: KeyRequest) -> DkimKey:
        return generate_key(request, clock())

    waiting: deque[Future[DkimKey]] = deque()
    remaining = iter(requests)
    try:
        while True:
            for request in islice(remaining, 1 + AHEAD - len(waiting)):
                waiting.append(executor.submit(make, request))
            if not waiting:
                return
            yield waiting[0].result()
            waiting.popleft()
    finally:
        for future in waiting:
            future.cancel()
