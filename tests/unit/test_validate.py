"""What fits one by one and not together; and what several builders need to know."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator.api import Image, Spec
from mailfilter_operator.errors import InvalidReference, InvalidSpec
from mailfilter_operator.references import References
from mailfilter_operator.validate import (
    METRICS_LIMIT,
    compute_image,
    compute_limits,
    database_name,
    validate,
)

MEBIBYTE = 1024 * 1024
DIGEST = "sha256:" + "0" * 64


def custom(*urls: str) -> dict[str, Any]:
    return {"signatures": {"source": "CustomOnly", "customURLs": list(urls)}}


def group(name: str, *symbols: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "symbols": list(symbols)}


SYMBOL = {"name": "OWN", "score": 1}
LONG = [{"name": f"S{index}", "score": "-1234.56", "description": "é" * 256} for index in range(100)]


@pytest.mark.parametrize(
    ("spec", "field", "remedy"),
    [
        pytest.param(
            {"antivirus": custom("http://a.test/x.ndb", "http://b.test/y.ndb", "http://b.test/x.ndb")},
            "spec.antivirus.signatures.customURLs[2]",
            "x.ndb is that of customURLs[0] too",
            id="two databases of one name",
        ),
        pytest.param(
            {"metrics": {"groups": [group("one", SYMBOL), group("two", SYMBOL)]}},
            "spec.metrics.groups[two].symbols[OWN]",
            "leave it in one group",
            id="symbol in two groups",
        ),
        pytest.param(
            {
                "metrics": {
                    "groups": [group(f"g{i}", *({**s, "name": f"{s['name']}_{i}"} for s in LONG)) for i in range(6)]
                }
            },
            "spec.metrics.groups",
            "shorten the descriptions or set fewer symbols",
            id="more metrics than a ConfigMap holds",
        ),
        pytest.param(
            {"pod": {"resources": {"clamd": {"limits": {"memory": "231Mi"}}}}},
            "spec.pod.resources.clamd.limits.memory",
            "CustomOnly and spec.antivirus.maxMessageSize: at least 232Mi; raise it",
            id="message that does not fit clamd",
        ),
        pytest.param(
            {"pod": {"resources": {"rspamd": {"limits": {"memory": "128M"}}}}},
            "spec.pod.resources.rspamd.limits.memory",
            "128M is too little for spec.antivirus.maxMessageSize",
            id="message that does not fit rspamd",
        ),
        pytest.param(
            {"workers": {"proxy": {"timeoutSeconds": 34}}},
            "spec.workers.proxy.timeoutSeconds",
            "set at least 35, or lower maxMessageSize",
            id="time-out that cuts a scan off",
        ),
    ],
)
def test_refused(spec: dict[str, Any], field: str, remedy: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        samples.valid(**spec)

    assert refused.value.field == field
    assert refused.value.reason == "InvalidSpec"
    assert remedy in refused.value.message


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"antivirus": custom("http://a.test/x.ndb", "http://a.test/y.ndb")}, id="two databases"),
        pytest.param({"metrics": {"groups": [group("one", SYMBOL), group("two")]}}, id="symbol in one group"),
        pytest.param({"workers": {"proxy": {"timeoutSeconds": 35}}}, id="time-out that just does"),
        pytest.param({"pod": {"resources": {"clamd": {"limits": {"memory": "232Mi"}}}}}, id="memory that just fits"),
        pytest.param(
            {"pod": {"resources": {"freshclam": {"limits": {"memory": "1Mi"}}}}}, id="freshclam scans nothing"
        ),
    ],
)
def test_accepted(spec: dict[str, Any]) -> None:
    assert samples.valid(**spec).spec == samples.mailfilter(**spec).spec


def test_identity_and_image_are_handed_on() -> None:
    valid = samples.valid()

    assert (valid.name, valid.namespace, valid.uid, valid.generation) == ("mx", "mail", samples.UID, 1)
    assert valid.image == samples.IMAGE


@given(st.lists(st.text(max_size=256), max_size=30))
def test_no_rendered_metrics_file_is_larger_than_was_reckoned_with(descriptions: list[str]) -> None:
    """Per symbol: its name, six bytes for each character of its description, 100 bytes."""
    symbols = [{"name": f"S{i}", "score": "-1234.56", "description": text} for i, text in enumerate(descriptions)]
    valid = samples.valid(metrics={"groups": [group("own", *symbols)]})
    text = samples.render(valid, ()).metrics["local.d/groups.conf"]

    reckoned = sum(len(symbol["name"]) + 6 * len(symbol["description"]) + 100 for symbol in symbols)
    assert len(text.encode()) <= reckoned + 100
    assert METRICS_LIMIT < MEBIBYTE - 50 * 300, "the groups themselves fit beside the symbols"


@given(st.integers(1, 500))
def test_limits_leave_room_for_decoded_parts_and_for_two_attempts(size: int) -> None:
    limits = compute_limits(f"{size}Mi")

    assert limits.max_message == size * MEBIBYTE
    assert limits.max_stream >= limits.max_message
    assert limits.max_scan >= (4 if size > 255 else 8) * limits.max_message
    assert 2**31 - 2 > limits.max_file >= limits.max_scan + 8192, "clamd cuts off without a word at the first of them"
    assert limits.clamd_timeout * 5 >= size
    assert limits.task_timeout > 2 * limits.clamd_timeout


@pytest.mark.parametrize(
    ("image", "default", "reference"),
    [
        (Image(), "registry.test:5000/a/b:1@" + DIGEST, "registry.test:5000/a/b:1@" + DIGEST),
        (Image(), "b", "b"),
        (Image(tag="2"), "registry.test/a/b:1", "registry.test/a/b:2"),
        (Image(tag="2"), "registry.test:5000/a/b", "registry.test:5000/a/b:2"),
        (Image(tag="2"), "registry.test/a/b:1@" + DIGEST, "registry.test/a/b:2"),
        (Image(repository="other.test/b"), "registry.test/a/b:1", "other.test/b:1"),
        (Image(repository="other.test:5000/b"), "registry.test:5000/a/b", "other.test:5000/b"),
        (Image(repository="other.test/b"), "registry.test/a/b@" + DIGEST, "other.test/b@" + DIGEST),
        (Image(digest=DIGEST), "registry.test/a/b:1", "registry.test/a/b@" + DIGEST),
        (Image(tag="2", digest=DIGEST), "registry.test/a/b:1", "registry.test/a/b:2@" + DIGEST),
        (Image(repository="o.test/b", tag="2", digest=DIGEST), "registry.test/a/b:1", "o.test/b:2@" + DIGEST),
    ],
)
def test_image_is_the_default_with_the_parts_of_the_spec(image: Image, default: str, reference: str) -> None:
    spec = Spec(antivirus=samples.mailfilter().spec.antivirus, image=image)

    assert compute_image(spec, default) == reference


@pytest.mark.parametrize(
    ("greylist", "reasons"), [(4, ["GreylistInactive"]), ("1.5", ["GreylistInactive"]), ("Disabled", [])]
)
def test_greylisting_without_redis_is_noted(greylist: Any, reasons: list[str]) -> None:
    notes = samples.valid(actions={"greylist": greylist}).notes

    assert [note.reason for note in notes] == reasons
    assert all("spec.actions.greylist to Disabled" in note.message for note in notes)


@pytest.mark.parametrize(
    ("antivirus", "reasons"),
    [
        ({}, []),
        ({"onFailure": "Accept"}, ["AcceptsUnscanned"]),
        ({"alerts": {"encrypted": "AddHeader"}}, ["AlertsMayBeHidden"]),
        ({"alerts": {"macros": "AddHeader", "limitsExceeded": "Reject"}}, ["AlertsMayBeHidden"]),
        ({"alerts": {"macros": "AddHeader", "limitsExceeded": "AddHeader"}}, []),
        ({"alerts": {"encrypted": "Quarantine", "macros": "Reject"}}, []),
        ({"alerts": {"encrypted": "Reject", "limitsExceeded": "Accept"}}, ["AlertsMayBeHidden"]),
        ({"alerts": {"encrypted": "Reject", "macros": "AddHeader"}}, ["AlertsMayBeHidden"]),
        ({"signatures": {"source": "CustomOnly", "customURLs": ["http://a.test/a.ndb"]}}, ["FindingsOnlyMarked"]),
    ],
    ids=str,
)
def test_what_a_policy_gives_up_is_noted(antivirus: dict[str, Any], reasons: list[str]) -> None:
    signatures = {"signatures": {"source": "Official"}}
    notes = samples.valid(antivirus={**signatures, **antivirus}, actions={"greylist": "Disabled"}).notes

    assert [note.reason for note in notes] == reasons


def test_lists_of_the_spec_and_of_configmaps_are_validated() -> None:
    spec = {"lists": {"deny": {"from": ["A@b.test"], "configMapRef": {"name": "senders"}}}}
    found = References({"senders": {"data": {"from": "c@d.test"}}})
    (rule,) = validate(samples.mailfilter(**spec), samples.IMAGE, found).sender_rules

    assert (rule.symbol, rule.entries) == ("MAILFILTER_DENY_FROM", ("a@b.test", "c@d.test"))
    with pytest.raises(InvalidReference):
        validate(samples.mailfilter(**spec), samples.IMAGE, References())


@pytest.mark.parametrize(
    "raw",
    [
        {"config": {"files": {"local.d/rbl.conf": "enabled = false;"}}},
        {"config": {"secretRefs": [{"name": "own", "key": "text", "path": "local.d/rbl.conf"}]}},
        {"workers": {"controller": {"options": {"timeout": "10s"}}}},
    ],
    ids=["files", "secretRefs", "options"],
)
def test_raw_text_is_tried_beside_what_serves_and_needs_memory_too(raw: dict[str, Any]) -> None:
    resources = {"rspamd": {"limits": {"memory": "500Mi"}}}
    samples.valid(pod={"resources": resources})

    with pytest.raises(InvalidSpec, match=r"rspamd.limits.memory.*worker options: at least 640Mi;"):
        samples.valid(pod={"resources": resources}, **raw)


def test_database_is_called_as_the_end_of_its_address() -> None:
    assert database_name("https://sigs.test/a/b/own.ndb?version=1") == "own.ndb"


@pytest.mark.parametrize(
    ("signatures", "url"),
    [
        ({}, "http://shared.test"),
        ({"source": "Mirror", "mirrorURL": "http://mirror.test"}, "http://mirror.test"),
        ({"source": "Official"}, None),
        ({"source": "CustomOnly", "customURLs": ["http://sigs.test/own.ndb"]}, None),
    ],
)
def test_only_shared_and_mirror_have_an_address_of_signatures(signatures: dict[str, Any], url: str | None) -> None:
    wanted = samples.mailfilter(antivirus={"signatures": signatures})

    assert validate(wanted, samples.IMAGE, None, "http://shared.test").signatures_url == url


def test_password_of_the_proxy_is_not_shown() -> None:
    data = {"url": "http://proxy.test:3128", "username": "filter", "password": "hidden"}
    found = References({}, {"proxy": {"data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}}})
    valid = validate(
        samples.mailfilter(antivirus={"signatures": {"proxySecretRef": {"name": "proxy"}}}), samples.IMAGE, found
    )
    configuration = samples.render(valid, ())

    assert "hidden" in configuration.freshclam["freshclam/proxy.conf"]
    assert "hidden" not in repr(valid) + repr(configuration) + configuration.manifest
