"""README: its resource is a MailFilter, its tables are those of the code, its commands and settings are real."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import pairwise
from pathlib import Path

import yaml
from tests.unit import samples

from mailfilter_operator import events, names
from mailfilter_operator.api import parse
from mailfilter_operator.build import build
from mailfilter_operator.dkim import keys
from mailfilter_operator.dkim.states import HAPPENINGS, TRANSITIONS
from mailfilter_operator.passwords import place_of_password
from mailfilter_operator.status import Outcome, compute_conditions
from mailfilter_operator.validate import validate

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CRD = yaml.safe_load((ROOT / "crds" / f"{names.PLURAL}.{names.GROUP}.yaml").read_text())
POSTFIX = (ROOT / "tests" / "mail" / "image" / "main.cf").read_text()


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table in a section, cells without back-ticks."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in row] for row in rows[2:]]


def test_the_resource_can_be_built_and_the_table_of_objects_is_complete() -> None:
    (text,) = blocks("yaml")
    body = yaml.safe_load(text)
    body["metadata"] |= {"uid": "1", "generation": 1}
    valid = validate(parse(body), "localhost/mailfilter:0.1.0")
    objects = {(item["kind"], item["metadata"]["name"]) for item in build(valid, samples.plan(valid, ()), ())}
    listed = {(row[0], row[1]) for row in table("What it makes")}
    key_secret = ("Secret", "mx-dkim-<hash of the domain>-r0")
    assert names.dkim_secret("mx", "example.com", "r0").startswith("mx-dkim-")
    assert listed == objects | {key_secret, *place_of_password(valid)}


def test_the_table_of_conditions_is_complete() -> None:
    listed = {name.strip() for row in table("Conditions") for name in row[0].split(",")}
    assert listed == set(compute_conditions(Outcome(None, None)))


def meanings() -> dict[str, str]:
    """What the text after each state in dkim/keys.py says of it."""
    body = ast.parse(inspect.getsource(keys)).body
    return {
        before.value.value: inspect.cleandoc(after.value.value)
        for before, after in pairwise(body)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.value, ast.Constant)
        and isinstance(before.value.value, str)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }


def build_table_of_states() -> str:
    """The table of README, made of what the code says."""
    rows = ["| state of a key | what it means | what comes next |", "|---|---|---|"]
    for state in (None, *keys.STATES):
        after: dict[str, list[str]] = {}
        for (before, happening), following in TRANSITIONS.items():
            if before == state:
                after.setdefault(f"`{following}`" if following else "deleted", []).append(HAPPENINGS[happening])
        changes = "; ".join(f"{name}: {', or '.join(causes)}" for name, causes in after.items())
        rows.append(f"| `{state}` | {meanings()[state]} | {changes} |" if state else f"| | no key | {changes} |")
    return "".join(f"{row}\n" for row in rows)


def test_the_table_of_the_states_of_keys_is_that_of_the_code() -> None:
    assert set(meanings()) >= set(keys.STATES)
    made = build_table_of_states()
    assert made in README, f"put this table into README.md:\n{made}"


def test_the_table_of_events_is_complete() -> None:
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(events))) if isinstance(node, ast.Call)]
    made = [call.args[1] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Event"]
    reasons = {reason.value for reason in made if isinstance(reason, ast.Constant)}
    assert "KeyCreated" in reasons
    assert {row[0] for row in table("Events")} == reasons


def test_the_columns_are_named() -> None:
    columns = CRD["spec"]["versions"][0]["additionalPrinterColumns"]
    (shown,) = re.findall(r"shows the columns (.*?)\n", README)
    always, wide = re.sub(r" \(.*?\)", "", shown).split(";")
    for words, kind in ((always, 0), (wide, 1)):
        expected = [column["name"] for column in columns if column.get("priority", 0) == kind]
        assert re.findall(r"\b[A-Z][A-Za-z]+", words) == expected


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make (?:-s )?([a-z-]+)", README)) | set(re.findall(r"make -s ([a-z-]+)", README))
    assert {"demo", "test", "down"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


def test_the_mta_is_tested_with_the_settings_that_readers_are_told() -> None:
    (settings,) = blocks("ini")
    for line in settings.splitlines():
        assert line in POSTFIX.splitlines(), line


def test_paths_in_the_text_exist() -> None:
    for path in re.findall(r"`((?:manifests|tests|operator|crds)/[^` ]*)`", README):
        assert (ROOT / path).exists(), path
