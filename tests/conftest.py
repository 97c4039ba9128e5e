"""Options of the whole test run, and where its time went."""

from __future__ import annotations

from collections import defaultdict

import pytest

_SHOWN = 15
"""Files of tests that took longest."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden/ anew instead of comparing with it"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the seconds that whole files of tests took, their fixtures included."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if sum(seconds.values()) < 60:
        return
    terminalreporter.section("slowest files")
    for took, file in sorted(((took, file) for file, took in seconds.items()), reverse=True)[:_SHOWN]:
        terminalreporter.write_line(f"{took:7.1f} s  {file}")
