"""Lists of senders become rules with maps; what is no entry is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit import samples

from mailfilter_operator.errors import InvalidReference, InvalidSpec
from mailfilter_operator.lists import LIMIT, SenderRule, read_lists
from mailfilter_operator.references import References


def rules(found: dict[str, str] | None = None, **lists: Any) -> dict[str, SenderRule]:
    """Rules by symbol; *found* are the texts of the ConfigMap `senders`."""
    references = References({} if found is None else {"senders": {"data": found}})
    return {rule.symbol: rule for rule in read_lists(samples.mailfilter(lists=lists).spec, references)}


def test_without_lists_there_is_no_rule() -> None:
    assert rules() == {}


def test_every_list_is_a_rule_with_its_map() -> None:
    entries = {"from": ["News@Example.com"], "domains": ["Example.ORG"], "networks": ["192.0.2.0/24", "2001:DB8::1"]}
    found = rules(allow=entries, deny=entries)

    assert found["MAILFILTER_ALLOW_FROM"] == SenderRule(
        "MAILFILTER_ALLOW_FROM", "from", "email:addr", -20, "maps/mailfilter-allow-from", ("news@example.com",)
    )
    assert found["MAILFILTER_DENY_DOMAIN"] == SenderRule(
        "MAILFILTER_DENY_DOMAIN", "from", "email:domain", 20, "maps/mailfilter-deny-domains", ("example.org",)
    )
    assert found["MAILFILTER_DENY_NETWORK"] == SenderRule(
        "MAILFILTER_DENY_NETWORK", "ip", None, 20, "maps/mailfilter-deny-networks", ("192.0.2.0/24", "2001:db8::1")
    )
    assert len(found) == len({rule.path for rule in found.values()}) == 6


def test_entries_of_a_configmap_are_added() -> None:
    text = "# partners\nb@example.com\n\n  a@example.com  # since May\na@example.com\r\n"
    found = rules({"from": text}, allow={"from": ["c@example.com"], "configMapRef": {"name": "senders"}})

    assert found["MAILFILTER_ALLOW_FROM"].entries == ("a@example.com", "b@example.com", "c@example.com")
    assert list(found) == ["MAILFILTER_ALLOW_FROM"]


BAD = {
    "from": [
        "example.com",
        "@example.com",
        "a@b",
        "a b@example.com",
        "a@example.com b",
        "a#b@example.com",
        '"a"@b.test',
    ],
    "domains": ["example", "*.example.com", "@example.com", ".example.com", "a..test", "a_b.test", "x" * 64 + ".test"],
    "networks": ["example.com", "192.0.2.1/24", "0.0.0.0/0", "::/0", "192.0.2", "192.0.2.0/33", "1"],
}


@pytest.mark.parametrize(("field", "entry"), [(field, entry) for field, entries in BAD.items() for entry in entries])
def test_what_is_no_entry_is_refused_with_its_place(field: str, entry: str) -> None:
    with pytest.raises(InvalidSpec) as in_spec:
        rules(deny={field: [entry]})
    with pytest.raises(InvalidReference) as in_configmap:
        rules({field: f"# first\n{entry}\n"}, deny={"configMapRef": {"name": "senders"}})

    assert in_spec.value.field == f"spec.lists.deny.{field}[0]"
    assert in_configmap.value.field == "spec.lists.deny.configMapRef"
    assert f"line 2 of {field} in the ConfigMap senders" in in_configmap.value.message
    assert all("is none; write " in error.value.message for error in (in_spec, in_configmap))


def test_missing_configmap_is_refused() -> None:
    with pytest.raises(InvalidReference, match=r"^spec\.lists\.allow\.configMapRef: there is no ConfigMap senders"):
        rules(allow={"configMapRef": {"name": "senders"}})


def test_more_than_fits_is_refused() -> None:
    entry = "x" * 60 + ".test"
    text = "".join(f"{number:05}.{entry}\n" for number in range(LIMIT // 72 + 1))
    most = text[: text.rindex("\n", 0, -1) + 1]

    assert rules({"domains": most}, deny={"configMapRef": {"name": "senders"}})
    with pytest.raises(InvalidSpec, match=r"^spec\.lists: .*list networks and domains in place of single addresses"):
        rules({"domains": text}, deny={"configMapRef": {"name": "senders"}})
