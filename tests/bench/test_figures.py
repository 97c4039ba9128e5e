"""Order statistics of figures and the table they are shown in."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tests.bench import __main__ as bench
from tests.bench.figures import Figure, describe_seconds, draw, percentile
from tests.mail.kubectl import KubectlError


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([3.0], 50, 3.0),
        ([3.0], 99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 51, 3.0),
        ([float(number) for number in range(1, 101)], 99, 99.0),
        ([float(number) for number in range(1, 102)], 99, 100.0),
        ([2.0, 1.0], 100, 2.0),
        ([2.0, 1.0], 0, 1.0),
    ],
)
def test_a_percentile_is_a_measured_value_of_the_nearest_rank(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_durations_are_shown_by_median_tail_and_maximum() -> None:
    assert describe_seconds([0.5] * 98 + [1.25, 2.0]) == "p50 0.50 s, p99 1.25 s, max 2.00 s"


def test_the_table_shows_each_figure_beside_its_target() -> None:
    shown = io.StringIO()
    Console(file=shown, width=200).print(draw([Figure("rate", "1.31", ">= 1.3", "5 rounds"), Figure("[size]", "7")]))
    lines = shown.getvalue().splitlines()
    (rate,) = [line for line in lines if "rate" in line]
    assert all(part in rate for part in ("1.31", ">= 1.3", "5 rounds"))
    assert any("[size]" in line and "7" in line for line in lines)


def _fail() -> list[Figure]:
    raise KubectlError("kubectl get pods: no such host")


def _miss() -> list[Figure]:
    return [Figure("speed", "1.00", ">= 1.3", "a target that is missed")]


@pytest.mark.parametrize(
    ("parts", "status", "shown"),
    [
        ({"speed": _miss}, 0, "1.00"),
        ({"lost": _fail, "speed": _miss}, 1, "NOT MEASURED"),
    ],
    ids=["a target missed", "not measured"],
)
def test_the_status_tells_what_was_not_measured_and_not_what_missed_its_target(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    parts: dict[str, bench.Part],
    status: int,
    shown: str,
) -> None:
    monkeypatch.setattr(bench, "parts", lambda: parts)
    assert bench.main([]) == status
    printed = capsys.readouterr().out
    assert shown in printed
    assert "1.00" in printed


def test_only_the_chosen_parts_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "parts", lambda: {"lost": _fail, "speed": _miss})
    assert bench.main(["speed"]) == 0
    assert bench.main(["sped"]) == 2
    assert "unknown: sped; there are lost, speed" in capsys.readouterr().err
