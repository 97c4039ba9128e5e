"""Waiting for a condition: the one place where tests sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T | None], *, within_seconds: float, what: str, every_seconds: float = 0.2) -> T:
    """Ask *probe* until it gives a value that counts as true, and return that value.

    AssertionErrors of *probe* mean "not yet".  Raises TimeoutError that names *what* was waited for and
    carries the last answer.
    """
    deadline = time.monotonic() + within_seconds
    while True:
        last: object
        try:
            value = probe()
            if value:
                return value
            last = value
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within_seconds:g} s; last answer: {last!r}")
        time.sleep(every_seconds)
