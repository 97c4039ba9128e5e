"""Every name that is written to a cluster: objects, labels, annotations, ports, paths. Nothing is spelled twice."""

import hashlib

GROUP = "mailfilter.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "MailFilter"
PLURAL = "mailfilters"

FIELD_MANAGER = "mailfilter-operator"
MANAGED_BY = "mailfilter-operator"
LEASE = "mailfilter-operator"

LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_PART_OF = "app.kubernetes.io/part-of"

ANNOTATION_DESIRED = f"{GROUP}/desired-hash"
"""On every applied object: hash of what was applied, so that a field that is no longer wanted is noticed."""
ANNOTATION_CONTENT = f"{GROUP}/content-hash"
"""On what holds raw text: hash of the data, so that what others write there is not taken for ours. (Secrets: the data
holds a salt.)"""
ANNOTATION_RAW = f"{GROUP}/raw-hash"
"""On the ConfigMap of raw text: salted hash of all of it, that of the Secret too. The two are written one after the
other: what does not fit together serves only after a pod has tried it."""
ANNOTATION_PROOF = f"{GROUP}/proven-with"
"""On the same: hash of the image and of the expectations that a pod has proven the text with; none: no pod has."""
ANNOTATION_IMAGE = f"{GROUP}/image"
"""On the pod template: the filter image as the operator names it (an admission webhook may have changed the pod's)."""
ANNOTATION_CLAMD = f"{GROUP}/clamd-hash"
"""On the pod template: hash of clamd's configuration, which clamd reads once."""
ANNOTATION_CONFIG = f"{GROUP}/config-hash"
"""On the pod: the configuration that its containers may take (downward API)."""
ANNOTATION_CANDIDATE = f"{GROUP}/candidate-hash"
"""On one pod that serves: the configuration with raw text that it shall try beside the one that serves."""
ANNOTATION_RELOAD = f"{GROUP}/reload-turn"
"""On a pod whose clamd scans nothing while it loads signatures: the number by which the pod asked, when it may.

Else one of the words in `reload_turns`, or nothing.
"""
ANNOTATION_TOLD = f"{GROUP}/told"
"""On the pod: how often it was told, and when last (milliseconds since 1970): `2@1795704000000`."""
ANNOTATION_DOMAIN = f"{GROUP}/domain"
ANNOTATION_SELECTOR = f"{GROUP}/selector"
ANNOTATION_ALGORITHM = f"{GROUP}/algorithm"
ANNOTATION_BITS = f"{GROUP}/bits"
ANNOTATION_STATE = f"{GROUP}/state"
ANNOTATION_CREATED = f"{GROUP}/created"
ANNOTATION_SIGNING_SINCE = f"{GROUP}/signing-since"
ANNOTATION_ROTATION_ID = f"{GROUP}/rotation-id"
ANNOTATION_SEEN_AGAIN = f"{GROUP}/seen-again"
ANNOTATION_LEFT_SINCE = f"{GROUP}/left-since"
ANNOTATION_REVOKED = f"{GROUP}/revoked"
ANNOTATION_KEYS = f"{GROUP}/keys"
"""On the keyring: what is public of every key, also of domains no longer in the spec, as JSON."""

SIGNATURES = "mailfilter-signatures"
"""Service of the signatures that all MailFilters share, in the operator's namespace."""
SIGNATURES_PORT = 8080

MILTER_PORT = 11332
NORMAL_PORT = 11333
CONTROLLER_PORT = 11334
REPORT_PORT = 11380
"""Where a filter pod reports what it serves (`/cgi-bin/state`), and rspamd's metrics (`/cgi-bin/metrics`)."""
REPORT_PATH = "/cgi-bin/state"

RUN_AS = 11333
"""User and group id of every container of the filter pod; rspamd's own image uses the same number."""

CANDIDATE_DIRECTORY = "/etc/mailfilter/candidate"
ACCEPTED_DIRECTORY = "/run/mailfilter"
SIGNATURE_DIRECTORY = "/var/lib/clamav"
CLAMD_DIRECTORY = "/run/clamav"
RSPAMD_STATE_DIRECTORY = "/var/lib/rspamd"
PROGRAMS = "/usr/lib/mailfilter"
CLAMD_SOCKET = f"{CLAMD_DIRECTORY}/clamd.sock"

