"""Errors are sentences for people."""

from __future__ import annotations

import pytest

from mailfilter_operator.errors import ClusterError


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (503, "PATCH Secret mail/mx-keyring: the API server answered 503: overloaded"),
        (0, "PATCH Secret mail/mx-keyring: the API server did not answer: overloaded"),
    ],
)
def test_cluster_error_says_what_was_asked_and_what_came_back(status: int, sentence: str) -> None:
    error = ClusterError("PATCH", "Secret", "mail/mx-keyring", status, "overloaded")

    assert (str(error), error.reason, error.status) == (sentence, "ClusterError", status)
