"""The environment of the process: what is wrong in it is said by the variable's name."""

from __future__ import annotations

import pytest
from tests.unit import samples

from mailfilter_operator.errors import InvalidSpec
from mailfilter_operator.settings import read_settings

IMAGE = {"MAILFILTER_IMAGE": samples.IMAGE}


def test_image_alone_is_enough() -> None:
    settings = read_settings(IMAGE)

    assert (settings.image, settings.namespace) == (samples.IMAGE, "mailfilter-system")
    assert (settings.resync_seconds, settings.workers, settings.key_workers, settings.health_port) == (600, 4, 2, 8080)
    assert settings.identity


def test_shared_signatures_are_in_the_operators_namespace_unless_it_is_said_otherwise() -> None:
    elsewhere = {**IMAGE, "POD_NAMESPACE": "other"}

    assert read_settings(elsewhere).signatures_url == "http://mailfilter-signatures.other.svc:8080"
    url = {"MAILFILTER_SIGNATURES_URL": "https://signatures.example.com/clamav/"}
    assert read_settings({**elsewhere, **url}).signatures_url == "https://signatures.example.com/clamav"


@pytest.mark.parametrize(
    "url", ["signatures.example.com", "http://a b", "http://a\nOnUpdateExecute id", "ftp://a", "http://u:p@a"]
)
def test_an_address_of_signatures_that_freshclam_would_misread_is_refused(url: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^MAILFILTER_SIGNATURES_URL: .* is not an address; write one like http://"):
        read_settings({**IMAGE, "MAILFILTER_SIGNATURES_URL": url})


def test_pod_says_who_and_where_it_is() -> None:
    settings = read_settings({**IMAGE, "POD_NAMESPACE": "other", "POD_NAME": "operator-x"})

    assert (settings.namespace, settings.identity) == ("other", "operator-x")


def test_processes_without_a_pod_name_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_settings(IMAGE).identity
    monkeypatch.setattr("os.getpid", lambda: -1)

    assert read_settings(IMAGE).identity != first


@pytest.mark.parametrize(
    ("variable", "field", "read"),
    [
        ("MAILFILTER_RESYNC_SECONDS", "resync_seconds", 0.5),
        ("MAILFILTER_WORKERS", "workers", 7),
        ("MAILFILTER_KEY_WORKERS", "key_workers", 7),
        ("MAILFILTER_HEALTH_PORT", "health_port", 7),
    ],
)
def test_number_is_read(variable: str, field: str, read: float) -> None:
    assert getattr(read_settings({**IMAGE, variable: str(read)}), field) == read


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "nan", "inf", "1e999"])
@pytest.mark.parametrize(
    "variable",
    ["MAILFILTER_RESYNC_SECONDS", "MAILFILTER_WORKERS", "MAILFILTER_KEY_WORKERS", "MAILFILTER_HEALTH_PORT"],
)
def test_what_is_no_positive_number_is_refused(variable: str, value: str) -> None:
    with pytest.raises(InvalidSpec, match=f"^{variable}: '{value}' is not a positive") as refused:
        read_settings({**IMAGE, variable: value})
    assert refused.value.field == variable


@pytest.mark.parametrize("variable", ["MAILFILTER_WORKERS", "MAILFILTER_KEY_WORKERS", "MAILFILTER_HEALTH_PORT"])
def test_count_is_a_whole_number(variable: str) -> None:
    with pytest.raises(InvalidSpec, match=f"^{variable}: '0.5' is not a positive whole number"):
        read_settings({**IMAGE, variable: "0.5"})


@pytest.mark.parametrize("environment", [{}, {"MAILFILTER_IMAGE": ""}])
def test_missing_image_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidSpec, match=r"^MAILFILTER_IMAGE: is not set; name the filter image"):
        read_settings(environment)
