"""What a docstring shows is what happens."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import mailfilter_operator

MODULES = [module.name for module in pkgutil.walk_packages(mailfilter_operator.__path__, "mailfilter_operator.")]
FEWEST_EXAMPLES = 5


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    modules = map(importlib.import_module, MODULES)

    assert sum(len(test.examples) for module in modules for test in doctest.DocTestFinder().find(module)) >= (
        FEWEST_EXAMPLES
    )
