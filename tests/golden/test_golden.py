"""Each case: what the operator makes of one MailFilter, as files to read and to review in a diff.

`mailfilter.yaml` is the resource as the API server returns it, `references.yaml` what it refers to; `objects.yaml` are
the objects in the order in which they are applied, `files/` the files of the pod that differ from those of the case
`minimal`. `pytest --update-golden` writes both anew.
"""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit import samples
from typing_extensions import override

from mailfilter_operator import names
from mailfilter_operator.api import parse
from mailfilter_operator.build import build
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.plan import Plan
from mailfilter_operator.references import References
from mailfilter_operator.validate import validate

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/mailfilter.yaml"))


MINIMAL = Path(__file__).parent / "minimal"


class Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, lists indented, and nothing by reference."""

    @override
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)

    @override
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _represent_text)


def without_private_keys(manifest: dict[str, Any], keys: tuple[DkimKey, ...]) -> dict[str, Any]:
    """The object with words in place of every private key, after a look whether it is the right one."""
    shown = copy.deepcopy(manifest)
    if manifest["metadata"]["labels"][names.LABEL_COMPONENT] == "keyring":
        for key in keys:
            assert base64.b64decode(shown["data"][key.file_name]) == key.private_pem
            shown["data"][key.file_name] = f"<private key of {key.domain}>"
    return shown


def encode(text: str) -> str:
    """A text as a Secret holds it."""
    return base64.b64encode(text.encode()).decode()


def read_references(path: Path) -> References:
    """What a MailFilter refers to; Secrets are written as text there."""
    found: dict[str, dict[str, Any]] = {"ConfigMap": {}, "Secret": {}}
    for manifest in yaml.safe_load_all(path.read_text()) if path.exists() else ():
        data = {key: encode(text) for key, text in manifest.get("stringData", {}).items()}
        found[manifest["kind"]][manifest["metadata"]["name"]] = {"data": data or manifest["data"]}
    return References(found["ConfigMap"], found["Secret"])


def make(case: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Objects and files of a MailFilter; a text that is in files/ is in no object."""
    references = read_references(case / "references.yaml")
    valid = validate(parse(yaml.safe_load((case / "mailfilter.yaml").read_text())), samples.IMAGE, references)
    keys = tuple(samples.dkim_key(domain.name, selector="mf20261123-4f2a") for domain in valid.spec.domains)
    configuration = samples.render(valid, keys, references)
    files = {
        **configuration.metrics,
        **configuration.workers,
        **configuration.modules,
        **configuration.clamav,
        **configuration.files,
        **configuration.credentials,
        **configuration.freshclam,
    }
    objects = [without_private_keys(manifest, keys) for manifest in build(valid, Plan(configuration), keys)]
    for manifest in objects:
        for path in [path for path in files if names.configmap_key(path) in manifest.get("data", {})]:
            text = files[path] if manifest["kind"] == "ConfigMap" else encode(files[path])
            assert manifest["data"][names.configmap_key(path)] == text
            manifest["data"][names.configmap_key(path)] = f"<files/{path}>"
    return objects, files


def stored_files(case: Path) -> dict[str, str]:
    """Files of a case by path; those that it does not have are as in the case `minimal`."""
    root = case / "files"
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def write(case: Path, objects: list[dict[str, Any]], files: dict[str, str]) -> None:
    dumped = yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, width=1000, explicit_start=True)
    (case / "objects.yaml").write_text(dumped)
    same = {} if case == MINIMAL else stored_files(MINIMAL)
    different = {path: text for path, text in files.items() if text != same.get(path)}
    for path in set(stored_files(case)) - set(different):
        (case / "files" / path).unlink()
    for path, text in different.items():
        (case / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (case / "files" / path).write_text(text)


@pytest.mark.parametrize("case", sorted(CASES, key=lambda case: case != MINIMAL), ids=lambda case: case.name)
def test_golden(case: Path, pytestconfig: pytest.Config) -> None:
    objects, files = make(case)
    if pytestconfig.getoption("--update-golden"):
        write(case, objects, files)

    assert objects == list(yaml.load_all((case / "objects.yaml").read_text(), yaml.CSafeLoader))
    assert files == {**stored_files(MINIMAL), **stored_files(case)}


def test_no_private_key_is_stored() -> None:
    """Neither as it is nor as the base64 of its first line."""
    texts = [path.read_text() for path in Path(__file__).parent.glob("*/**/*") if path.is_file()]

    assert len(texts) > len(CASES)
    assert not any("PRIVATE KEY" in text or "LS0tLS1CRUdJTiBQ" in text for text in texts)
