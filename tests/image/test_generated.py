"""Whatever the schema allows is a good configuration: the real programs take it, and rspamd reads each value of it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from tests.contract.test_upstream import write
from tests.image.generated import MARK, SPECS
from tests.image.rootfs import run_in_rootfs
from tests.unit import samples

from mailfilter_operator import render
from mailfilter_operator.api import SecretFile, SecretKeyReference, Spec, Texts, parse
from mailfilter_operator.errors import InvalidSpec
from mailfilter_operator.policies import UNOFFICIAL_NAMES, list_policies
from mailfilter_operator.raw_text import read_raw_text
from mailfilter_operator.references import References, find_configmap_names
from mailfilter_operator.validate import ValidMailFilter, validate

COUNT = 200
JUDGE = Path(__file__).with_name("judge-configurations")
IN_SECRETS = 600_000
ENTRIES = {"from": "listed@example.net\n", "domains": "# none\n", "networks": "198.51.100.0/24\n"}

Judged = tuple[ValidMailFilter, render.Configuration, str, str]
"""A valid spec, its files, the complaints of the programs, and what rspamd has read."""

Section = Any
"""A part of rspamd's configuration as it prints it."""


def find_references(spec: Spec) -> References:
    """All that a spec refers to; each value of a Secret is a file with a number, which does as a password too."""
    secrets: dict[str, dict[str, dict[str, str]]] = {}
    own = spec.workers.controller.password_secret_ref
    references: list[SecretFile | SecretKeyReference] = [*spec.config.secret_refs, *([own] if own else [])]
    for index, reference in enumerate(references):
        value = base64.b64encode(MARK.format(IN_SECRETS + index).encode()).decode()
        secrets.setdefault(reference.name, {"data": {}})["data"][reference.key] = value
    return References({name: {"data": ENTRIES} for name in find_configmap_names(spec)}, secrets)


