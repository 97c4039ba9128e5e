"""Reading a MailFilter: what an older schema may have let in is refused with the field's path."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from tests.unit import samples

from mailfilter_operator import api
from mailfilter_operator.errors import InvalidSpec

ANTIVIRUS = {"signatures": {"source": "Official"}}


def with_spec(**spec: Any) -> dict[str, Any]:
    return {**samples.body(), "spec": {"antivirus": ANTIVIRUS, **spec}}


def test_metadata_is_read() -> None:
    assert api.parse(samples.body()).metadata == api.Metadata("mx", "mail", samples.UID, 1)


def test_what_is_left_out_has_its_default() -> None:
    assert api.parse(with_spec()).spec == api.Spec(antivirus=api.Antivirus(api.Signatures("Official")))


def test_null_is_as_good_as_left_out() -> None:
    assert api.parse(with_spec(image=None, actions={"reject": None})) == api.parse(with_spec())


def test_every_level_is_read() -> None:
    spec = api.parse(
        with_spec(
            paused=True,
            domains=[{"name": "example.com", "dkim": {"selector": "mail", "keyBits": 4096}}, {"name": "example.org"}],
            dkim={"activation": "AtOnce", "keyBits": 3072, "sign": {"networks": ["192.0.2.0/24"], "usernames": "Any"}},
            metrics={"groups": [{"name": "own", "maxScore": "7.5", "symbols": [{"name": "A", "score": -1}]}]},
            pod={"resources": {"clamd": {"limits": {"memory": "3Gi"}}}},
        )
    ).spec

    assert spec.paused
    assert spec.domains == (
        api.Domain("example.com", api.DomainDkim("mail", key_bits=4096)),
        api.Domain("example.org", api.DomainDkim()),
    )
    assert spec.dkim == api.Dkim(
        key_bits=3072, activation="AtOnce", sign=api.Sign(networks=("192.0.2.0/24",), usernames="Any")
    )
    assert spec.metrics.groups == (api.Group("own", Decimal("7.5"), (api.Symbol("A", Decimal(-1)),)),)
    assert spec.pod.resources.clamd.limits == api.ResourceList(memory="3Gi")


@pytest.mark.parametrize(("written", "read"), [("Disabled", "Disabled"), (8, Decimal(8)), ("8.25", Decimal("8.25"))])
def test_rewrite_subject_is_a_score_or_disabled(written: Any, read: Any) -> None:
    assert api.parse(with_spec(actions={"rewriteSubject": written})).spec.actions.rewrite_subject == read


def test_maps_are_read_in_the_order_of_their_keys() -> None:
    spec = api.parse(with_spec(config={"files": {"maps/b": "2", "maps/a": "1"}})).spec

    assert spec.config.files == (("maps/a", "1"), ("maps/b", "2"))


def test_quantity_may_be_a_bare_integer() -> None:
    assert api.parse(with_spec(antivirus={**ANTIVIRUS, "maxMessageSize": 2097152})).spec.antivirus == api.Antivirus(
        api.Signatures("Official"), max_message_size="2097152"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"size": 2}, "spec.size: is not a field of this release; remove it"),
        ({"image": {"name": "x"}}, "spec.image.name: is not a field"),
        ({"domains": [{"name": "a.test", "dane": {}}]}, "spec.domains[0].dane: is not a field"),
        ({"antivirus": {"signatures": {"source": "Cluster"}}}, "signatures.source: is 'Cluster'; use one of Shared"),
        ({"antivirus": {"signatures": {"proxySecretRef": {}}}}, "signatures.proxySecretRef.name: is missing; set it"),
        ({"domains": [{"name": "a.test"}, {}]}, "spec.domains[1].name: is missing"),
        ({"image": "x"}, "spec.image: must be an object"),
        ({"domains": 7}, "spec.domains: must be a list"),
        ({"image": {"pullSecrets": "login"}}, "spec.image.pullSecrets: must be a list"),
        ({"paused": "true"}, "spec.paused: must be of type bool"),
        ({"workers": {"proxy": {"count": "2"}}}, "spec.workers.proxy.count: must be of type int"),
        ({"workers": {"proxy": {"count": True}}}, "spec.workers.proxy.count: must be of type int"),
        ({"image": {"tag": 1.5}}, "spec.image.tag: must be of type str"),
        ({"image": {"tag": False}}, "spec.image.tag: must be of type str"),
        ({"logging": {"level": "Trace"}}, "spec.logging.level: is 'Trace'; use one of Error, Warning, Notice, Info"),
        ({"actions": {"reject": "1e9"}}, "spec.actions.reject: '1e9' is not a score"),
        ({"actions": {"reject": "6;"}}, "spec.actions.reject: '6;' is not a score"),
        ({"actions": {"reject": "6\n"}}, "spec.actions.reject: '6\\n' is not a score"),
        ({"actions": {"reject": "NaN"}}, 'write an integer or a quoted decimal such as "6.5"'),
        ({"metrics": {"groups": [{"name": "a", "maxScore": "Disabled"}]}}, "maxScore: 'Disabled' is not a score"),
        ({"config": {"files": ["local.d/a.conf"]}}, "spec.config.files: must be an object whose values are texts"),
        ({"workers": {"proxy": {"options": {"a": 1}}}}, "proxy.options: must be an object whose values are texts"),
        ({"actions": {"rewriteSubject": "Off"}}, "spec.actions.rewriteSubject: 'Off' is not a score"),
        ({"actions": {"rewriteSubject": True}}, "spec.actions.rewriteSubject: True is not a score"),
    ],
)
def test_what_an_older_schema_let_in_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        api.parse(with_spec(**spec))

    assert message in refused.value.message
    assert refused.value.message.startswith(f"{refused.value.field}: ")


@pytest.mark.parametrize("spec", [None, {}, {"antivirus": None}, {"antivirus": {}}])
def test_an_empty_spec_is_a_filter_with_the_shared_signatures(spec: dict[str, Any] | None) -> None:
    parsed = api.parse({**samples.body(), "spec": spec}).spec

    assert parsed == api.Spec()
    assert parsed.antivirus.signatures.source == "Shared"


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("from_", "from"),
        ("config_map_ref", "configMapRef"),
        ("custom_urls", "customURLs"),
        ("mirror_url", "mirrorURL"),
        ("key_bits", "keyBits"),
        ("on_virus", "onVirus"),
    ],
)
def test_field_is_written_in_camel_case_with_url_in_capitals(field: str, name: str) -> None:
    assert api.camel_case(field) == name


def test_what_was_parsed_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        samples.mailfilter().spec.paused = True  # type: ignore[misc]
