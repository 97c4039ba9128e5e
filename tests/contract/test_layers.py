"""Who may import whom, and how large anything may be."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "operator" / "mailfilter_operator"
MODULE_LINES, FUNCTION_LINES, TEMPLATE_LINES = 400, 50, 120
FEWEST_MODULES = 60
"""What is looked at is at least this: a search that finds nothing finds nothing wrong."""

VIOLATIONS = {
    "shell above core above leaves": ("names.py", "from mailfilter_operator import api"),
    "the core does no I/O and knows no clock, entropy, environment or log": ("status.py", "import time"),
    "kopf only where events come in": ("workqueue.py", "import kopf"),
    "the Kubernetes client only in cluster": ("observe.py", "from kubernetes import client"),
    "jinja2 only in render": ("build/configmaps.py", "import jinja2"),
    "cryptography only in dkim, keygen and probe_signing": ("validate.py", "from cryptography import x509"),
    "dkimpy only in probe_signing": ("ask_pods.py", "import dkim"),
    "dnspython only in ask_dns": ("dkim/published.py", "import dns.name"),
    "builders do not know each other": ("build/services.py", "from mailfilter_operator.build import secrets"),
}


def python_files() -> Iterator[Path]:
    """Modules, and scripts without a suffix that name Python in their first line."""
    for directory in ("operator", "tests", "image"):
        for path in sorted((CHECKOUT / directory).rglob("*")):
            if path.suffix == ".py" or (path.is_file() and not path.suffix and _is_python_script(path)):
                yield path


def _is_python_script(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(200)
    return first.startswith(b"#!") and b"python" in first


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and lines of every function, decorators left out."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(CHECKOUT)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def lint_imports(package_directory: Path) -> tuple[int, str]:
    """Exit status of import-linter and what it prints, with the package taken from *package_directory*."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        env={"PYTHONPATH": str(package_directory), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_modules_import_only_what_is_below_them() -> None:
    status, printed = lint_imports(PACKAGE.parent)

    assert status == 0, printed
    assert all(f"{contract} KEPT" in printed for contract in VIOLATIONS), printed


def test_every_contract_is_tried() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]

    assert {contract["name"] for contract in settings["contracts"]} == set(VIOLATIONS)


def test_every_contract_finds_an_import_that_breaks_it(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name)
    for module, statement in VIOLATIONS.values():
        path = tmp_path / PACKAGE.name / module
        path.write_text(f"{path.read_text()}\n{statement}\n")

    status, printed = lint_imports(tmp_path)

    assert status == 1, printed
    assert [contract for contract in VIOLATIONS if f"{contract} BROKEN" not in printed] == [], printed


def test_every_module_has_a_layer_and_the_core_is_all_that_is_below_the_shell() -> None:
    """A module that no contract names would be free to do I/O in the core."""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layered, core = settings["contracts"][:2]
    layers = [{name.strip().rpartition(".")[2] for name in layer.split("|")} for layer in layered["layers"]]
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    lowest_of_the_shell = next(index for index, layer in enumerate(layers) if "cluster" in layer)

    assert set.union(*layers) == modules - {"__init__"}
    assert {name.rpartition(".")[2] for name in core["source_modules"]} == set.union(*layers[lowest_of_the_shell + 1 :])


def test_modules_are_short() -> None:
    found = {str(path.relative_to(CHECKOUT)): lines(path) for path in python_files()}

    assert len(found) >= FEWEST_MODULES
    assert {"image/build.py", "operator/mailfilter_operator/__main__.py"} <= set(found)
    assert {path: count for path, count in found.items() if count > MODULE_LINES} == {}


def test_functions_are_short() -> None:
    found = dict(function for path in python_files() for function in functions(path))

    assert len(found) > FEWEST_MODULES
    assert {name: count for name, count in found.items() if count > FUNCTION_LINES} == {}


def test_templates_are_short() -> None:
    found = {path.name: lines(path) for path in PACKAGE.rglob("*.j2")}

    assert found
    assert {name: count for name, count in found.items() if count > TEMPLATE_LINES} == {}


def test_what_is_too_long_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CHECKOUT", tmp_path)
    script = tmp_path / "image" / "script"
    script.parent.mkdir()
    script.write_text("#!/usr/bin/env python3\ndef long():\n" + "    pass\n" * MODULE_LINES)
    (found,) = python_files()

    assert lines(found) > MODULE_LINES
    assert [size > FUNCTION_LINES for _, size in functions(found)] == [True]


def test_directory_of_the_package_hides_no_module_of_python() -> None:
    """It is called operator as one of the standard library is, and is on the path of the tests."""
    assert not (PACKAGE.parent / "__init__.py").exists()
    printed = subprocess.run(
        [sys.executable, "-c", "import operator, mailfilter_operator; print(operator.add(1, 1))"],
        cwd=CHECKOUT,
        env={"PYTHONPATH": f"{PACKAGE.parent}:{CHECKOUT}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert printed.stdout == "2\n"
