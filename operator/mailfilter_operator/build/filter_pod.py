"""The Deployment: rspamd, clamd, and freshclam as a native sidecar, all from one image under Pod Security *restricted*.

Only rspamd's containers see the keys, and only freshclam's the proxy's password: clamd parses what strangers send.
"""

from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import ContainerResources
from mailfilter_operator.build.metadata import build_metadata
from mailfilter_operator.memory import compute_limit
from mailfilter_operator.quantities import parse_quantity
from mailfilter_operator.validate import ValidMailFilter

_READ_BY_GROUP = 0o440
_DRAIN_SECONDS = 5
"""How long a pod that ends goes on taking mail, so that every node has taken it out of the Service."""

_SCANS_AT_ONCE = 8
"""Scans of the greatest size for which there is room on the disk at one time."""

_PROBE = {"periodSeconds": 3, "timeoutSeconds": 3, "failureThreshold": 2}
"""Two failures of at most 3 s each, 3 s apart: not ready within 15 s of clamd or rspamd going down or hanging."""

_LONGEST_START_SECONDS = 900
"""Without a compiled pattern cache rspamd starts in 20 s on one core, in minutes on a fifth of one.

Raw text that no pod has proven is proven before, which takes a clamd; and that begins when each source of signatures
was asked, for which it waits five minutes.
"""

_DEFAULT_REQUESTS = {
    "rspamd": {"cpu": "250m", "memory": "256Mi"},
    "clamd": {"cpu": "250m", "memory": "1536Mi"},
    "freshclam": {"cpu": "50m", "memory": "128Mi"},
}


