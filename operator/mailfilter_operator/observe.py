"""Read what a pass decides on. Nothing is cached between passes, so nothing can be stale."""

from mailfilter_operator import names
from mailfilter_operator.api import MailFilter, Manifest
from mailfilter_operator.build import OWNED_KINDS
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.observed import Observed
from mailfilter_operator.references import References, find_configmap_names, find_secret_names


def observe(cluster: Cluster, body: Manifest) -> Observed:
    """The objects of the MailFilter *body*. Raises ClusterError."""
    meta = body["metadata"]
    selector = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY},{names.LABEL_INSTANCE}={meta['name']}"
    children = {
        (kind, child["metadata"]["name"]): child
        for kind in OWNED_KINDS
        for child in cluster.list_objects(kind, meta["namespace"], selector)
    }
    for name in (names.keyring(meta["name"]), names.credentials(meta["name"]), names.freshclam_secret(meta["name"])):
        secret = cluster.get("Secret", meta["namespace"], name)
        if secret is not None:
            children["Secret", name] = secret
    pods = cluster.list_objects("Pod", meta["namespace"], f"{selector},{names.LABEL_COMPONENT}=filter")
    return Observed(body, children, tuple(pods))


def read_references(cluster: Cluster, mailfilter: MailFilter) -> References:
    """Secrets and ConfigMaps of others that the spec names, as far as they exist. Raises ClusterError."""

    def read(kind: str, wanted: frozenset[str]) -> dict[str, Manifest]:
        found = {name: cluster.get(kind, mailfilter.metadata.namespace, name) for name in sorted(wanted)}
        return {name: manifest for name, manifest in found.items() if manifest is not None}

    return References(
        read("ConfigMap", find_configmap_names(mailfilter.spec)), read("Secret", find_secret_names(mailfilter.spec))
    )
