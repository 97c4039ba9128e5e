"""What is done with a mail by what ClamAV says of it."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from tests.unit import samples

from mailfilter_operator.api import AlertPolicy, FindingPolicy
from mailfilter_operator.policies import ACTIONS, UNOFFICIAL_NAMES, Policy, list_policies

SIGNATURES = {"source": "Official"}


def policies(**antivirus: Any) -> dict[str, Policy]:
    """The policies of a spec, by name."""
    found = list_policies(samples.mailfilter(antivirus={"signatures": SIGNATURES, **antivirus}).spec.antivirus)
    assert len({policy.symbol for policy in found}) == len({policy.rule for policy in found}) == len(found)
    return {policy.name: policy for policy in found}


def test_by_default_nothing_passes_unscanned_and_other_signatures_only_mark() -> None:
    assert {name: policy.action for name, policy in policies().items()} == {
        "virus": "reject",
        "unofficial": "add header",
        "failure": "soft reject",
        "limits": "soft reject",
        "encrypted": None,
        "macros": None,
    }


def test_each_field_sets_the_policy_of_its_own_symbol() -> None:
    chosen = policies(
        onVirus="Quarantine",
        onUnofficial="Discard",
        onFailure="Accept",
        alerts={"limitsExceeded": "Reject", "encrypted": "AddHeader", "macros": "TempFail"},
    )

    assert {policy.symbol: policy.policy for policy in chosen.values()} == {
        "CLAM_VIRUS": "Quarantine",
        "CLAM_VIRUS_UNOFFICIAL": "Discard",
        "CLAM_VIRUS_FAIL": "Accept",
        "CLAM_VIRUS_LIMITS": "Reject",
        "CLAM_VIRUS_ENCRYPTED": "AddHeader",
        "CLAM_VIRUS_MACRO": "TempFail",
    }


def test_every_policy_has_an_action_but_accept() -> None:
    assert {*get_args(FindingPolicy), *get_args(AlertPolicy)} - set(ACTIONS) == {"Accept"}


def test_a_refusal_names_what_was_found_and_a_delay_does_not() -> None:
    alerts = {"limitsExceeded": "TempFail", "encrypted": "Reject"}
    chosen = policies(alerts=alerts)

    assert chosen["virus"].message == "Virus found: ${symbol('CLAM_VIRUS'):options}"
    assert chosen["encrypted"].message == "Encrypted content: ${symbol('CLAM_VIRUS_ENCRYPTED'):options}"
    assert chosen["limits"].message == "Virus scan failed, try again later"
    assert chosen["macros"].message is None


@pytest.mark.parametrize("policy", ["Quarantine", "Discard", "AddHeader"])
def test_who_is_not_refused_is_told_nothing(policy: str) -> None:
    assert policies(onVirus=policy)["virus"].message is None


@pytest.mark.parametrize(("policy", "least"), [("AddHeader", True), ("Quarantine", False), ("Reject", False)])
def test_only_a_mark_gives_way_to_the_score(policy: str, least: bool) -> None:
    assert policies(onVirus=policy)["virus"].least is least


@pytest.mark.parametrize(
    ("name", "unofficial"),
    [
        ("Sanesecurity.Malware.28845.XlsHeur.UNOFFICIAL", True),
        ("{HEX}php.cmdshell.unclassed.357.UNOFFICIAL", True),
        ("MailFilter.Builtin.Eicar-Test-File.UNOFFICIAL", False),
        ("Win.Test.EICAR_HDB-1", False),
        ("UNOFFICIAL.Like", False),
    ],
)
def test_signatures_that_are_not_clamavs_own(name: str, unofficial: bool) -> None:
    assert bool(re.search(UNOFFICIAL_NAMES, name)) is unofficial
