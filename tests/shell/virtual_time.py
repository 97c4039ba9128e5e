"""An event loop whose time passes only while nothing else is to be done: waits take no time and are exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from typing_extensions import override


class _Selector(selectors.SelectSelector):
    """Passes time instead of waiting."""

    now = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that nothing will do"
            self.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._passing = _Selector()
        super().__init__(self._passing)

    @override
    def time(self) -> float:
        return self._passing.now


def run(monkeypatch: pytest.MonkeyPatch, test: Callable[[], Coroutine[Any, Any, None]], *modules: str) -> None:
    """Run *test*; the operator's *modules* see the same time, and their threads are none."""

    async def inline(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    with asyncio.Runner(loop_factory=_Loop) as runner:
        clock = SimpleNamespace(monotonic=runner.get_loop().time)
        for module in modules:
            monkeypatch.setattr(f"mailfilter_operator.{module}.time", clock)
        monkeypatch.setattr(asyncio, "to_thread", inline)
        runner.run(test())
