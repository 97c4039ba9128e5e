"""Quantities as Kubernetes writes them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter_operator.quantities import parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("1", "1"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("250m", "0.25"),
        ("3k", "3000"),
        ("2M", "2000000"),
        ("1G", "1000000000"),
        ("1T", "1000000000000"),
        ("1P", "1000000000000000"),
        ("1Ki", "1024"),
        ("50Mi", "52428800"),
        ("1.5Gi", "1610612736"),
        ("1Ti", "1099511627776"),
        ("1Pi", "1125899906842624"),
    ],
)
def test_quantity_stands_for_a_number(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Mi", "-1", "1 Mi", "1mi", "1KI", "1,5", "1e3", "1.", "1.5.5", "٣", "1Mi\n"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity such as 250m"):
        parse_quantity(text)


@given(st.integers(0, 10**12))
def test_thousand_milli_are_one(number: int) -> None:
    assert parse_quantity(f"{number}000m") == parse_quantity(str(number))
