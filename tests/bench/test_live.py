"""When a change counts as live in a pod, and in all of them, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from tests.bench import live
from tests.bench.live import Answer
from tests.image import milter
from tests.image.milter import Verdict

OLD, NEW, REFUSED = False, True, None


def answers(*kinds: bool | None) -> list[Answer]:
    return [Answer(float(moment), kind) for moment, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((), None),
        ((OLD, OLD, OLD, OLD), None),
        ((OLD, NEW, NEW), None),
        ((OLD, NEW, NEW, NEW), 1.0),
        ((OLD, NEW, NEW, NEW, NEW, NEW), 1.0),
        ((OLD, NEW, NEW, OLD, NEW, NEW, NEW), 4.0),
        ((OLD, NEW, NEW, NEW, REFUSED), None),
        ((NEW, NEW, NEW), 0.0),
    ],
)
def test_a_pod_has_changed_from_the_first_answer_after_the_last_old_one(
    kinds: tuple[bool | None, ...], expected: float | None
) -> None:
    assert live.live_since(answers(*kinds)) == expected


class _System:
    """Stands for a MailFilter whose pods answer by what `new` holds."""

    def __init__(self) -> None:
        self.new: set[str] = set()
        self.pods = [_pod("a", "10.0.0.1"), _pod("b", "10.0.0.2")]

    def filter_pods(self) -> list[dict[str, Any]]:
        return self.pods

    def scan(self, _message: bytes, _port: int, *, host: str, **_more: str) -> Verdict:
        return Verdict("accept", [("X-Spam", "Yes")] if host in self.new else [])


def _pod(uid: str, address: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True"}]
    return {"metadata": {"uid": uid}, "status": {"podIP": address, "conditions": conditions}}


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> _System:
    made = _System()
    monkeypatch.setattr(milter, "scan", made.scan)
    return made


def _marked(verdict: Verdict) -> bool:
    return bool(verdict.headers)


def test_a_change_is_live_when_the_last_pod_has_changed(system: _System) -> None:
    trial = live.measure(system, (b"", ""), _marked, lambda: system.new.update({"10.0.0.1", "10.0.0.2"}))  # type: ignore[arg-type]
    assert 0 < trial.kubectl_seconds <= trial.seconds
    assert trial.answers >= 2 * live.IN_A_ROW
    assert trial.not_accepted == trial.gone == 0


def test_a_change_that_reaches_one_pod_only_is_not_live(system: _System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LONGEST_SECONDS", 0.3)
    with pytest.raises(TimeoutError, match="not live in every pod"):
        live.measure(system, (b"", ""), _marked, lambda: system.new.add("10.0.0.1"))  # type: ignore[arg-type]


def test_pods_that_come_and_go_are_followed(system: _System) -> None:
    def replace() -> None:
        system.pods = [_pod("c", "10.0.0.3"), _pod("d", "10.0.0.4")]
        system.new.update({"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"})

    trial = live.measure(system, (b"", ""), _marked, replace)  # type: ignore[arg-type]
    assert trial.gone == 2


def test_what_is_so_already_is_no_change(system: _System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_ANSWER_SECONDS", 0.3)
    system.new.update({"10.0.0.1", "10.0.0.2"})
    with pytest.raises(RuntimeError, match="already"):
        live.measure(system, (b"", ""), _marked, lambda: None)  # type: ignore[arg-type]


def test_no_pod_is_no_measurement(system: _System) -> None:
    system.pods = []
    with pytest.raises(RuntimeError, match="no filter pod"):
        live.measure(system, (b"", ""), _marked, lambda: None)  # type: ignore[arg-type]
