"""Measured figures: their order statistics, and the table that shows each beside its target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value as people read it, the target it is held against, and how it came about."""

    name: str
    measured: str
    target: str = ""
    basis: str = ""


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that *percent* of *values* do not exceed (nearest rank), so one that was measured."""
    if not values:
        raise ValueError("no values: there is no percentile of nothing")
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def describe_seconds(values: Sequence[float]) -> str:
    """Write median, 99th percentile and maximum of durations on one line."""
    shown = (("p50", percentile(values, 50)), ("p99", percentile(values, 99)), ("max", max(values)))
    return ", ".join(f"{name} {value:.2f} s" for name, value in shown)


def draw(figures: Sequence[Figure]) -> Table:
    """Draw the table; a figure without a target shows none."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading, ratio in (("figure", 4), ("measured", 4), ("target", 2), ("measured how", 7)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    for figure in figures:
        table.add_row(*map(escape, (figure.name, figure.measured, figure.target, figure.basis)))
    return table
