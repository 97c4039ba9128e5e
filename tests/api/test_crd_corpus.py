"""The real API server judges MailFilters: what is right is taken, what is wrong is refused with the remedy."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.api import cases
from tests.api.server import ApiServer
from tests.unit import samples

from mailfilter_operator import api, raw_text, references, validate

TEXTS = ("admin_password", "arc.conf", "b_B")
PRIVATE_KEYS = ("tls.key", "a.pem")
"""Of the Secrets that the cases refer to."""

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"
WAY_OUT = {
    "url": base64.b64encode(b"http://proxy.example.com:3128").decode(),
    "ca.crt": base64.b64encode(_CERTIFICATE).decode(),
}
"""Of the Secrets with a proxy and with certificates."""


@pytest.mark.parametrize("case", cases.load_accepted(), ids=lambda case: case.title)
def test_accepted_and_understood_by_the_operator(mailfilter_api: ApiServer, case: cases.Case) -> None:
    answer = mailfilter_api.try_create(case.body)

    assert answer.complaints == ()
    spec = api.parse(answer.stored).spec
    referred: dict[str, Any] = {name: {} for name in references.find_configmap_names(spec)}
    pem = base64.b64encode(samples.private_pem("own")).decode()
    data = {**dict.fromkeys(TEXTS, "b25l"), **dict.fromkeys(PRIVATE_KEYS, pem), **WAY_OUT}
    found = {name: {"data": data} for name in references.find_secret_names(spec)}
    known = references.References(referred, found)
    validate.validate(api.parse(answer.stored), "localhost/mailfilter:0.1.0", known)
    raw_text.read_raw_text(spec, known)


@pytest.mark.parametrize("case", cases.load_refused(), ids=lambda case: case.title)
def test_refused_with_the_remedy(mailfilter_api: ApiServer, case: cases.Case) -> None:
    """Also, no rule may run into an error of its own: that would speak CEL instead of the reader's language."""
    answer = mailfilter_api.try_create(case.body)

    missing = {name: part for name, part in case.refused.items() if not answer.says(name, part)}
    assert not missing, f"the server said {answer.complaints or 'nothing'}"
    assert not [message for _, message in answer.complaints if "rule evaluation" in message]


def test_what_is_left_out_means_the_same_to_server_and_operator(mailfilter_api: ApiServer) -> None:
    sent = cases.base()
    stored = mailfilter_api.try_create(sent).stored

    assert api.parse(stored).spec == api.parse({**stored, "spec": sent["spec"]}).spec


def test_an_unknown_field_is_refused(mailfilter_api: ApiServer) -> None:
    body = cases.merge(cases.base(), {"spec": {"size": 2}})

    assert mailfilter_api.try_create(body).says("", "unknown field")
