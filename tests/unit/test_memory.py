"""How much memory containers need, and whether clamd loads new signatures beside the old ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator.errors import InvalidSpec
from mailfilter_operator.memory import MEBIBYTE, compute_limit, compute_memory
from mailfilter_operator.quantities import parse_quantity

SOURCES = ("Shared", "Official", "Mirror", "CustomOnly")


def spec_of(source: str, clamd: str | None = None, size: str = "50Mi", **freshclam: str) -> dict[str, Any]:
    """Part of a spec: where signatures come from, the limits of clamd and freshclam, and the size of messages."""
    signatures: dict[str, Any] = {"source": source}
    signatures |= {"mirrorURL": "http://mirror.test"} if source == "Mirror" else {}
    signatures |= {"customURLs": ["http://sigs.test/own.ndb"]} if source == "CustomOnly" else {}
    resources: dict[str, Any] = {"clamd": {"limits": {"memory": clamd} if clamd else {}}}
    resources |= {"freshclam": {"limits": freshclam}} if freshclam else {}
    return {
        "antivirus": {"signatures": signatures, "maxMessageSize": size},
        "workers": {"proxy": {"timeoutSeconds": 300}},
        "pod": {"resources": resources},
    }


def is_concurrent(**spec: Any) -> bool | None:
    """What the rendered file says; None if the limit is refused."""
    try:
        valid = samples.valid(**spec)
    except InvalidSpec:
        return None
    text = samples.render(valid, ()).clamav["clamav/clamd.conf"]
    (said,) = (line.split(" ", 1)[1] for line in text.splitlines() if line.startswith("ConcurrentDatabaseReload "))
    assert said == ("yes" if valid.concurrent_reload else "no")
    return valid.concurrent_reload


@pytest.mark.parametrize("source", SOURCES[:3])
@pytest.mark.parametrize(
    ("limit", "concurrent"),
    [
        (None, True),
        ("4Gi", True),
        ("3656Mi", True),
        ("3655Mi", False),
        ("3Gi", False),
        ("1480Mi", False),
        ("1479Mi", None),
        ("512Mi", None),
    ],
)
def test_all_of_clamavs_signatures_need_room(source: str, limit: str | None, concurrent: bool | None) -> None:
    assert is_concurrent(**spec_of(source, limit)) is concurrent


@pytest.mark.parametrize(
    ("limit", "concurrent"),
    [(None, True), ("1160Mi", True), ("1159Mi", False), ("232Mi", False), ("231Mi", None)],
)
def test_custom_databases_alone_need_what_they_may_take(limit: str | None, concurrent: bool | None) -> None:
    assert is_concurrent(**spec_of("CustomOnly", limit)) is concurrent


@pytest.mark.parametrize(
    ("freshclam", "concurrent"), [("256Mi", True), ("512Mi", False), ("64Mi", True), ("1Gi", False)]
)
def test_what_freshclam_lets_in_has_to_fit_twice(freshclam: str, concurrent: bool) -> None:
    assert is_concurrent(**spec_of("CustomOnly", "1Gi", memory=freshclam)) is concurrent


@pytest.mark.parametrize(("requested", "concurrent"), [("256Mi", True), ("2Gi", False)])
def test_what_freshclam_gets_because_it_requests_it_has_to_fit_twice_too(requested: str, concurrent: bool) -> None:
    spec = spec_of("CustomOnly", "1200Mi")
    spec["pod"]["resources"]["freshclam"] = {"requests": {"memory": requested}}

    assert is_concurrent(**spec) is concurrent


def test_larger_messages_leave_less_for_signatures() -> None:
    assert is_concurrent(**spec_of("Shared", "4Gi", "150Mi")) is True
    assert is_concurrent(**spec_of("Shared", "4Gi", "170Mi")) is False


def test_the_limit_that_is_refused_is_named_with_what_is_needed() -> None:
    with pytest.raises(InvalidSpec) as refused:
        samples.valid(**spec_of("Shared", "1Gi"))

    assert refused.value.message == (
        "spec.pod.resources.clamd.limits.memory: 1Gi is too little for the signatures of the source Shared and "
        "spec.antivirus.maxMessageSize: at least 1480Mi; raise it"
    )


def test_a_filter_that_scans_nothing_while_it_loads_says_so() -> None:
    blocking, concurrent = (samples.valid(**spec_of("Shared", limit)).notes for limit in ("3Gi", "4Gi"))
    (note,) = set(blocking) - set(concurrent)

    assert note.reason == "ReloadsBlock"
    assert "mail gets 451 meanwhile unless another pod serves" in note.message
    assert "limits.memory is below the 3656Mi" in note.message


SIZES = st.integers(1, 500).map(lambda size: f"{size}Mi")


@given(st.sampled_from(SOURCES), st.integers(16, 16384), st.integers(16, 16384), SIZES, st.integers(16, 4096))
def test_a_smaller_limit_never_makes_a_reload_concurrent(
    source: str, one: int, other: int, size: str, freshclam: int
) -> None:
    smaller, larger = sorted((one, other))
    order = {None: 0, False: 1, True: 2}

    def found(clamd: int) -> int:
        return order[is_concurrent(**spec_of(source, f"{clamd}Mi", size, memory=f"{freshclam}Mi"))]

    assert found(smaller) <= found(larger)


@given(st.sampled_from(SOURCES), SIZES, st.sampled_from([None, "64Mi", "2Gi"]))
def test_who_sets_no_limit_has_a_filter_that_scans_all_the_time(source: str, size: str, freshclam: str | None) -> None:
    assert is_concurrent(**spec_of(source, None, size, **({"memory": freshclam} if freshclam else {}))) is True


@given(st.sampled_from(SOURCES), SIZES, st.integers(16, 8192))
def test_who_only_requests_memory_has_a_filter_that_scans_all_the_time(source: str, size: str, requested: int) -> None:
    spec = spec_of(source, None, size)
    spec["pod"]["resources"]["freshclam"] = {"requests": {"memory": f"{requested}Mi"}}

    assert is_concurrent(**spec) is True


@given(st.sampled_from(SOURCES), SIZES, st.integers(16, 16384))
def test_a_limit_of_the_spec_is_kept(source: str, size: str, clamd: int) -> None:
    spec = spec_of(source, f"{clamd}Mi", size)
    assume(is_concurrent(**spec) is not None)
    valid = samples.valid(**spec)

    assert compute_limit(valid.spec, valid.limits.max_message, "clamd") == f"{clamd}Mi"
    assert clamd * MEBIBYTE >= compute_memory(valid.spec, valid.limits.max_message, trial=True)["clamd"]


def test_what_is_requested_is_allowed() -> None:
    valid = samples.valid(pod={"resources": {"freshclam": {"requests": {"memory": "1Gi"}}}})

    assert parse_quantity(compute_limit(valid.spec, valid.limits.max_message, "freshclam")) == 1024 * MEBIBYTE


def test_every_worker_needs_memory() -> None:
    def needed(**workers: Any) -> int:
        valid = samples.valid(workers=workers)
        return compute_memory(valid.spec, valid.limits.max_message, trial=False)["rspamd"]

    assert needed(normal={"enabled": True, "count": 2}) == needed(proxy={"count": 4}) == needed(controller={"count": 3})
    assert needed(normal={"count": 2}) == needed()
