"""Which key signs for which domain, and which is missing."""

from __future__ import annotations

from typing import Any

from tests.unit import samples

from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.dkim.slots import KeyPlan, KeyRequest, plan_keys

COM, ORG = samples.dkim_key("example.com"), samples.dkim_key("example.org")


def plan(domains: list[Any], *keys: DkimKey, **dkim: Any) -> KeyPlan:
    return plan_keys(samples.mailfilter(domains=domains, dkim=dkim).spec, keys)


def test_keys_sign_in_the_order_of_the_spec() -> None:
    assert plan([{"name": "example.org"}, {"name": "example.com"}], COM, ORG) == KeyPlan((ORG, COM), ())


def test_domain_without_a_key_gets_one_of_the_wanted_size() -> None:
    found = plan([{"name": "example.com"}, {"name": "example.net"}], COM, keyBits=3072)

    assert found == KeyPlan((COM,), (KeyRequest("example.net", "r0", 3072, None),))


def test_domain_decides_on_size_and_selector_of_its_first_key() -> None:
    domain = {"name": "example.net", "dkim": {"keyBits": 4096, "selector": "mail"}}

    assert plan([domain], keyBits=3072).missing == (KeyRequest("example.net", "r0", 4096, "mail"),)


def test_key_that_signs_is_not_replaced_when_size_or_selector_change() -> None:
    """The record of another key is not published."""
    domain = {"name": "example.com", "dkim": {"keyBits": 4096, "selector": "other"}}

    assert plan([domain], COM) == KeyPlan((COM,), ())


def test_key_of_a_domain_that_is_not_in_the_spec_does_not_sign() -> None:
    assert plan([{"name": "example.com"}], COM, ORG).signing == (COM,)


def test_no_domains_need_no_keys() -> None:
    assert plan([], COM) == KeyPlan((), ())
