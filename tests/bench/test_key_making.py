"""How seconds of two ways to make keys are compared."""

from __future__ import annotations

from tests.bench.key_making import describe_ratio


def test_the_ratio_is_that_of_all_rounds_together() -> None:
    assert describe_ratio([11.0, 12.0], [10.0, 8.4]) == "1.25 (11.0 s / 10.0 s, 12.0 s / 8.4 s)"
