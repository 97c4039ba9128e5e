"""Configuration files: equal input gives equal bytes, and no value leaves the place it was written to."""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.credentials import Secrets
from mailfilter_operator.raw_text import RawText
from mailfilter_operator.render import Configuration, render
from mailfilter_operator.ucl import quote_ucl, write_score

KEYS = (samples.dkim_key("example.com"), samples.dkim_key("example.org"))
OTHER = samples.dkim_key("example.com", seed="example.org")
SPECS: dict[str, dict[str, Any]] = {
    "smallest": {},
    "mirror": {"antivirus": {"signatures": {"source": "Mirror", "mirrorURL": "http://mirror.test/db"}}},
    "official": {"antivirus": {"signatures": {"source": "Official"}}},
    "policies": {"antivirus": {"signatures": {"source": "Official"}, "onVirus": "Discard"}},
    "headers": {"headers": ["SpamStatus"]},
    "lists": {"lists": {"deny": {"from": ["a@b.test"]}}},
    "controller": {"workers": {"controller": {"secureNetworks": ["192.0.2.1"]}}},
    "normal": {"workers": {"normal": {"enabled": True, "count": 3}}},
    "options": {"workers": {"proxy": {"options": {"max_retries": "3"}}}},
    "own text": {"config": {"files": {"maps/own": "192.0.2.1"}}},
    "scores": {"actions": {"addHeader": "4.5", "rewriteSubject": 8}, "logging": {"level": "Debug"}},
}


def files(configuration: Configuration) -> dict[str, str]:
    return {
        **configuration.metrics,
        **configuration.workers,
        **configuration.modules,
        **configuration.clamav,
        **configuration.files,
    }


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_equal_input_gives_equal_bytes(spec: dict[str, Any]) -> None:
    assert samples.render(samples.valid(**spec), KEYS) == samples.render(samples.valid(**spec), KEYS)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_manifest_lists_exactly_the_files_with_their_hashes(spec: dict[str, Any]) -> None:
    configuration = samples.render(samples.valid(**spec), KEYS)
    lines = [line.split("  ") for line in configuration.manifest.splitlines()]
    expected = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in files(configuration).items()}
    expected |= {
        path: "salted:" + hashlib.sha256((samples.SALT + text).encode()).hexdigest()
        for path, text in configuration.credentials.items()
    }
    expected |= {f"keys/{key.file_name}": hashlib.sha256(key.private_pem).hexdigest() for key in KEYS}

    assert {path: digest for digest, _, path in lines} == expected
    assert [path for *_, path in lines] == sorted(expected)
    assert all(key == path.removeprefix("keys/").replace("/", "_") for _, key, path in lines)
    assert (
        len({key for _, key, _ in lines} | {names.MANIFEST_KEY, names.WANTED_HASH_FILE, names.SALT_KEY})
        == len(lines) + 3
    )


def test_configuration_is_named_by_its_manifest() -> None:
    configuration = samples.render(samples.valid(), KEYS)

    assert configuration.hash == hashlib.sha256(configuration.manifest.encode()).hexdigest()
    assert configuration.manifest.endswith("\n")


def test_every_change_of_a_file_or_a_key_gives_another_configuration() -> None:
    configurations = [samples.render(samples.valid(**spec), KEYS) for spec in SPECS.values()]
    configurations += [samples.render(samples.valid(), keys) for keys in ((), KEYS[:1], (OTHER,))]

    assert len({configuration.hash for configuration in configurations}) == len(configurations)


def test_every_text_ends_with_a_newline() -> None:
    configuration = samples.render(samples.valid(lists={"deny": {"from": ["a@b.test"]}}), KEYS)
    texts = {**files(configuration), **configuration.credentials}

    assert [path for path, text in texts.items() if not text.endswith("\n")] == []


def test_no_private_key_is_in_a_file() -> None:
    configuration = samples.render(samples.valid(), KEYS)

    assert "PRIVATE" not in repr(configuration) + configuration.manifest


def with_secret_file(text: str, salt: str = samples.SALT) -> Configuration:
    raw = RawText({"local.d/greylist.conf": "a = 1;"}, {"maps/own": text})
    return render(samples.valid(), KEYS, Secrets(salt, samples.SECRETS.password_hash), raw)


def test_nothing_secret_is_shown() -> None:
    """A plain hash in the manifest, which is in a ConfigMap, would let a short text be guessed."""
    configuration = with_secret_file("hidden")
    shown = repr(configuration) + configuration.manifest

    assert configuration.credentials["maps/own"] == "hidden"
    assert not [
        word
        for word in ("hidden", samples.SALT, samples.SECRETS.password_hash, hashlib.sha256(b"hidden").hexdigest())
        if word in shown
    ]
    assert hashlib.sha256(f"{samples.SALT}hidden".encode()).hexdigest() in configuration.manifest


