"""The user's own text: taken as it is, but for what a mail's safety hangs on."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
import yaml
from tests.contract.test_crd import CRD, walk
from tests.unit import samples

from mailfilter_operator import names, raw_text
from mailfilter_operator.errors import InvalidReference, InvalidSpec
from mailfilter_operator.raw_text import RawText, find_raw_path, read_raw_text, shorten_error
from mailfilter_operator.references import References

SCHEMA = dict(walk(CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]))


def read(secrets: dict[str, dict[str, str]] | None = None, **spec: Any) -> RawText:
    """Raw text of a spec; *secrets* are texts by name and key."""
    encoded = {
        name: {"data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}}
        for name, data in (secrets or {}).items()
    }
    return read_raw_text(samples.mailfilter(**spec).spec, References(secrets=encoded))


def files(**texts: str) -> dict[str, Any]:
    return {"config": {"files": texts}}


def test_nothing_is_nothing() -> None:
    assert read() == RawText()
    assert read().is_empty


def test_text_is_taken_as_it_is() -> None:
    text = '{{ a }} {% if b %} {= c =} {# d #} "$DBDIR"\r\n\t# no newline at the end'
    found = read(**files(**{"local.d/greylist.conf": text, "maps/own": "", "override.d/rbl.conf": "x"}))

    assert found.public == {"local.d/greylist.conf": text, "maps/own": "", "override.d/rbl.conf": "x"}
    assert not found.is_empty


def test_text_of_secrets_is_kept_apart_and_not_shown() -> None:
    reference = {"name": "own", "key": "arc", "path": "local.d/arc.conf"}
    found = read({"own": {"arc": "hidden"}}, config={"secretRefs": [reference]})

    assert (found.public, found.secret) == ({}, {"local.d/arc.conf": "hidden"})
    assert not found.is_empty
    assert "hidden" not in repr(found)


def test_missing_secret_is_named_with_its_field() -> None:
    reference = {"name": "own", "key": "arc", "path": "local.d/arc.conf"}
    with pytest.raises(InvalidReference, match=r"^spec\.config\.secretRefs\[0\]: there is no Secret own"):
        read(config={"secretRefs": [reference]})


def test_options_become_a_file_that_rspamd_reads_before_the_operators() -> None:
    options = {
        "max_retries": "3",
        "spam_header": "X-Spam",
        "keepalive": "true",
        "reject_message": 'no "$1"',
        "t": "10s",
    }
    found = read(workers={"proxy": {"options": options}, "normal": {"options": {"max_tasks": "100"}}})

    assert found.public == {
        "local.d/worker-normal.inc": "max_tasks = 100;\n",
        "local.d/worker-proxy.inc": (
            'keepalive = true;\nmax_retries = 3;\nreject_message = "no \\"\\u00241\\"";\nspam_header = "X-Spam";\n'
            "t = 10s;\n"
        ),
    }


OWNED = [
    *(f"{directory}/{name}" for directory in ("local.d", "override.d") for name in raw_text.CLOSED),
    *(f"override.d/{name}" for name in raw_text.OWNED_OVERRIDES),
    "maps/mailfilter-allow-from",
]


@pytest.mark.parametrize("path", OWNED)
def test_what_the_operator_owns_is_refused_with_the_reason(path: str) -> None:
    for spec in (files(**{path: ""}), {"config": {"secretRefs": [{"name": "own", "key": "k", "path": path}]}}):
        with pytest.raises(InvalidSpec) as refused:
            read({"own": {"k": "x"}}, **spec)
        assert refused.value.field in (f"spec.config.files[{path}]", "spec.config.secretRefs[0].path")
        assert refused.value.message.partition(": ")[2].startswith(("leave ", "use ", "choose "))


def test_every_file_that_is_rendered_is_owned() -> None:
    """But for those of ClamAV, which have no place below local.d, override.d and maps."""
    senders = {"from": ["a@b.test"], "domains": ["b.test"], "networks": ["192.0.2.1"]}
    configuration = samples.render(samples.valid(lists={"allow": senders, "deny": senders}), ())
    rendered = {*configuration.metrics, *configuration.workers, *configuration.modules, *configuration.credentials}

    assert len(rendered) > 30
    for path in rendered:
        with pytest.raises(InvalidSpec):
            raw_text.refuse_path("x", path)


@pytest.mark.parametrize(
    "path",
    [
        "rspamd.conf.local",
        "local.d/",
        "local.d/../a",
        "local.d/a/b",
        "local.d/.a",
        "local.d/a b",
        "/local.d/a",
        "maps/a/b",
        "clamav/clamd.conf",
        "keys/a.key",
        "local.d/a\n",
        "local.d/maps.d_x",
        "local.d/maps_x",
        "local.d/" + "a" * 102,
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidSpec, match=r"write local\.d/NAME, override\.d/NAME or maps/NAME"):
        read(**files(**{path: ""}))


def test_no_two_paths_have_one_key() -> None:
    """A ConfigMap knows no directories."""
    paths = ["local.d/maps/x", "local.d/maps.d/x", "maps/x", "local.d/x", "override.d/x", "local.d/maps.x"]

    assert list(read(**files(**dict.fromkeys(paths, ""))).public) == sorted(paths)
    assert len({path.replace("/", "_") for path in paths}) == len(paths)


def test_one_path_cannot_be_set_twice() -> None:
    reference = {"name": "own", "key": "k", "path": "maps/own"}
    with pytest.raises(InvalidSpec, match="maps/own is set twice; leave one of the two out"):
        read({"own": {"k": "x"}}, config={"files": {"maps/own": ""}, "secretRefs": [reference]})


def test_as_much_as_fits_is_taken_and_no_more() -> None:
    half = "ä" * (raw_text.LIMIT // 4)
    read(**files(**{"maps/a": half, "maps/b": half}))
    for more in ({"config": {"files": {"maps/a": half, "maps/b": half + "x"}}}, files(a="x" * 900 * 1024)):
        more["config"]["files"] = {f"maps/{path[-1]}": text for path, text in more["config"]["files"].items()}
        with pytest.raises(InvalidSpec, match=r"^spec\.config: .* bytes, more than the 491520 that fit; shorten them"):
            read(**more)
    options = {"proxy": {"options": {"a": "b"}}}
    with pytest.raises(InvalidSpec, match=r"^spec\.config: "):
        read(workers=options, **files(**{"maps/a": half, "maps/b": half}))


@pytest.mark.parametrize(
    ("worker", "name"), [(worker, name) for worker, names in raw_text.OWNED_OPTIONS.items() for name in names]
)
def test_options_of_the_operator_are_refused_with_the_reason(worker: str, name: str) -> None:
    with pytest.raises(
        InvalidSpec, match=rf"^spec\.workers\.{worker}\.options: leave {name} out, it is the operator's: "
    ):
        read(workers={worker: {"options": {name: "1"}}})


@pytest.mark.parametrize("name", ["A", "a-b", "a b", "1a", "", "a;", ".include", "a" * 65])
def test_names_that_no_option_has_are_refused(name: str) -> None:
    with pytest.raises(InvalidSpec, match="write it as rspamd does"):
        read(workers={"proxy": {"options": {name: "1"}}})


@pytest.mark.parametrize("worker", raw_text.OWNED_OPTIONS)
def test_schema_refuses_the_same_options(worker: str) -> None:
    rule = SCHEMA[f"spec.workers.{worker}.options"]["x-kubernetes-validations"][1]

    assert set(yaml.safe_load(rule["rule"].partition(" in ")[2].rstrip(")"))) == set(raw_text.OWNED_OPTIONS[worker])
    assert ", ".join(sorted(raw_text.OWNED_OPTIONS[worker])) in rule["message"]


@pytest.mark.parametrize("field", ["spec.config.files", "spec.config.secretRefs[].path"])
def test_schema_refuses_the_same_paths(field: str) -> None:
    """In alternatives of a regular expression, and by name in the message."""
    rules = [rule for rule in SCHEMA[field]["x-kubernetes-validations"] if "matches" in rule["rule"]]
    closed, overrides = (
        next(rule for rule in rules if rule["message"].startswith(words))
        for words in ("leave out antivirus.conf", "use the file of the same name")
    )

    assert alternatives(closed["rule"]) == set(raw_text.CLOSED)
    assert alternatives(overrides["rule"]) == set(raw_text.OWNED_OVERRIDES)
    assert ", ".join(sorted(raw_text.CLOSED)) in closed["message"]


def alternatives(rule: str) -> set[str]:
    """File names of `(a|b)[.]conf|(c)[.]inc`."""
    groups = re.findall(r"\(([a-z_|-]+)\)\[\.\](conf|inc)", rule)
    return {f"{name}.{suffix}" for names, suffix in groups for name in names.split("|")}


@pytest.mark.parametrize(
    "path",
    [
        "local.d/multimap.conf",
        "override.d/rbl.conf",
        "maps/a_b",
        "local.d/maps/x",
        "local.d/maps.d/x",
        "local.d/a_b.conf",
    ]
    + [f"local.d/worker-{worker}.inc" for worker in ("proxy", "controller", "normal")],
)
def test_a_key_leads_back_to_its_file(path: str) -> None:
    assert find_raw_path(names.configmap_key(path)) == path


@pytest.mark.parametrize(
    "path", ["override.d/worker-controller.inc", "local.d/groups.conf", "maps/mailfilter-allow-from"]
)
def test_a_key_of_a_file_of_the_operator_leads_nowhere(path: str) -> None:
    assert find_raw_path(names.configmap_key(path)) is None


@pytest.mark.parametrize("key", ["unproven", "salt", "candidate.local.d_multimap.conf", "manifest", "local.d_", ""])
def test_what_else_lies_there_is_no_file(key: str) -> None:
    assert find_raw_path(key) is None


TRIAL = f"/run/mailfilter/trials/{64 * 'a'}"
SYNTAX = f"ucl parser error: error while parsing {TRIAL}/local.d/rbl.conf: line: 2, column: 13 - 'x'"
PROBE = "the probe 'EICAR' is not treated as a virus: Action: no action;Symbol: OWN (1.00)[hush]"


def test_an_error_names_files_as_the_spec_does() -> None:
    shown = shorten_error(SYNTAX, RawText({"local.d/rbl.conf": "x"}))

    assert shown == "ucl parser error: error while parsing local.d/rbl.conf: line: 2, column: 13 - 'x'"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (SYNTAX, "local.d/rbl.conf: line: 2, column: 13 ("),
        (PROBE, "the probe 'EICAR' is not treated as a virus ("),
        ("unexpected hush", "rspamd does not accept it ("),
    ],
)
def test_with_text_of_secrets_only_the_place_of_an_error_is_told(error: str, shown: str) -> None:
    found = shorten_error(error, RawText({}, {"local.d/rbl.conf": "hush"}))

    assert found.startswith(shown)
    assert "hush" not in found