def draw_specs() -> list[dict[str, Any]]:
    """Specs that pass validation: the fullest of many. They follow from the code, not from chance."""
    drawn: dict[str, dict[str, Any]] = {}

    @settings(
        max_examples=4 * COUNT,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(SPECS)
    def collect(spec: dict[str, Any]) -> None:
        try:
            prepare(spec)
        except InvalidSpec:
            assume(condition=False)
        drawn[json.dumps(spec)] = spec

    collect()
    return [drawn[text] for text in sorted(drawn, key=len, reverse=True)[:COUNT]]


def prepare(spec: dict[str, Any]) -> tuple[ValidMailFilter, render.Configuration]:
    """What is rendered for a spec. Raises InvalidSpec."""
    mailfilter = parse(samples.body(**{"domains": [], **spec}))
    references = find_references(mailfilter.spec)
    valid = validate(mailfilter, samples.IMAGE, references)
    keys = tuple(samples.dkim_key(domain.name, seed="generated") for domain in valid.spec.domains)
    raw = read_raw_text(valid.spec, references)
    return valid, render.render(valid, keys, samples.SECRETS, raw)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    """Let the programs judge what is drawn, all in one go: each takes a third of a second to start."""
    here, out = tmp_path_factory.mktemp("generated"), tmp_path_factory.mktemp("judged")
    out.chmod(0o777)
    prepared = [prepare(spec) for spec in draw_specs()]
    for number, (_, configuration) in enumerate(prepared):
        (here / str(number)).mkdir()
        write(configuration, here / str(number))
    here.chmod(0o755)
    binds = {here: "/conf", out: "/out", JUDGE: "/usr/bin/judge"}
    run_in_rootfs(["sh", "-c", "ls -d /conf/* | xargs -P 2 -n 25 judge /out"], binds, timeout=1800)
    return [
        (*made, (out / f"{number}.errors").read_text(), (out / f"{number}.json").read_text())
        for number, made in enumerate(prepared)
    ]


def test_enough_is_drawn(judged: list[Judged]) -> None:
    """And every branch of the schema is in some of it."""
    specs = [valid.spec for valid, *_ in judged]

    assert len(judged) == COUNT
    for seldom in (
        lambda spec: spec.config.files,
        lambda spec: spec.config.secret_refs,
        lambda spec: spec.lists.deny.config_map_ref,
        lambda spec: spec.workers.controller.password_secret_ref,
        lambda spec: spec.workers.normal.enabled and spec.workers.normal.options,
        lambda spec: any(group.symbols for group in spec.metrics.groups),
        lambda spec: spec.actions.reject == "Disabled",
        lambda spec: spec.antivirus.signatures.source == "Mirror",
        lambda spec: spec.antivirus.on_virus == "Quarantine",
        lambda spec: spec.antivirus.on_unofficial == "Discard",
        lambda spec: spec.antivirus.on_failure == "Accept",
        lambda spec: spec.antivirus.alerts.encrypted == "Quarantine",
        lambda spec: spec.antivirus.alerts.macros == "Reject",
    ):
        assert any(seldom(spec) for spec in specs)


def test_the_programs_accept_it(judged: list[Judged]) -> None:
    assert [(valid.spec, errors) for valid, _, errors, _ in judged if errors] == []


def test_rspamd_reads_each_value(judged: list[Judged]) -> None:
    for valid, configuration, _, printed in judged:
        read = json.loads(re.split(r"^(?={$)", printed, maxsplit=1, flags=re.MULTILINE)[-1])
        workers = {name: worker for section in read["worker"] for name, worker in section.items()}
        compared = [
            *compare_scores(valid, read),
            *compare_workers(valid, workers),
            *compare_signing(valid, read["mailfilter"]["signing"]),
            *compare_policies(valid, read),
            ("level", read["logging"]["level"], valid.spec.logging.level.lower()),
            ("task_timeout", read["options"]["task_timeout"], valid.limits.task_timeout),
            ("max_message", read["options"]["max_message"], valid.limits.max_message),
        ]
        assert [(name, found, wanted) for name, found, wanted in compared if found != wanted] == [], valid.spec
        own = {**configuration.files, **configuration.credentials}
        marks = {path: re.findall(r"probe_([0-9]+)", text) for path, text in own.items() if "maps" not in path}
        assert [path for path, mark in marks.items() if mark and f'"probe_{mark[0]}": {mark[0]}' not in printed] == []


Compared = Iterator[tuple[str, Any, Any]]
"""Name, what rspamd has read, what the spec says."""


def number(score: Decimal | str) -> float | None:
    return None if score == "Disabled" else float(score)


def compare_scores(valid: ValidMailFilter, read: Section) -> Compared:
    actions = valid.spec.actions
    yield "reject", read["actions"]["reject"], number(actions.reject)
    yield "add_header", read["actions"]["add_header"], number(actions.add_header)
    yield "rewrite_subject", read["actions"]["rewrite_subject"], number(actions.rewrite_subject)
    yield "greylist", read["actions"]["greylist"], None
    wanted = [render.HEADERS[header] for header in valid.spec.headers]
    yield "headers", [name for name in read["milter_headers"]["use"] if name != "marked-subject"], wanted
    for group in valid.spec.metrics.groups:
        sections = [section[group.name] for section in read["group"] if group.name in section]
        yield (
            group.name,
            group.max_score is None
            or [section["max_score"] for section in sections if "max_score" in section][-1:]
            == [float(group.max_score)],
            True,
        )
        symbols = {name: symbol for section in sections for name, symbol in section.get("symbols", {}).items()}
        for symbol in group.symbols:
            yield symbol.name, symbols[symbol.name]["weight"], float(symbol.score)
            if symbol.description is not None:
                yield symbol.name, symbols[symbol.name]["description"], symbol.description
    for rule in valid.sender_rules:
        yield rule.symbol, read["multimap"][rule.symbol]["score"], rule.score
        yield rule.symbol, read["multimap"][rule.symbol]["map"].endswith(f"/{rule.path}"), True


def compare_workers(valid: ValidMailFilter, read: Section) -> Compared:
    workers = valid.spec.workers
    yield "proxy", read["rspamd_proxy"]["count"], workers.proxy.count
    yield "proxy", read["rspamd_proxy"]["timeout"], workers.proxy.timeout_seconds
    yield "controller", read["controller"]["count"], workers.controller.count
    yield "controller", read["controller"]["secure_ip"], ["127.0.0.1", "::1", *workers.controller.secure_networks]
    yield "controller", read["controller"]["password"], samples.SECRETS.password_hash
    yield "controller", read["controller"]["enable_password"], samples.SECRETS.password_hash
    yield "normal", read["normal"]["enabled"], workers.normal.enabled
    if workers.normal.enabled:
        yield "normal", read["normal"]["count"], workers.normal.count
    named: list[tuple[str, Texts]] = [
        ("rspamd_proxy", workers.proxy.options),
        ("controller", workers.controller.options),
        ("normal", workers.normal.options),
    ]
    for section, options in named:
        for name, text in options:
            yield f"{section}.{name}", read[section][name], option(text)


def option(text: str) -> Any:
    """What rspamd makes of an option: numbers, times and sizes as numbers, booleans, all else as text."""
    if text in ("true", "false"):
        return text == "true"
    units = {"": 1, "s": 1, "min": 60, "h": 3600, "mb": 1024 * 1024}
    found = re.fullmatch(r"(-?[0-9]+(?:\.[0-9]+)?)(|s|min|h|mb)", text, re.ASCII)
    return float(found[1]) * units[found[2]] if found else text


def compare_policies(valid: ValidMailFilter, read: Section) -> Compared:
    rules = {rule["expression"]: rule["action"] for rule in read["force_actions"]["rules"].values()}
    for policy in list_policies(valid.spec.antivirus):
        yield policy.symbol, rules.get(policy.symbol), policy.action
        yield policy.name, read["mailfilter"]["antivirus"][policy.name], policy.policy
    yield "patterns", read["antivirus"]["clamav"]["patterns"], {"CLAM_VIRUS_UNOFFICIAL": UNOFFICIAL_NAMES}


def compare_signing(valid: ValidMailFilter, read: Section) -> Compared:
    sign = valid.spec.dkim.sign
    yield "authenticated", read["authenticated"], sign.authenticated
    yield "local", read["local"], sign.local
    yield "networks", read["networks"], list(sign.networks)
    yield "usernames", read["any_username"], sign.usernames == "Any"
    yield "envelopeMismatch", read["envelope_mismatch"], sign.envelope_mismatch
    yield "subdomains", read["subdomains"], sign.subdomains
    yield "domains", set(read["domain"]), {domain.name for domain in valid.spec.domains}
