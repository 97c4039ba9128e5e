"""Keys that move, and that go with their MailFilter or stay: with a real garbage collector."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.filters import Filters
from tests.cluster import connection
from tests.cluster.connection import Connection
from tests.mail.polling import eventually

README = Path(__file__).parents[2] / "README.md"
DOMAINS = [{"name": "example.com"}, {"name": "example.org", "dkim": {"algorithms": ["RSA", "Ed25519"]}}]
KEYS = 3
AT_ONCE = {"activation": "AtOnce"}


@pytest.fixture
def elsewhere(api_tier: Connection, filters: Filters) -> Iterator[Filters]:
    """Provide another namespace: the other cluster, as far as a MailFilter can tell."""
    namespace = f"moved-{uuid.uuid4().hex[:8]}"
    assert namespace != filters.namespace
    api_tier.kubectl("create", "namespace", namespace)
    yield Filters(api_tier, namespace)
    api_tier.kubectl("delete", "namespace", namespace, "--wait=false")


def key_secrets(filters: Filters) -> dict[str, dict[str, Any]]:
    """Return the key Secrets by name."""
    text = filters.kubectl("get", "secrets", "--selector=app.kubernetes.io/component=dkim", "--output=json")
    return {item["metadata"]["name"]: item for item in json.loads(text)["items"]}


def states(filters: Filters) -> dict[str, str]:
    """Return the states of the keys in status by the names of their Secrets."""
    domains = filters.status("mx").get("domains") or ()
    return {key["secretName"]: key["state"] for domain in domains for key in domain["keys"]}


def read_readme() -> str:
    """Return the commands by which README moves keys."""
    blocks: list[str] = re.findall(r"^```sh\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if "jq" in text]
    return found


def run_readme(api: Connection, directory: Path, old: str, new: str) -> None:
    """Run README's commands with the two contexts that they name, each with its own namespace in place of `mail`."""
    config = json.loads(api.kubectl("config", "view", "--raw", "--output=json"))
    (context,) = config["contexts"]
    config["contexts"] = [{**context, "name": name} for name in ("old", "new")]
    config["current-context"] = ""
    path = directory / "two-contexts.conf"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    commands = read_readme()
    for name, namespace in (("old", old), ("new", new)):
        assert commands.count(f"--context {name} -n mail ") == 1
        commands = commands.replace(f"--context {name} -n mail ", f"--context {name} -n {namespace} ")
    environment = {**os.environ, **connection.environment(api.tier), "KUBECONFIG": str(path)}
    command = api.nsenter("bash", "-euo", "pipefail", "-c", commands)
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("retention", ["Retain", "Delete"])
def test_keys_that_were_moved_as_readme_says_sign_at_once_and_outlive_the_old_mailfilter(
    filters: Filters, elsewhere: Filters, tmp_path: Path, retention: str
) -> None:
    """Where they come from they may have an owner; without DNS no other key could sign by `WhenPublished`."""
    filters.apply("mx", domains=DOMAINS, dkim={**AT_ONCE, "retention": retention})
    keyring = filters.wait_built("mx")["Secret/mx-keyring"]
    before, records = key_secrets(filters), filters.status("mx")["dnsRecords"]
    assert {len(secret["metadata"].get("ownerReferences", [])) for secret in before.values()} == {retention == "Delete"}

    run_readme(filters.api, tmp_path, filters.namespace, elsewhere.namespace)
    elsewhere.apply("mx", domains=DOMAINS, dkim={"activation": "WhenPublished"})
    moved = elsewhere.wait_built("mx")["Secret/mx-keyring"]
    assert moved["data"] == keyring["data"]
    assert len(moved["data"]) == KEYS
    assert set(states(elsewhere).values()) == {"Active"}
    assert _published(elsewhere.status("mx")["dnsRecords"]) == _published(records)

    filters.kubectl("delete", "mailfilter", "mx")
    kept = before if retention == "Retain" else {}
    eventually(lambda: key_secrets(filters).keys() == kept.keys(), within_seconds=90, what="the old keys as said")
    elsewhere.look_again("mx")
    after = key_secrets(elsewhere)
    assert {name: secret["data"] for name, secret in after.items()} == {
        name: secret["data"] for name, secret in before.items()
    }
    assert not any("ownerReferences" in secret["metadata"] for secret in after.values())


@pytest.mark.parametrize(("first", "last"), [("Retain", "Delete"), ("Delete", "Retain")])
def test_the_last_word_on_retention_counts(filters: Filters, first: str, last: str) -> None:
    filters.apply("mx", domains=DOMAINS, dkim={**AT_ONCE, "retention": first})
    filters.wait_built("mx")
    filters.apply("mx", domains=DOMAINS, dkim={**AT_ONCE, "retention": last})
    filters.wait_built("mx")
    before = key_secrets(filters)
    assert len(before) == KEYS

    filters.kubectl("delete", "mailfilter", "mx")
    filters.apply("other", domains=[])  # a pass that ends after the deletion
    filters.wait_built("other")
    eventually(lambda: "Deployment/mx" not in filters.children("mx"), within_seconds=90, what="the end of the rest")
    kept = before.keys() if last == "Retain" else set()
    eventually(lambda: key_secrets(filters).keys() == kept, within_seconds=90, what="the keys as said last")


def _published(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(record["name"], record["zoneLine"]) for record in records]
