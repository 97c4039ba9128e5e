"""New private keys: the only place with entropy. Runs on threads of its own, off the event loop.

cryptography releases the interpreter lock while it looks for primes (since 47), so two threads use two cores.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future
from itertools import islice

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mailfilter_operator.dkim.keys import (
    ACTIVE,
    ED25519,
    PENDING,
    DkimKey,
    build_selector,
    read_public_der,
    write_pem,
)
from mailfilter_operator.dkim.slots import KeyRequest

AHEAD = 7
"""Keys in the making beside the one that is waited for. All at once would make other MailFilters wait for them all."""

_PUBLIC_EXPONENT = 65537


def make_key(request: KeyRequest, now: str) -> DkimKey:
    """The key of *request*: the domain's own one, or a new one; *now* is its RFC 3339 creation time."""
    while True:
        pem = request.own.private_pem if request.own else _generate(request)
        selector = request.selector or build_selector(now, read_public_der(pem), request.prefix)
        # The four characters of two keys of a domain are the same once in 65536 days with two keys.
        if request.selector or selector not in request.taken:
            break
    return DkimKey(
        domain=request.domain,
        slot=request.slot,
        selector=selector,
        algorithm=request.algorithm,
        bits=request.bits,
        state=ACTIVE if request.at_once else PENDING,
        created=now,
        signing_since=now if request.at_once else "",
        private_pem=pem,
        rotation_id=request.rotation_id,
    )


def _generate(request: KeyRequest) -> bytes:
    if request.algorithm == ED25519:
        return write_pem(ed25519.Ed25519PrivateKey.generate())
    return write_pem(rsa.generate_private_key(public_exponent=_PUBLIC_EXPONENT, key_size=request.bits))


def make_keys(
    requests: Sequence[KeyRequest], executor: Executor, clock: Callable[[], str]
) -> Generator[DkimKey, None, None]:
    """Keys for *requests* in their order, each as soon as it is made, so that it can be stored before the next.

    Lazy: nothing is made until the first is asked for; then a few are made side by side, ahead of what is asked for.
    Those of another call are made in between. Whoever closes the iterator ends the making of the rest.
    """

    def make(request: KeyRequest) -> DkimKey:
        return make_key(request, clock())

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
