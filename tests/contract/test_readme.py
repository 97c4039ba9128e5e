"""README: its resource is a MailFilter, its tables are those of the code, its commands and settings are real."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.api import parse
from mailfilter_operator.build import build
from mailfilter_operator.passwords import place_of_password
from mailfilter_operator.status import Outcome, compute_conditions
from mailfilter_operator.validate import validate

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
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
    objects = {(item["kind"], item["metadata"]["name"]) for item in build(valid, samples.plan(valid, ()), (), None)}
    listed = {(row[0], row[1]) for row in table("What it makes")}
    key_secret = ("Secret", "mx-dkim-<hash of the domain>-r0")
    assert names.dkim_secret("mx", "example.com", "r0").startswith("mx-dkim-")
    assert listed == objects | {key_secret, *place_of_password(valid)}


def test_the_table_of_conditions_is_complete() -> None:
    listed = {name.strip() for row in table("Conditions") for name in row[0].split(",")}
    assert listed == set(compute_conditions(Outcome(None, None)))


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
