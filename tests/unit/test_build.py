"""Objects: what holds for every MailFilter. What they look like stands in tests/golden/."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.build import OWNED_KINDS, build, build_names
from mailfilter_operator.build.secrets import build_password_secret
from mailfilter_operator.observed import Observed
from mailfilter_operator.plan import Plan
from mailfilter_operator.quantities import parse_quantity
from mailfilter_operator.raw_text import LIMIT, RawText
from mailfilter_operator.render import render
from mailfilter_operator.validate import ValidMailFilter

KEYS = (samples.dkim_key("example.com"),)


def objects(valid: ValidMailFilter) -> tuple[dict[str, Any], ...]:
    return build(valid, samples.plan(valid, KEYS), KEYS)


def pod_of(valid: ValidMailFilter) -> dict[str, Any]:
    pod: dict[str, Any] = objects(valid)[-1]["spec"]["template"]["spec"]
    return pod


VALID = samples.valid()
OBJECTS = objects(VALID)
POD = pod_of(VALID)
CONTAINERS = {container["name"]: container for container in [*POD["initContainers"], *POD["containers"]]}


def test_objects_are_built_anew_and_alike() -> None:
    again = objects(VALID)

    assert again == OBJECTS
    assert not any(one is other for one, other in zip(again, OBJECTS, strict=True))


def test_what_a_pod_needs_comes_before_the_pod() -> None:
    kinds = [manifest["kind"] for manifest in OBJECTS]

    assert kinds == [
        "ServiceAccount",
        *["ConfigMap"] * 6,
        *["Secret"] * 3,
        *["Service"] * 2,
        "PodDisruptionBudget",
        "Deployment",
    ]
    assert set(kinds) - {"Secret"} == set(OWNED_KINDS)


def test_names_of_all_objects_are_known_before_they_are_built() -> None:
    assert [(manifest["kind"], manifest["metadata"]["name"]) for manifest in OBJECTS] == list(build_names("mx"))


def test_every_object_belongs_to_the_mailfilter() -> None:
    for manifest in OBJECTS:
        meta = manifest["metadata"]
        (owner,) = meta["ownerReferences"]
        secrets = {names.keyring("mx"): "keyring"}
        component = secrets.get(meta["name"], "credentials") if manifest["kind"] == "Secret" else "filter"

        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            "MailFilter",
            "mx",
            samples.UID,
            True,
        )
        assert meta["namespace"] == "mail"
        assert meta["labels"] == names.labels("mx", component)
        assert names.ANNOTATION_DESIRED in meta["annotations"]


def test_every_file_of_the_manifest_is_in_the_volume_under_its_key() -> None:
    configuration = samples.render(VALID, KEYS)
    sources = [item.get("data", {}) for item in OBJECTS if item["metadata"]["name"] != names.freshclam_secret("mx")]
    data = {key: text for source in sources for key, text in source.items()}

    assert {line.split("  ")[1] for line in configuration.manifest.splitlines()} | {"manifest", "salt"} == set(data)
    assert sum(map(len, sources)) == len(data), "no two sources have one key"


def test_what_is_for_freshclam_alone_is_in_its_own_secret() -> None:
    way_out = {"freshclam/proxy.conf": "HTTPProxyPassword unseen\n"}
    made = {(item["kind"], item["metadata"]["name"]): item for item in objects(replace(VALID, way_out=way_out))}
    own = made.pop(("Secret", names.freshclam_secret("mx")))["data"]

    assert set(own) == {"salt", "freshclam_proxy.conf"}
    assert base64.b64decode(own["freshclam_proxy.conf"]).decode() == way_out["freshclam/proxy.conf"]
    assert not [key for key, item in made.items() if own["freshclam_proxy.conf"] in str(item) or "unseen" in str(item)]


def test_scans_over_http_have_a_port_only_if_asked_for() -> None:
    def ports(valid: ValidMailFilter) -> tuple[set[int], ...]:
        *_, service, controller, _, deployment = objects(valid)
        (rspamd, _) = deployment["spec"]["template"]["spec"]["containers"]
        named = {port["name"] for port in rspamd["ports"]}
        served = {port["targetPort"] for port in [*service["spec"]["ports"], *controller["spec"]["ports"]]}
        assert served == named - {"report"}
        return (
            {port["port"] for port in service["spec"]["ports"]},
            {port["port"] for port in controller["spec"]["ports"]},
            {port["containerPort"] for port in rspamd["ports"]},
        )

    assert ports(VALID) == ({11332}, {11334}, {11332, 11334, 11380})
    assert ports(samples.valid(workers={"normal": {"enabled": True}})) == (
        {11332, 11333},
        {11334},
        {11332, 11333, 11334, 11380},
    )


def test_a_browser_stays_with_one_pod() -> None:
    services = {manifest["metadata"]["name"]: manifest["spec"] for manifest in OBJECTS if manifest["kind"] == "Service"}

    assert services["mx-controller"]["sessionAffinity"] == "ClientIP"
    assert services["mx-controller"]["selector"] == services["mx"]["selector"] == names.selector("mx")


def test_generated_password_goes_with_the_mailfilter() -> None:
    secret = build_password_secret(VALID, "a password")

    assert secret["metadata"]["name"] == "mx-controller"
    assert secret["metadata"]["labels"] == names.labels("mx", "controller")
    assert secret["metadata"]["ownerReferences"][0]["uid"] == samples.UID
    assert secret["data"] == {"password": "YSBwYXNzd29yZA=="}


@pytest.mark.parametrize(
    "changed",
    [
        {"actions": {"reject": 12}},
        {"domains": []},
        {"logging": {"level": "Debug"}},
        {"workers": {"controller": {"count": 2}, "proxy": {"options": {"max_retries": "3"}}}},
        {"config": {"files": {"local.d/multimap.conf": "x"}}},
        {"lists": {"deny": {"domains": ["example.net"]}}},
        {"antivirus": {"signatures": {"source": "Official"}}},
        {
            "antivirus": {
                "signatures": {"source": "Official"},
                "onVirus": "Discard",
                "onUnofficial": "Quarantine",
                "onFailure": "Accept",
                "alerts": {"limitsExceeded": "Reject"},
            }
        },
    ],
    ids=str,
)
def test_a_change_of_configuration_needs_no_other_pod(changed: dict[str, Any]) -> None:
    before, after = (
        {"kind": OBJECTS[-1]["kind"], **made[-1]["spec"]} for made in (OBJECTS, objects(samples.valid(**changed)))
    )

    assert after == before


def test_what_clamd_looks_for_needs_other_pods() -> None:
    """It reads its configuration once."""

    def template(**alerts: str) -> dict[str, Any]:
        made = objects(samples.valid(antivirus={"signatures": {"source": "Official"}, "alerts": alerts}))
        return dict(made[-1]["spec"]["template"])

    looking = [template(), template(encrypted="Reject"), template(macros="Reject")]
    assert len({str(made) for made in looking}) == len(looking)
    assert template(encrypted="Reject") == template(encrypted="AddHeader")
    assert template(limitsExceeded="Accept", encrypted="Accept") == template()


def test_another_way_to_load_signatures_needs_other_pods_and_an_added_database_does_not() -> None:
    """What clamd.conf says changes with the pod template alone."""

    def template(source: str, *urls: str, **limits: str) -> tuple[str, dict[str, Any]]:
        signatures = {"source": source, "customURLs": list(urls)}
        resources = {"clamd": {"limits": limits}}
        made = samples.valid(antivirus={"signatures": signatures}, pod={"resources": resources})
        clamd = samples.plan(made, ()).configuration.clamav["clamav/clamd.conf"]
        return clamd, dict(objects(made)[-1]["spec"]["template"])

    some, more = ("http://a.test/a.ndb",), ("http://a.test/a.ndb", "http://a.test/b.ndb")
    small, shared = template("CustomOnly", *some, memory="2Gi"), template("Shared", memory="2Gi")

    assert small[0] != shared[0]
    assert small[1] != shared[1]
    assert template("CustomOnly", *some) == template("CustomOnly", *more) == template("Shared", *more)
    assert template("Shared", *more, memory="3Gi") == template("Official", memory="3Gi")


def test_another_set_of_ports_or_sizes_needs_other_pods() -> None:
    changes: list[dict[str, Any]] = [{"workers": {"normal": {"enabled": True}}}, samples.scanning(60)]

    assert all(objects(samples.valid(**changed))[-1]["spec"] != OBJECTS[-1]["spec"] for changed in changes)


def test_as_many_pods_as_the_spec_says_and_one_at_a_time_may_be_taken_away() -> None:
    made = objects(samples.valid(replicas=3))

    assert made[-1]["spec"]["replicas"] == 3
    assert made[-2]["spec"] == {
        "maxUnavailable": 1,
        "selector": {"matchLabels": names.selector("mx")},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }


def test_the_volume_tells_what_the_pods_annotations_ask_for() -> None:
    (volume,) = [volume for volume in POD["volumes"] if volume["name"] == "candidate"]
    (asked,) = [source["downwardAPI"]["items"] for source in volume["projected"]["sources"] if "downwardAPI" in source]

    assert {item["path"]: item["fieldRef"]["fieldPath"] for item in asked} == {
        names.WANTED_HASH_FILE: f"metadata.annotations['{names.ANNOTATION_CONFIG}']",
        names.WANTED_CANDIDATE_FILE: f"metadata.annotations['{names.ANNOTATION_CANDIDATE}']",
    }
    assert names.selector("mx").items() <= OBJECTS[-1]["spec"]["template"]["metadata"]["labels"].items()


def test_what_is_tried_lies_beside_what_serves_and_only_as_far_as_it_differs() -> None:
    serving = samples.valid(config={"files": {"local.d/a.conf": "old", "local.d/b.conf": "same"}})
    tried = samples.valid(config={"files": {"local.d/a.conf": "new", "local.d/b.conf": "same"}})
    candidate = samples.render(tried, KEYS)
    plan = Plan(samples.render(serving, KEYS), candidate=candidate)
    made = {manifest["metadata"]["name"]: manifest.get("data") for manifest in build(serving, plan, KEYS)}

    assert made["mx-candidate"] == {"candidate.manifest": candidate.manifest, "candidate.local.d_a.conf": "new"}
    assert made["mx-files"] == {"local.d_a.conf": "old", "local.d_b.conf": "same"}


def test_the_longest_text_fits_beside_the_one_that_serves() -> None:
    """A Secret holds 1 MiB."""
    serving, tried = (render(VALID, KEYS, samples.SECRETS, RawText({}, {"maps/a": text * LIMIT})) for text in "ab")
    (made,) = [
        item
        for item in build(VALID, Plan(serving, candidate=tried), KEYS)
        if item["metadata"]["name"] == "mx-credentials"
    ]

    assert sum(len(base64.b64decode(text)) for text in made["data"].values()) < 1024 * 1024


def test_raw_text_that_no_pod_has_proven_says_so() -> None:
    configuration = samples.render(VALID, KEYS)
    made = {
        item["metadata"]["name"]: item.get("data") for item in build(VALID, Plan(configuration, unproven=True), KEYS)
    }

    assert made["mx-files"] == {names.UNPROVEN_KEY: configuration.hash}


def test_only_rspamd_sees_the_keys() -> None:
    with_keys = {
        volume["name"]
        for volume in POD["volumes"]
        if any("secret" in source for source in volume.get("projected", {}).get("sources", ()))
    }
    seen_by = {
        name
        for name, container in CONTAINERS.items()
        if with_keys & {mount["name"] for mount in container["volumeMounts"]}
    }

    assert (with_keys, seen_by) == ({"candidate", "candidate-freshclam"}, {"rspamd", "freshclam"})


def test_freshclam_sees_of_secrets_only_its_own_and_nobody_else_does() -> None:
    volumes = {volume["name"]: volume["projected"]["sources"] for volume in POD["volumes"] if "projected" in volume}
    secrets = {
        name: {source["secret"]["name"] for source in sources if "secret" in source}
        for name, sources in volumes.items()
    }

    assert secrets == {
        "candidate": {names.credentials("mx"), names.keyring("mx")},
        "candidate-clamav": set(),
        "candidate-freshclam": {names.freshclam_secret("mx")},
    }
    mounted = {
        name for name, item in CONTAINERS.items() if "candidate-freshclam" in {m["name"] for m in item["volumeMounts"]}
    }
    assert mounted == {"freshclam"}


def test_mounts_and_volumes_fit_each_other() -> None:
    volumes = [volume["name"] for volume in POD["volumes"]]
    mounted = {mount["name"] for container in CONTAINERS.values() for mount in container["volumeMounts"]}

    assert len(volumes) == len(set(volumes))
    assert mounted == set(volumes)
    for container in CONTAINERS.values():
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(paths) == len(set(paths))


def test_accepted_configuration_and_keys_never_reach_a_disk() -> None:
    volumes = {volume["name"]: volume for volume in POD["volumes"]}

    for name, container in CONTAINERS.items():
        (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == names.ACCEPTED_DIRECTORY]
        assert mount["name"] == f"{name}-accepted"
        assert volumes[mount["name"]]["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize("name", ["rspamd", "clamd", "freshclam"])
def test_pod_satisfies_pod_security_restricted(name: str) -> None:
    pod, container = POD["securityContext"], CONTAINERS[name]

    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] == pod["runAsGroup"] == pod["fsGroup"] == names.RUN_AS
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"configMap", "secret", "emptyDir", "projected", "name"} >= {
        key for volume in POD["volumes"] for key in volume
    }


def test_pod_has_no_api_token_and_no_service_variables() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert POD["enableServiceLinks"] is False


@given(st.integers(1, 500))
def test_ending_pod_has_time_for_the_longest_scan(size: int) -> None:
    valid = samples.valid(**samples.scanning(size))
    pod = pod_of(valid)
    rspamd, clamd = (container["lifecycle"]["preStop"] for container in pod["containers"])

    assert pod["terminationGracePeriodSeconds"] > rspamd["sleep"]["seconds"] + valid.limits.task_timeout
    assert clamd == {"exec": {"command": [f"{names.PROGRAMS}/drain-clamd"]}}


def test_raw_text_that_comes_later_does_not_change_the_pods() -> None:
    workers = {"proxy": {"count": 20}}
    later = samples.valid(workers=workers, config={"files": {"local.d/rbl.conf": ""}})

    assert pod_of(later) == pod_of(samples.valid(workers=workers))


QUANTITIES = {"cpu": ["10m", "2", "0.5", None], "memory": ["3300Mi", "4Gi", "9000M", None]}
RESOURCES = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in QUANTITIES.items()})
BOTH = st.fixed_dictionaries({"requests": RESOURCES, "limits": RESOURCES})


@given(st.integers(1, 500), st.fixed_dictionaries({"rspamd": BOTH, "clamd": BOTH, "freshclam": BOTH}))
def test_requests_never_exceed_limits_and_memory_is_always_limited(size: int, resources: dict[str, Any]) -> None:
    pod = pod_of(samples.valid(**samples.scanning(size), pod={"resources": resources}))

    for container in [*pod["initContainers"], *pod["containers"]]:
        wanted, found = resources[container["name"]], container["resources"]
        assert found["limits"].items() >= {k: v for k, v in wanted["limits"].items() if v}.items()
        assert set(found["requests"]) == {"cpu", "memory"}
        assert "memory" in found["limits"]
        for resource, limit in found["limits"].items():
            request = parse_quantity(found["requests"][resource])
            assert request <= parse_quantity(limit)
            if wanted["requests"][resource]:
                most = parse_quantity(wanted["limits"][resource] or "1P")
                assert request == min(parse_quantity(wanted["requests"][resource]), most)
        if container["name"] != "freshclam":
            assert parse_quantity(found["limits"]["memory"]) >= 4 * size * 1024 * 1024


def test_observed_objects_are_found_by_kind_and_name_if_they_are_ours() -> None:
    children: dict[tuple[str, str], Manifest] = {
        (manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in OBJECTS
    }
    observed = Observed(samples.body(), children)

    assert observed.owned("Deployment") == OBJECTS[-1]
    assert observed.keyring is not None
    assert observed.keyring["metadata"]["name"] == "mx-keyring"
    assert observed.credentials is not None
    assert observed.credentials["metadata"]["name"] == "mx-credentials"
    assert Observed(samples.body()).credentials is None
    assert (Observed(samples.body()).owned("Deployment"), Observed(samples.body()).keyring) == (None, None)
    owner = {"apiVersion": "v1", "kind": "Job", "name": "x", "uid": "1", "controller": True}
    foreign = {**OBJECTS[-1], "metadata": {**OBJECTS[-1]["metadata"], "ownerReferences": [owner]}}
    assert Observed(samples.body(), {("Deployment", "mx"): foreign}).owned("Deployment") is None