def build_deployment(valid: ValidMailFilter, clamd_hash: str) -> dict[str, Any]:
    """The filter pods' Deployment. A new pod must be ready before an old one goes.

    Little in it tells the configuration: a change of that reaches the pods that run.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": build_metadata(valid, valid.name),
        "spec": {
            "replicas": valid.spec.replicas,
            "selector": {"matchLabels": names.selector(valid.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": names.labels(valid.name, "filter"),
                    "annotations": {names.ANNOTATION_IMAGE: valid.image, names.ANNOTATION_CLAMD: clamd_hash},
                },
                "spec": _build_pod(valid),
            },
        },
    }


def _build_pod(valid: ValidMailFilter) -> dict[str, Any]:
    image = valid.spec.image
    return {
        "serviceAccountName": valid.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _DRAIN_SECONDS + 2 * valid.limits.task_timeout + 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.RUN_AS,
            "runAsGroup": names.RUN_AS,
            "fsGroup": names.RUN_AS,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "imagePullSecrets": [{"name": secret} for secret in image.pull_secrets],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": names.selector(valid.name)},
            }
        ],
        "initContainers": [_build_freshclam(valid)],
        "containers": [_build_rspamd(valid), _build_clamd(valid)],
        "volumes": _build_volumes(valid),
    }


def _build_rspamd(valid: ValidMailFilter) -> dict[str, Any]:
    ping = {"httpGet": {"path": "/ping", "port": "milter"}}
    return {
        **_build_container(valid, "rspamd"),
        "ports": _build_ports(valid),
        "startupProbe": {**ping, "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": _LONGEST_START_SECONDS},
        "readinessProbe": {"exec": {"command": [f"{names.PROGRAMS}/probe-rspamd"]}, **_PROBE},
        "livenessProbe": {**ping, "periodSeconds": 15, "timeoutSeconds": 5, "failureThreshold": 6},
        "lifecycle": {"preStop": {"sleep": {"seconds": _DRAIN_SECONDS}}},
        "volumeMounts": [
            _mount("candidate", names.CANDIDATE_DIRECTORY, read_only=True),
            _mount("rspamd-accepted", names.ACCEPTED_DIRECTORY),
            _mount("rspamd-state", names.RSPAMD_STATE_DIRECTORY),
            _mount("rspamd-tmp", "/tmp"),  # noqa: S108 - a volume of the container
            _mount("clamd", names.CLAMD_DIRECTORY),
        ],
    }


def _build_ports(valid: ValidMailFilter) -> list[dict[str, Any]]:
    """Ports that rspamd listens on; another set of them needs another pod, as rspamd never closes one."""
    ports = {"milter": names.MILTER_PORT, "controller": names.CONTROLLER_PORT}
    ports["report"] = names.REPORT_PORT
    if valid.spec.workers.normal.enabled:
        ports["http"] = names.NORMAL_PORT
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()]


def _build_clamd(valid: ValidMailFilter) -> dict[str, Any]:
    # How long it waits for open sessions before it loads signatures, when it scans nothing.
    drain = {"name": "MAILFILTER_RELOAD_DRAIN", "value": str(2 * valid.limits.task_timeout)}
    return {
        **_build_container(valid, "clamd"),
        **({} if valid.concurrent_reload else {"env": [drain]}),
        "readinessProbe": {"exec": {"command": [f"{names.PROGRAMS}/probe-clamd"]}, **_PROBE},
        "livenessProbe": {
            "exec": {"command": [f"{names.PROGRAMS}/probe-clamd", "alive"]},
            "periodSeconds": 30,
            "timeoutSeconds": 15,
            "failureThreshold": 6,
        },
        # rspamd drains first: a scanner that ends before it would fail the mails that it still holds.
        "lifecycle": {"preStop": {"exec": {"command": [f"{names.PROGRAMS}/drain-clamd"]}}},
        "volumeMounts": [
            _mount("candidate-clamav", names.CANDIDATE_DIRECTORY, read_only=True),
            _mount("clamd-accepted", names.ACCEPTED_DIRECTORY),
            _mount("clamd-tmp", "/tmp"),  # noqa: S108 - a volume of the container
            _mount("clamd", names.CLAMD_DIRECTORY),
            _mount("signatures", names.SIGNATURE_DIRECTORY),
        ],
    }


def _build_freshclam(valid: ValidMailFilter) -> dict[str, Any]:
    return {
        **_build_container(valid, "freshclam"),
        # A native sidecar without a startup probe: clamd's entry point waits for what it fetches.
        "restartPolicy": "Always",
        "volumeMounts": [
            _mount("candidate-freshclam", names.CANDIDATE_DIRECTORY, read_only=True),
            _mount("freshclam-accepted", names.ACCEPTED_DIRECTORY),
            _mount("freshclam-tmp", "/tmp"),  # noqa: S108 - a volume of the container
            _mount("clamd", names.CLAMD_DIRECTORY),
            _mount("signatures", names.SIGNATURE_DIRECTORY),
        ],
    }


def _build_container(valid: ValidMailFilter, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": valid.image,
        "imagePullPolicy": valid.spec.image.pull_policy,
        "command": [f"{names.PROGRAMS}/{name}"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": _build_resources(valid, name),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _build_resources(valid: ValidMailFilter, name: str) -> dict[str, Any]:
    """Requests and limits of the spec over the defaults; processors are not limited, a throttled scan is a late one."""
    wanted: ContainerResources = getattr(valid.spec.pod.resources, name)
    limits = {"memory": compute_limit(valid.spec, valid.limits.max_message, name)} | _quantities(wanted, "limits")
    requests = _DEFAULT_REQUESTS[name] | _quantities(wanted, "requests")
    for resource, limit in limits.items():
        if parse_quantity(requests[resource]) > parse_quantity(limit):
            requests[resource] = limit
    return {"requests": requests, "limits": limits}


def _quantities(wanted: ContainerResources, part: str) -> dict[str, str]:
    resources = getattr(wanted, part)
    return {name: getattr(resources, name) for name in ("cpu", "memory") if getattr(resources, name) is not None}


def _build_volumes(valid: ValidMailFilter) -> list[dict[str, Any]]:
    modules = names.modules_configmap(valid.name)
    wanted_hash = _from_annotations({names.WANTED_HASH_FILE: names.ANNOTATION_CONFIG})
    everything: list[dict[str, Any]] = [
        {"configMap": {"name": names.metrics_configmap(valid.name)}},
        {"configMap": {"name": names.workers_configmap(valid.name)}},
        {"configMap": {"name": modules}},
        {"configMap": {"name": names.clamav_configmap(valid.name)}},
        {"configMap": {"name": names.files_configmap(valid.name)}},
        {"configMap": {"name": names.candidate_configmap(valid.name)}},
        {"secret": {"name": names.credentials(valid.name)}},
        {"secret": {"name": names.keyring(valid.name)}},
        _from_annotations(
            {
                names.WANTED_HASH_FILE: names.ANNOTATION_CONFIG,
                names.WANTED_CANDIDATE_FILE: names.ANNOTATION_CANDIDATE,
            }
        ),
    ]
    without_keys: list[dict[str, Any]] = [
        {"configMap": {"name": modules, "items": [{"key": names.MANIFEST_KEY, "path": names.MANIFEST_KEY}]}},
        {"configMap": {"name": names.clamav_configmap(valid.name)}},
        wanted_hash,
    ]
    turns = [] if valid.concurrent_reload else [_from_annotations({names.RELOAD_FILE: names.ANNOTATION_RELOAD})]
    return [
        _projected("candidate", everything),
        _projected("candidate-clamav", [*without_keys, *turns]),
        _projected("candidate-freshclam", [*without_keys, {"secret": {"name": names.freshclam_secret(valid.name)}}]),
        *(_memory(f"{name}-accepted") for name in ("rspamd", "clamd", "freshclam")),
        _directory("clamd", "16Mi"),
        _directory("rspamd-state", "1Gi"),
        _directory("rspamd-tmp", "1Gi"),
        # What a scan unpacks is bounded by MaxScanSize; a node's disk is not for archives that strangers send.
        _directory("clamd-tmp", str(_SCANS_AT_ONCE * valid.limits.max_scan)),
        _directory("freshclam-tmp", "1Gi"),
        # All signatures take 0.4 GiB, and an update a second copy.
        _directory("signatures", "4Gi"),
    ]


def _from_annotations(files: dict[str, str]) -> dict[str, Any]:
    """Files with what annotations of the pod say; empty as long as there is no such annotation."""
    items = [
        {"path": file, "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{annotation}']"}}
        for file, annotation in files.items()
    ]
    return {"downwardAPI": {"items": items}}


def _projected(name: str, sources: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "projected": {"defaultMode": _READ_BY_GROUP, "sources": sources}}


def _memory(name: str) -> dict[str, Any]:
    """A volume that never reaches a disk: accepted configuration, keys among it."""
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": "32Mi"}}


def _directory(name: str, size_limit: str) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"sizeLimit": size_limit}}


def _mount(name: str, path: str, *, read_only: bool = False) -> dict[str, Any]:
    mount: dict[str, Any] = {"name": name, "mountPath": path}
    return mount | {"readOnly": True} if read_only else mount
