"""New keys: as they were asked for, each another one."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.unit import samples

from mailfilter_operator.dkim.keys import build_selector
from mailfilter_operator.dkim.slots import KeyRequest
from mailfilter_operator.keygen import generate_keys


def test_keys_are_those_that_were_asked_for() -> None:
    requests = (KeyRequest("example.com", "r0", 2048, None), KeyRequest("example.org", "r0", 3072, "mail"))
    with ThreadPoolExecutor(2) as threads:
        keys = generate_keys(requests, threads, lambda: samples.NOW)

    for key, request in zip(keys, requests, strict=True):
        private = serialization.load_pem_private_key(key.private_pem, password=None)
        assert isinstance(private, rsa.RSAPrivateKey)
        assert (private.key_size, private.public_key().public_numbers().e) == (request.bits, 65537)
        assert (key.domain, key.slot, key.bits, key.algorithm) == (request.domain, "r0", request.bits, "RSA")
        assert (key.state, key.created, key.signing_since) == ("Active", samples.NOW, samples.NOW)
    assert [key.selector for key in keys] == [build_selector(samples.NOW, keys[0].public_der), "mail"]


def test_no_two_keys_are_the_same() -> None:
    requests = tuple(KeyRequest("example.com", "r0", 1024, None) for _ in range(3))
    with ThreadPoolExecutor(1) as threads:
        keys = generate_keys(requests, threads, lambda: samples.NOW)

    assert not any(one.public_der == other.public_der for one, other in itertools.combinations(keys, 2))