def test_other_secrets_and_another_salt_give_another_configuration() -> None:
    assert len({with_secret_file("a").hash, with_secret_file("b").hash, with_secret_file("a", "a5" * 32).hash}) == 3


def test_text_of_the_user_is_named_as_such() -> None:
    assert with_secret_file("a").raw == RawText({"local.d/greylist.conf": "a = 1;"}, {"maps/own": "a"})
    assert samples.render(samples.valid(), KEYS).raw.is_empty


@pytest.mark.parametrize(
    ("headers", "rewrite", "line"),
    [
        (["AuthenticationResults"], "Disabled", 'use = ["authentication-results"];'),
        ([], "Disabled", "use = [];"),
        (["SpamStatus", "SpamLevel"], "Disabled", 'use = ["x-spam-status", "x-spam-level"];'),
        (["SpamdResult", "SpamdBar"], 8, 'use = ["x-spamd-result", "x-spamd-bar", "marked-subject"];'),
    ],
)
def test_headers_are_those_of_the_spec(headers: list[str], rewrite: Any, line: str) -> None:
    assert line in module("milter_headers.conf", headers=headers, actions={"rewriteSubject": rewrite}).splitlines()


def test_lists_are_rules_without_an_action_and_maps() -> None:
    configuration = samples.render(samples.valid(lists={"allow": {"from": ["B@a.test", "a@a.test"]}}), ())
    rules = configuration.modules["override.d/multimap.conf"]

    assert 'map = "$LOCAL_CONFDIR/maps/mailfilter-allow-from";' in rules
    assert "score = -20;" in rules
    assert not re.search(r"action|prefilter", rules)
    assert configuration.modules["maps/mailfilter-allow-from"] == "a@a.test\nb@a.test\n"


def test_controller_asks_all_but_the_trusted_for_the_password() -> None:
    spec = {"workers": {"controller": {"count": 2, "secureNetworks": ["192.0.2.0/24"]}}}
    text = samples.render(samples.valid(**spec), ()).credentials["override.d/worker-controller.inc"]
    hashed = quote_ucl(samples.SECRETS.password_hash)

    assert {
        'bind_socket = "*:11334";',
        "count = 2;",
        f"password = {hashed};",
        f"enable_password = {hashed};",
        'secure_ip = ["127.0.0.1", "::1", "192.0.2.0/24"];',
        "allow_file_and_shm_inputs = false;",
    } <= set(text.splitlines())


def test_normal_worker_runs_only_if_asked_for() -> None:
    def normal(**options: Any) -> set[str]:
        configuration = samples.render(samples.valid(workers={"normal": options}), ())
        return set(configuration.workers["override.d/worker-normal.inc"].splitlines())

    assert {'bind_socket = "127.0.0.1:11333";', "enabled = false;"} <= normal()
    assert {'bind_socket = "*:11333";', "enabled = true;", "count = 3;"} <= normal(enabled=True, count=3)
    assert "allow_file_and_shm_inputs = false;" in normal(enabled=True)


def module(name: str, keys: tuple[Any, ...] = KEYS, **spec: Any) -> str:
    return samples.render(samples.valid(**spec), keys).modules[f"override.d/{name}"]


def test_every_key_signs_for_its_domain() -> None:
    text = module("mailfilter.conf", (*KEYS, OTHER))

    first, last, other = (
        f'{{ selector = "mf1"; path = "$LOCAL_CONFDIR/keys/{key.file_name}"; }}' for key in (*KEYS, OTHER)
    )
    assert f'  domain {{\n    "example.com" = [{first}, {other}];\n    "example.org" = [{last}];\n  }}\n' in text


def test_without_keys_nothing_signs() -> None:
    assert "  domain {\n  }\n" in module("mailfilter.conf", ())


def test_the_module_that_lets_unsigned_mail_pass_does_not_sign() -> None:
    assert "enabled = false;" in module("dkim_signing.conf").splitlines()


@pytest.mark.parametrize(
    ("sign", "line"),
    [
        ({}, "authenticated = true;"),
        ({"authenticated": False}, "authenticated = false;"),
        ({}, "local = true;"),
        ({"local": False}, "local = false;"),
        ({}, "networks = [];"),
        ({"networks": ["192.0.2.0/24", "2001:db8::1"]}, 'networks = ["192.0.2.0/24", "2001:db8::1"];'),
        ({}, "any_username = false;"),
        ({"usernames": "Any"}, "any_username = true;"),
        ({}, 'envelope_mismatch = "Networks";'),
        ({"envelopeMismatch": "Never"}, 'envelope_mismatch = "Never";'),
        ({"envelopeMismatch": "Always"}, 'envelope_mismatch = "Always";'),
        ({}, "subdomains = false;"),
        ({"subdomains": True}, "subdomains = true;"),
    ],
)
def test_sign_says_which_mail_is_signed(sign: dict[str, Any], line: str) -> None:
    assert f"  {line}" in module("mailfilter.conf", dkim={"sign": sign}).splitlines()


