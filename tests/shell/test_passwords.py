"""The web interface's password: generated once, kept, anybody's to change, and nowhere but in Secrets."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from tests.shell.world import World
from tests.unit import samples

from mailfilter_operator import names, passwords
from mailfilter_operator.credentials import compute_password_hash

OWN: dict[str, Any] = {"workers": {"controller": {"passwordSecretRef": {"name": "web", "key": "admin"}}}}


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "mail"},
        "data": {key: encode(value) for key, value in data.items()},
    }


def controller(world: World) -> str:
    """The rendered section of the controller."""
    data = world.object("Secret", "mx-credentials")["data"]
    return base64.b64decode(data["override.d_worker-controller.inc"]).decode()


def salt(world: World) -> str:
    return base64.b64decode(world.object("Secret", "mx-credentials")["data"][names.SALT_KEY]).decode()


def accepts(world: World, password: str) -> bool:
    """Tell whether what is rendered is the hash of *password*."""
    hashed = compute_password_hash("test", password, salt(world)).replace("$", "\\u0024")
    return controller(world).count(f'"{hashed}"') == 2


def test_drawn_passwords_and_salts_differ_and_have_their_form() -> None:
    drawn = {passwords.generate_password() for _ in range(20)}
    salts = {passwords.generate_salt() for _ in range(20)}

    assert len(drawn) == len(salts) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9]{24}", password) for password in drawn)
    assert all(re.fullmatch(r"[0-9a-f]{64}", drawn_salt) for drawn_salt in salts)


def test_password_is_generated_once(running: World) -> None:
    assert running.object("Secret", "mx-controller")["data"] == {"password": encode(samples.PASSWORD)}
    assert accepts(running, samples.PASSWORD)
    assert running.written() == []


def test_password_that_somebody_sets_counts(running: World) -> None:
    running.edit("Secret", "mx-controller", "data", "password", value=encode("another\n"))
    running.look()

    assert accepts(running, "another")
    assert running.object("Secret", "mx-controller")["data"] == {"password": encode("another\n")}


@pytest.mark.parametrize("missing", ["Secret", "data", "key", "value", "line"])
def test_password_that_is_gone_is_drawn_anew(running: World, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(passwords, "generate_password", lambda: "the next one")
    left = {"data": None, "key": {"mine": "eA=="}, "value": {"password": ""}, "line": {"password": encode("\n")}}
    if missing in left:
        running.edit("Secret", "mx-controller", "data", value=left[missing])
    else:
        running.cluster.remove("Secret", "mail", "mx-controller")
    running.look()

    data = running.object("Secret", "mx-controller")["data"]
    assert data == {"password": encode("the next one"), **({"mine": "eA=="} if missing == "key" else {})}
    assert accepts(running, "the next one")
    running.look()
    assert running.written() == []


@pytest.mark.parametrize("field", ["labels", "ownerReferences"])
def test_what_makes_the_secret_ours_is_put_back(running: World, field: str) -> None:
    before = running.content("Secret")["Secret/mx-controller"]
    running.edit("Secret", "mx-controller", "metadata", field, value=None)
    running.look()

    assert running.content("Secret")["Secret/mx-controller"] == before
    assert running.written() == []


def test_password_goes_on_with_a_mailfilter_that_was_made_anew(running: World) -> None:
    running.cluster.remove("MailFilter", "mail", "mx")
    running.cluster.put(samples.body("mx", "uid-of-another"))
    running.look()

    live = running.object("Secret", "mx-controller")
    assert live["metadata"]["ownerReferences"][0]["uid"] == "uid-of-another"
    assert accepts(running, samples.PASSWORD)


@pytest.mark.parametrize("value", ["$1$", "$2$abc$def", "a\nb"])
def test_malformed_hash_never_reaches_rspamd(running: World, value: str) -> None:
    before = controller(running)
    running.edit("Secret", "mx-controller", "data", "password", value=encode(value))

    assert running.look() == 15
    assert running.condition("Stalled")[:2] == ("True", "InvalidReference")
    assert running.condition("ConfigValid")[0] == "False"
    assert "Secret mx-controller, key password: " in running.condition("ConfigValid")[2]
    assert controller(running) == before


def test_binary_password_is_refused(running: World) -> None:
    running.edit("Secret", "mx-controller", "data", "password", value="/w==")
    running.look()

    assert "holds no text in UTF-8" in running.condition("Stalled")[2]


def test_empty_secret_that_cannot_be_changed_is_said(running: World) -> None:
    live = running.object("Secret", "mx-controller")
    running.cluster.put({**live, "immutable": True, "data": {}})
    running.look()

    assert running.condition("Stalled")[:2] == ("True", "Conflict")


def test_own_password_is_used_and_none_is_generated(world: World) -> None:
    world.cluster.put(secret("web", admin="chosen by me"))
    world.apply(**OWN)
    world.look()

    assert accepts(world, "chosen by me")
    assert "Secret/mx-controller" not in world.content()
    world.cluster.put(secret("web", admin="chosen anew"))
    world.look()
    assert accepts(world, "chosen anew")
    assert world.written() == []


def test_own_secret_may_have_the_name_of_the_generated_one(world: World) -> None:
    world.cluster.put(secret("mx-controller", admin="chosen by me"))
    world.apply(workers={"controller": {"passwordSecretRef": {"name": "mx-controller", "key": "admin"}}})
    world.look()

    assert accepts(world, "chosen by me")
    assert "labels" not in world.object("Secret", "mx-controller")["metadata"]


def test_missing_secret_makes_nothing_and_is_looked_for_again_soon(world: World) -> None:
    world.apply(**OWN)

    assert world.look() == 15
    assert world.condition("Stalled")[:2] == ("True", "InvalidReference")
    assert "spec.workers.controller.passwordSecretRef: there is no Secret web" in world.condition("Stalled")[2]
    assert [name for name in world.content() if not name.startswith("MailFilter")] == []
    world.cluster.put(secret("web", admin="chosen by me"))
    world.look()
    assert accepts(world, "chosen by me")


@pytest.mark.parametrize("damage", ["gone", "short", "no text"])
def test_damaged_salt_is_drawn_anew(running: World, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setattr(passwords, "generate_salt", lambda: "a5" * 32)
    damaged = {"gone": None, "short": encode("5a"), "no text": "/w=="}[damage]
    running.edit("Secret", "mx-credentials", "data", names.SALT_KEY, value=damaged)
    running.look()

    assert salt(running) == "a5" * 32
    assert accepts(running, samples.PASSWORD)
    assert running.written() == []


def test_secret_files_and_lists_of_others_reach_the_pod(world: World) -> None:
    world.cluster.put(secret("own", text="hidden = 1;"))
    senders = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "senders", "namespace": "mail"}}
    world.cluster.put({**senders, "data": {"networks": "192.0.2.7\n"}})
    world.apply(
        config={"secretRefs": [{"name": "own", "key": "text", "path": "local.d/arc.conf"}]},
        lists={"allow": {"configMapRef": {"name": "senders"}}},
    )
    world.look()

    assert world.object("Secret", "mx-credentials")["data"]["local.d_arc.conf"] == encode("hidden = 1;")
    assert world.object("ConfigMap", "mx-modules")["data"]["maps_mailfilter-allow-networks"] == "192.0.2.7\n"
    assert world.object("Secret", "own")["metadata"].keys() >= {"name"}, "never written"
    assert not {"labels", "ownerReferences"} & world.object("Secret", "own")["metadata"].keys()


def test_no_secret_is_shown_outside_of_secrets(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    world.cluster.put(secret("own", text="hidden = 1;"))
    world.apply(config={"secretRefs": [{"name": "own", "key": "text", "path": "local.d/arc.conf"}]})
    world.look()
    world.edit("Secret", "mx-controller", "data", "password", value=encode("$1$hidden"))
    world.look()

    shown = json.dumps([found for (kind, *_), found in world.cluster.objects.items() if kind != "Secret"])
    hashed = compute_password_hash("test", samples.PASSWORD, samples.SALT)
    for word in ("hidden", samples.PASSWORD, samples.SALT, hashed, encode(samples.PASSWORD), encode("hidden = 1;")):
        assert word not in shown + caplog.text
