"""New keys: as they were asked for, each another one."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.unit import samples

from mailfilter_operator.dkim.keys import DkimKey, build_selector
from mailfilter_operator.dkim.slots import KeyRequest
from mailfilter_operator.keygen import AHEAD, make_keys


def test_keys_are_those_that_were_asked_for() -> None:
    requests = (
        KeyRequest("example.com", "r0", "RSA", 2048, at_once=True),
        KeyRequest("example.org", "r0", "RSA", 3072, at_once=True, selector="mail"),
    )
    with ThreadPoolExecutor(2) as threads:
        keys = list(make_keys(requests, threads, lambda: samples.NOW))

    for key, request in zip(keys, requests, strict=True):
        private = serialization.load_pem_private_key(key.private_pem, password=None)
        assert isinstance(private, rsa.RSAPrivateKey)
        assert (private.key_size, private.public_key().public_numbers().e) == (request.bits, 65537)
        assert (key.domain, key.slot, key.bits, key.algorithm) == (request.domain, "r0", request.bits, "RSA")
        assert (key.state, key.created, key.signing_since) == ("Active", samples.NOW, samples.NOW)
    assert [key.selector for key in keys] == [build_selector(samples.NOW, keys[0].public_der), "mail"]


def test_no_two_keys_are_the_same() -> None:
    requests = tuple(KeyRequest("example.com", "r0", "RSA", 1024, at_once=True) for _ in range(3))
    with ThreadPoolExecutor(1) as threads:
        keys = list(make_keys(requests, threads, lambda: samples.NOW))

    assert not any(one.public_der == other.public_der for one, other in itertools.combinations(keys, 2))


class Maker:
    """Makes one key after another; a key of the domain `slow` waits until it may be made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[str] = []
        self.may_go_on = threading.Event()
        monkeypatch.setattr("mailfilter_operator.keygen.make_key", self._make)

    def _make(self, request: KeyRequest, now: str) -> DkimKey:
        self.begun.append(request.domain)
        assert request.domain != "slow" or self.may_go_on.wait(10)
        return DkimKey(request.domain, request.slot, "s", "RSA", request.bits, "Active", now, now, b"")


def ask(*domains: str) -> tuple[KeyRequest, ...]:
    return tuple(KeyRequest(domain, "r0", "RSA", 2048, at_once=True) for domain in domains)


def test_key_is_there_while_the_next_is_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be stored: the process may end any time."""
    maker = Maker(monkeypatch)
    with ThreadPoolExecutor(2) as threads:
        keys = make_keys(ask("a", "slow", "b"), threads, lambda: samples.NOW)
        assert next(keys).domain == "a"
        maker.may_go_on.set()
        assert [key.domain for key in keys] == ["slow", "b"]


def test_keys_of_another_mailfilter_wait_for_a_few_only(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker(monkeypatch)
    many = [f"d{number}" for number in range(100)]
    with ThreadPoolExecutor(1) as threads:
        first = make_keys(ask(*many), threads, lambda: samples.NOW)
        next(first)
        (second,) = make_keys(ask("other"), threads, lambda: samples.NOW)
        assert second.domain == "other"
        assert maker.begun.index("other") <= 1 + AHEAD
        assert [key.domain for key in first] == many[1:]


def test_keys_that_nobody_takes_any_more_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker(monkeypatch)
    with ThreadPoolExecutor(1) as threads:
        keys = make_keys(ask("a", "slow", "b", "c"), threads, lambda: samples.NOW)
        next(keys)
        keys.close()
        maker.may_go_on.set()
    assert not {"b", "c"} & set(maker.begun)