@pytest.mark.parametrize("level", ["Error", "Warning", "Notice", "Info", "Debug"])
def test_log_level_is_that_of_the_spec(level: str) -> None:
    configuration = samples.render(samples.valid(logging={"level": level}), ())

    assert f'level = "{level.lower()}";' in configuration.modules["override.d/logging.inc"]
    assert configuration.clamav == samples.render(samples.valid(), ()).clamav, "clamd would have to be restarted"


@pytest.mark.parametrize(
    ("actions", "lines"),
    [
        ({}, {"reject = 15;", "rewrite_subject = null;", "add_header = 6;", "greylist = null;"}),
        ({"greylist": "3.5"}, {"greylist = null;"}),
        ({"addHeader": "Disabled", "reject": "Disabled"}, {"reject = null;", "add_header = null;"}),
        (
            {"addHeader": "4.50", "rewriteSubject": 8, "reject": 100},
            {"reject = 100;", "rewrite_subject = 8;", "add_header = 4.5;"},
        ),
    ],
)
def test_actions_have_the_scores_of_the_spec(actions: dict[str, Any], lines: set[str]) -> None:
    assert lines <= set(
        samples.render(samples.valid(actions=actions), ()).metrics["override.d/actions.conf"].splitlines()
    )


def with_policies(**antivirus: Any) -> Configuration:
    return samples.render(samples.valid(antivirus={"signatures": {"source": "Official"}, **antivirus}), ())


def test_a_policy_that_accepts_has_no_rule_and_each_other_has_one() -> None:
    strict = with_policies(alerts={"encrypted": "Reject", "macros": "AddHeader"})
    lax = with_policies(onFailure="Accept", alerts={"limitsExceeded": "Accept"})

    def symbols(configuration: Configuration) -> list[str]:
        return re.findall(r'expression = "(\w+)"', configuration.modules["override.d/force_actions.conf"])

    found = ["CLAM_VIRUS", "CLAM_VIRUS_UNOFFICIAL"]
    others = ["CLAM_VIRUS_FAIL", "CLAM_VIRUS_LIMITS", "CLAM_VIRUS_ENCRYPTED", "CLAM_VIRUS_MACRO"]
    assert symbols(strict) == [*found, *others]
    assert symbols(lax) == found


def test_the_last_rule_knows_the_policies() -> None:
    text = with_policies(onVirus="Quarantine", alerts={"macros": "Reject"}).modules["override.d/mailfilter.conf"]

    assert {'  virus = "Quarantine";', '  unofficial = "AddHeader";', '  macros = "Reject";'} <= set(text.splitlines())


@pytest.mark.parametrize(
    ("policy", "action"),
    [("Reject", "reject"), ("Quarantine", "quarantine"), ("AddHeader", "add header"), ("Discard", "discard")],
)
def test_who_proves_a_configuration_expects_what_the_policy_says(policy: str, action: str) -> None:
    found = with_policies(onVirus=policy, onUnofficial="Reject").expected.splitlines()
    assert {f"virus {action}", "unofficial reject"} <= set(found)


def test_clamd_looks_only_for_what_has_a_policy() -> None:
    """What it tells of could hide that a limit was exceeded: it tells one finding."""

    def options(**alerts: str) -> set[str]:
        text = with_policies(alerts=alerts).clamav["clamav/clamd.conf"]
        return {line for line in text.splitlines() if line.startswith("Alert")}

    assert options() == {"AlertExceedsMax yes", "AlertEncrypted no", "AlertOLE2Macros no"}
    assert options(encrypted="AddHeader") == {"AlertExceedsMax yes", "AlertEncrypted yes", "AlertOLE2Macros no"}
    assert options(macros="TempFail") == {"AlertExceedsMax yes", "AlertEncrypted no", "AlertOLE2Macros yes"}


def test_other_policies_leave_clamd_alone() -> None:
    other = with_policies(onVirus="Discard", onFailure="Accept", alerts={"limitsExceeded": "Reject"})

    assert other.clamav == with_policies().clamav


