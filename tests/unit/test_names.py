"""Names that end up in a cluster."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter_operator import names

MAILFILTER = st.builds("m{}{}".format, st.text("ab0-", max_size=38), st.sampled_from("az9"))
SUFFIXES = ("-metrics", "-workers", "-modules", "-clamav", "-keyring", f"-dkim-{names.domain_hash('example.com')}-r0")
DOMAIN = st.text("abc.", min_size=1, max_size=20)
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def objects(instance: str, domains: tuple[str, ...] = ("example.com", "example.org")) -> set[tuple[str, str]]:
    """Kind and name of everything that belongs to a MailFilter."""
    configmaps = (names.metrics_configmap, names.workers_configmap, names.modules_configmap, names.clamav_configmap)
    slots = [f"{algorithm}{number}" for algorithm in "re" for number in range(3)]
    return {
        *((kind, instance) for kind in ("Deployment", "Service", "ServiceAccount")),
        *(("ConfigMap", name(instance)) for name in configmaps),
        ("Secret", names.keyring(instance)),
        *(("Secret", names.dkim_secret(instance, domain, slot)) for domain in domains for slot in slots),
    }


@given(MAILFILTER, MAILFILTER)
def test_two_mailfilters_have_no_object_in_common(one: str, other: str) -> None:
    if one != other:
        assert not objects(one) & objects(other)


@given(MAILFILTER, st.lists(st.sampled_from(SUFFIXES), min_size=1, max_size=2))
def test_a_mailfilter_whose_name_begins_with_that_of_another_has_no_object_in_common(
    name: str, ends: list[str]
) -> None:
    """Even with a name that the API server refuses because it looks like one of our own."""
    for one, other in itertools.combinations([name, name + ends[0], name + "".join(ends), f"{name}-2"], 2):
        if one != other:
            assert not objects(one) & objects(other)


@given(st.builds("m{}z".format, st.text("ab0-", min_size=38, max_size=38)))
def test_objects_of_the_longest_mailfilter_have_names_of_at_most_63_characters(name: str) -> None:
    assert [found for _, found in objects(name) if not DNS_LABEL.fullmatch(found)] == []


@given(DOMAIN, DOMAIN)
def test_key_secrets_of_two_domains_or_slots_differ(one: str, other: str) -> None:
    pairs = {(domain, slot) for domain in (one, other) for slot in ("r0", "r1", "e0")}

    assert len({names.dkim_secret("mx", *pair) for pair in pairs}) == len(pairs)


def test_domain_of_any_length_has_a_short_hash() -> None:
    assert re.fullmatch(r"[0-9a-f]{10}", names.domain_hash("a." * 126 + "b"))


def test_another_key_has_another_file_that_rspamd_takes_for_a_path() -> None:
    first, second = (names.key_file("example.com", "r0", fingerprint) for fingerprint in ("00000000", "00000001"))

    assert first != second
    assert first.endswith(".key")


@pytest.mark.parametrize("path", ["local.d/groups.conf", "override.d/worker-proxy.inc", "clamav/clamd.conf"])
def test_configuration_path_becomes_a_configmap_key(path: str) -> None:
    assert re.fullmatch(r"[-._a-zA-Z0-9]+", names.configmap_key(path))


def test_pod_selector_is_part_of_the_labels_and_names_instance_and_component() -> None:
    labels, selector = names.labels("mx", "filter"), names.selector("mx")

    assert selector.items() <= labels.items()
    assert not selector.items() <= names.labels("mx", "dkim").items()
    assert not selector.items() <= names.labels("mx-2", "filter").items()


def test_labels_are_made_anew_each_time() -> None:
    names.labels("mx", "filter").clear()

    assert len(names.labels("mx", "filter")) == 5


def test_milter_endpoint_is_host_and_port() -> None:
    assert names.milter_endpoint("mx", "mail") == "mx.mail.svc:11332"
