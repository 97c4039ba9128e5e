"""Read what a pass decides on. Nothing is cached between passes, so nothing can be stale."""

from mailfilter_operator import names
from mailfilter_operator.api import MailFilter, Manifest
from mailfilter_operator.build import OWNED_KINDS
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.observed import Observed


def observe(cluster: Cluster, body: Manifest) -> Observed:
    """The objects of the MailFilter *body*. Raises ClusterError."""
    meta = body["metadata"]
    selector = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY},{names.LABEL_INSTANCE}={meta['name']}"
    children = {
        (kind, child["metadata"]["name"]): child
        for kind in OWNED_KINDS
        for child in cluster.list_objects(kind, meta["namespace"], selector)
    }
    keyring = cluster.get("Secret", meta["namespace"], names.keyring(meta["name"]))
    if keyring is not None:
        children["Secret", names.keyring(meta["name"])] = keyring
    return Observed(body, children)


def read_key_secrets(cluster: Cluster, mailfilter: MailFilter) -> dict[str, Manifest]:
    """Key Secrets of the spec's domains, by domain, as far as they exist. Raises ClusterError.

    They are found by their names: no list of Secrets is ever asked for.
    """
    meta, found = mailfilter.metadata, {}
    for domain in mailfilter.spec.domains:
        name = names.dkim_secret(meta.name, domain.name, names.FIRST_RSA_SLOT)
        secret = cluster.get("Secret", meta.namespace, name)
        if secret is not None:
            found[domain.name] = secret
    return found