@given(st.integers(1, 500))
def test_rspamd_outwaits_two_attempts_to_reach_clamd_which_takes_the_whole_message(size: int) -> None:
    configuration = samples.render(samples.valid(**samples.scanning(size)), ())
    clamd = dict(
        line.split(" ", 1) for line in configuration.clamav["clamav/clamd.conf"].splitlines() if line[0] != "#"
    )
    options, scanner = (
        configuration.modules["override.d/options.inc"],
        configuration.modules["override.d/antivirus.conf"],
    )

    def number(pattern: str, text: str) -> int:
        match = re.search(pattern, text)
        assert match
        return int(match[1])

    attempts = 1 + number(r"retransmits = (\d+);", scanner)
    assert number(r"task_timeout = (\d+)s;", options) > attempts * number(r"timeout = (\d+)s;", scanner)
    assert int(clamd["ReadTimeout"]) >= number(r"timeout = (\d+)s;", scanner)
    # What takes longer is told by clamd, and so no failure of it.
    assert 0 < int(clamd["MaxScanTime"]) < 1000 * number(r"timeout = (\d+)s;", scanner)
    assert int(clamd["StreamMaxLength"]) >= number(r"max_message = (\d+);", options) == size * 1024 * 1024
    assert int(clamd["MaxFileSize"]) > int(clamd["MaxScanSize"]) >= int(clamd["StreamMaxLength"])


@given(st.text())
def test_quoted_text_is_a_json_string_without_marks_of_rspamd_and_ucl(text: str) -> None:
    quoted = quote_ucl(text)

    assert not set("{}\n\r") & set(quoted)
    assert re.search(r"(?<!\$)(\$\$)*\$(?!\$)", quoted) is None
    assert json.loads(quoted.replace("$$", "$")) == text


@given(st.lists(st.text()).map(tuple))
def test_quoted_list_is_a_json_list(texts: tuple[str, ...]) -> None:
    assert tuple(json.loads(quote_ucl(texts).replace("$$", "$"))) == texts


@pytest.mark.parametrize(("value", "quoted"), [(True, "true"), (False, "false"), ((), "[]"), (7, '"7"')])
def test_quoted_scalars(value: Any, quoted: str) -> None:
    assert quote_ucl(value) == quoted


@given(st.decimals(-9999, 9999, places=2))
def test_score_is_written_as_a_plain_decimal(score: Decimal) -> None:
    assert re.fullmatch(r"-?[0-9]{1,4}(\.[0-9]{1,2})?", write_score(score))
    assert Decimal(write_score(score)) == score


@pytest.mark.parametrize(("score", "text"), [("Disabled", "null"), (Decimal(1000), "1000"), (Decimal("-0.50"), "-0.5")])
def test_score_of_an_action(score: Decimal | str, text: str) -> None:
    assert write_score(score) == text


SYMBOL = st.fixed_dictionaries(
    {"name": st.text("AZ_09-", min_size=1, max_size=9), "score": st.sampled_from([1, "-2.5"])},
    optional={"description": st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=40)},
)


@given(st.lists(SYMBOL, unique_by=lambda symbol: str(symbol["name"])))
def test_every_symbol_is_one_object_of_its_group_whatever_describes_it(symbols: list[dict[str, Any]]) -> None:
    spec = {"groups": [{"name": "own", "maxScore": 9, "symbols": symbols}]}
    text = samples.render(samples.valid(metrics=spec), ()).metrics["local.d/groups.conf"]
    symbol_object = re.compile(
        r'^    ("[^"]*") {\n      weight = (\S+);\n(?:      description = (.*);\n)?    }$', re.MULTILINE
    )
    found = symbol_object.findall(text)

    assert [json.loads(name) for name, _, _ in found] == [symbol["name"] for symbol in symbols]
    assert [weight for _, weight, _ in found] == [str(symbol["score"]) for symbol in symbols]
    assert [json.loads(quoted.replace("$$", "$")) if quoted else None for *_, quoted in found] == [
        symbol.get("description") for symbol in symbols
    ]
    assert text.count("{") == text.count("}") == 2 + len(symbols)


@pytest.mark.parametrize(
    ("sign", "probe"),
    [
        ({}, "signed probe@example.com probe@example.com 192.0.2.1"),
        ({"authenticated": False, "networks": ["198.51.100.0/24"]}, "signed probe@example.com - 198.51.100.0"),
        ({"authenticated": False, "networks": ["2001:db8::/32"]}, "signed probe@example.com - 2001:db8::"),
        ({"authenticated": False}, "signed probe@example.com - 127.0.0.1"),
        ({"authenticated": False, "local": False}, None),
    ],
    ids=str,
)
def test_raw_text_is_proven_with_a_mail_of_a_kind_that_is_signed(sign: dict[str, Any], probe: str | None) -> None:
    valid = samples.valid(dkim={"sign": sign})
    text = samples.render(valid, KEYS).modules["probes/expected"]

    other = probe and probe.replace("example.com", "example.org")
    assert text.splitlines() == ["virus reject", "unofficial reject", "gtube", *([probe, other] if probe else [])]


def test_gtube_need_not_be_refused_where_nothing_is() -> None:
    text = samples.render(samples.valid(actions={"reject": "Disabled"}), ()).modules["probes/expected"]

    assert text == "virus reject\nunofficial reject\n"
