"""Desired objects of one MailFilter, as plain data. Nothing here talks to the cluster or can fail.

Objects are built whole every pass and hold only the fields that we own.
"""

import hashlib
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.build.configmaps import build_configmaps
from mailfilter_operator.build.disruption import build_disruption_budget
from mailfilter_operator.build.filter_pod import build_deployment
from mailfilter_operator.build.secrets import build_credentials, build_freshclam_secret, build_keyring
from mailfilter_operator.build.services import build_controller_service, build_service, build_service_account
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.drift import with_desired_hash
from mailfilter_operator.plan import Plan
from mailfilter_operator.render import CLAMD
from mailfilter_operator.validate import ValidMailFilter

OWNED_KINDS = ("ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "ServiceAccount")
"""Kinds that are watched and pruned; Secrets are neither, they are read by name."""


def build_names(instance: str) -> tuple[tuple[str, str], ...]:
    """Kind and name of what `build` builds: known before there are keys, so that a taken name is seen before."""
    return (
        ("ServiceAccount", instance),
        ("ConfigMap", names.metrics_configmap(instance)),
        ("ConfigMap", names.workers_configmap(instance)),
        ("ConfigMap", names.modules_configmap(instance)),
        ("ConfigMap", names.clamav_configmap(instance)),
        ("ConfigMap", names.files_configmap(instance)),
        ("ConfigMap", names.candidate_configmap(instance)),
        ("Secret", names.credentials(instance)),
        ("Secret", names.freshclam_secret(instance)),
        ("Secret", names.keyring(instance)),
        ("Service", instance),
        ("Service", names.controller(instance)),
        ("PodDisruptionBudget", instance),
        ("Deployment", instance),
    )


def build(valid: ValidMailFilter, plan: Plan, keys: tuple[DkimKey, ...]) -> tuple[dict[str, Any], ...]:
    """All objects in the order in which they are applied: what a pod mounts or runs as comes before the Deployment."""
    objects = [
        build_service_account(valid),
        *build_configmaps(valid, plan),
        build_credentials(valid, plan),
        build_freshclam_secret(valid, plan),
        build_keyring(valid, keys),
        build_service(valid),
        build_controller_service(valid),
        build_disruption_budget(valid),
        build_deployment(valid, _hash_clamd(plan)),
    ]
    return tuple(with_desired_hash(desired) for desired in objects)


def _hash_clamd(plan: Plan) -> str:
    return hashlib.sha256(plan.configuration.clamav[CLAMD].encode()).hexdigest()