MANIFEST_KEY = "manifest"
SALT_KEY = "salt"
"""Data key of the credentials: what is hashed before each of their files."""
PASSWORD_KEY = "password"  # noqa: S105 - a data key
"""Data key of the Secret with the generated password of the web interface."""
WANTED_HASH_FILE = "wanted-hash"
WANTED_CANDIDATE_FILE = "wanted-candidate"
RELOAD_FILE = "reload-turn"
CANDIDATE_PREFIX = "candidate."
"""Before the keys of what is tried: `candidate.manifest`, `candidate.local.d_multimap.conf`."""
UNPROVEN_KEY = "unproven"
"""Data key beside the raw text, until a pod has proven it: a pod tries a configuration with it before it takes it."""
PRIVATE_KEY = "private.key"
"""Data key of a DKIM key Secret: the private key as PKCS#8 PEM."""

KEY_FACTS = "key.json"
"""Data key of a DKIM key Secret: what never changes of the key, as JSON."""


def labels(instance: str, component: str) -> dict[str, str]:
    """The five recommended labels of an object of the MailFilter *instance*."""
    return {
        LABEL_NAME: "mailfilter",
        LABEL_INSTANCE: instance,
        LABEL_COMPONENT: component,
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PART_OF: "mailfilter",
    }


def selector(instance: str) -> dict[str, str]:
    """Labels that choose the filter pods of *instance* and no others; a Deployment's selector never changes."""
    return {LABEL_NAME: "mailfilter", LABEL_INSTANCE: instance, LABEL_COMPONENT: "filter"}


def metrics_configmap(instance: str) -> str:
    """ConfigMap of actions, groups and scores."""
    return f"{instance}-metrics"


def workers_configmap(instance: str) -> str:
    """ConfigMap of rspamd's worker sections."""
    return f"{instance}-workers"


def modules_configmap(instance: str) -> str:
    """ConfigMap of every other rspamd file, and of the manifest."""
    return f"{instance}-modules"


def candidate_configmap(instance: str) -> str:
    """ConfigMap of raw text that is being tried, beside what serves."""
    return f"{instance}-candidate"


def clamav_configmap(instance: str) -> str:
    """ConfigMap of clamd.conf and freshclam.conf."""
    return f"{instance}-clamav"


def files_configmap(instance: str) -> str:
    """ConfigMap of the user's own text for rspamd."""
    return f"{instance}-files"


def credentials(instance: str) -> str:
    """Secret of the rendered files that hold secrets, and of their salt."""
    return f"{instance}-credentials"


def freshclam_secret(instance: str) -> str:
    """Secret of what freshclam's container alone may see: the proxy's password, certificates."""
    return f"{instance}-freshclam"


def controller(instance: str) -> str:
    """Service of the web interface, and Secret of its generated password."""
    return f"{instance}-controller"


def keyring(instance: str) -> str:
    """Secret with the keys that sign, as the pods mount it."""
    return f"{instance}-keyring"


def domain_hash(domain: str) -> str:
    """Ten hexadecimal digits that stand for a domain in object names (a domain may be longer than a name)."""
    return hashlib.sha256(domain.encode("ascii")).hexdigest()[:10]


def dkim_secret(instance: str, domain: str, slot: str) -> str:
    """Secret of one DKIM key.

    >>> dkim_secret("mx", "example.com", "r0")
    'mx-dkim-a379a6f6ee-r0'
    """
    return f"{instance}-dkim-{domain_hash(domain)}-{slot}"


def key_file(domain: str, slot: str, fingerprint: str) -> str:
    """File of a private key in the keyring: another key has another name, so a file never changes in place.

    It ends in `.key` because rspamd takes a path of base64 characters alone for the key itself.
    """
    return f"dkim-{domain_hash(domain)}-{slot}-{fingerprint}.key"


def configmap_key(path: str) -> str:
    """Key of a configuration file in its ConfigMap; keys may not hold a slash.

    >>> configmap_key("local.d/actions.conf")
    'local.d_actions.conf'
    """
    return path.replace("/", "_")


def candidate_key(path: str) -> str:
    """Key of a file that is tried.

    >>> candidate_key("local.d/multimap.conf")
    'candidate.local.d_multimap.conf'
    """
    return CANDIDATE_PREFIX + configmap_key(path)


def controller_endpoint(instance: str, namespace: str) -> str:
    """Where the web interface and rspamd's API are, as host:port."""
    return f"{controller(instance)}.{namespace}.svc:{CONTROLLER_PORT}"


def signatures_url(namespace: str) -> str:
    """Where the shared signatures are, with the operator in *namespace*."""
    return f"http://{SIGNATURES}.{namespace}.svc:{SIGNATURES_PORT}"


def milter_endpoint(instance: str, namespace: str) -> str:
    """Where an MTA finds the milter, as host:port."""
    return f"{instance}.{namespace}.svc:{MILTER_PORT}"
