"""The MailFilter resource as frozen dataclasses, one per object of the schema, fields in snake_case.

The schema in crds/ is the contract (bounds, defaults, CEL); a test keeps these classes equal to it. `parse` takes an
object that the API server has accepted and defaulted, so it judges only what an older schema may have let in.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from mailfilter_operator.errors import InvalidSpec

Manifest = Mapping[str, Any]
"""A Kubernetes object as plain data."""

Disabled = Literal["Disabled"]

Texts = tuple[tuple[str, str], ...]
"""A map of the schema from text to text, sorted: a frozen class holds no dict."""

Header = Literal["AuthenticationResults", "SpamStatus", "SpamdResult", "SpamdBar", "SpamLevel"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Metadata:
    name: str
    namespace: str
    uid: str
    generation: int


@dataclass(frozen=True, slots=True)
class Image:
    repository: str | None = None
    tag: str | None = None
    digest: str | None = None
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


Algorithm = Literal["RSA", "Ed25519"]
Activation = Literal["WhenPublished", "AtOnce"]


@dataclass(frozen=True, slots=True)
class SecretKeyReference:
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class DomainDkim:
    selector: str | None = None
    algorithms: tuple[Algorithm, ...] | None = None
    key_bits: int | None = None
    rotation_id: str | None = None
    activation: Activation | None = None
    private_key_secret_ref: SecretKeyReference | None = None


@dataclass(frozen=True, slots=True)
class Spf:
    mechanisms: tuple[str, ...]
    all: Literal["Fail", "SoftFail", "Neutral"] = "SoftFail"


@dataclass(frozen=True, slots=True)
class Dmarc:
    policy: Literal["None", "Quarantine", "Reject"] = "None"
    aggregate_reports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Domain:
    name: str
    dkim: DomainDkim = DomainDkim()
    spf: Spf | None = None
    dmarc: Dmarc | None = None


@dataclass(frozen=True, slots=True)
class Selectors:
    scheme: Literal["Dated", "Alternating"] = "Dated"
    prefix: str = "mf"


@dataclass(frozen=True, slots=True)
class Rotation:
    interval: str | None = None
    overlap: str = "7d"
    remove_after: str | None = None


@dataclass(frozen=True, slots=True)
class Sign:
    authenticated: bool = True
    networks: tuple[str, ...] = ()
    local: bool = True
    usernames: Literal["SameDomain", "Any"] = "SameDomain"
    envelope_mismatch: Literal["Never", "Networks", "Always"] = "Networks"
    subdomains: bool = False


@dataclass(frozen=True, slots=True)
class Dkim:
    algorithms: tuple[Algorithm, ...] = ("RSA",)
    key_bits: int = 2048
    selectors: Selectors = Selectors()
    activation: Activation = "WhenPublished"
    rotation: Rotation = Rotation()
    rotation_id: str = ""
    revoked: tuple[str, ...] = ()
    retention: Literal["Retain", "Delete"] = "Retain"
    sign: Sign = Sign()


@dataclass(frozen=True, slots=True)
class Dns:
    ttl_seconds: int = 3600
    resolvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Actions:
    greylist: Decimal | Disabled = Decimal(4)
    add_header: Decimal | Disabled = Decimal(6)
    rewrite_subject: Decimal | Disabled = "Disabled"
    reject: Decimal | Disabled = Decimal(15)


@dataclass(frozen=True, slots=True)
class Symbol:
    name: str
    score: Decimal
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    max_score: Decimal | None = None
    symbols: tuple[Symbol, ...] = ()


@dataclass(frozen=True, slots=True)
class Metrics:
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigMapReference:
    name: str


@dataclass(frozen=True, slots=True)
class SenderList:
    from_: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    config_map_ref: ConfigMapReference | None = None


@dataclass(frozen=True, slots=True)
class Lists:
    allow: SenderList = SenderList()
    deny: SenderList = SenderList()


@dataclass(frozen=True, slots=True)
class ProxyWorker:
    count: int = 2
    timeout_seconds: int = 60
    options: Texts = ()


@dataclass(frozen=True, slots=True)
class ControllerWorker:
    count: int = 1
    password_secret_ref: SecretKeyReference | None = None
    secure_networks: tuple[str, ...] = ()
    options: Texts = ()


@dataclass(frozen=True, slots=True)
class NormalWorker:
    enabled: bool = False
    count: int = 1
    options: Texts = ()


@dataclass(frozen=True, slots=True)
class Workers:
    proxy: ProxyWorker = ProxyWorker()
    controller: ControllerWorker = ControllerWorker()
    normal: NormalWorker = NormalWorker()


@dataclass(frozen=True, slots=True)
class SecretReference:
    name: str


@dataclass(frozen=True, slots=True)
class Signatures:
    source: Literal["Shared", "Mirror", "Official", "CustomOnly"] = "Shared"
    mirror_url: str | None = None
    custom_urls: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    checks_per_day: int = 12
    max_age: str = "96h"
    proxy_secret_ref: SecretReference | None = None
    ca_bundle_ref: SecretKeyReference | None = None


FindingPolicy = Literal["Reject", "Quarantine", "AddHeader", "Discard"]
AlertPolicy = Literal["Accept", "AddHeader", "Quarantine", "Reject", "TempFail"]


@dataclass(frozen=True, slots=True)
class Alerts:
    limits_exceeded: AlertPolicy = "TempFail"
    encrypted: AlertPolicy = "Accept"
    macros: AlertPolicy = "Accept"


@dataclass(frozen=True, slots=True)
class Antivirus:
    signatures: Signatures = Signatures()
    on_virus: FindingPolicy = "Reject"
    on_unofficial: FindingPolicy = "AddHeader"
    on_failure: Literal["TempFail", "Accept"] = "TempFail"
    alerts: Alerts = Alerts()
    max_message_size: str = "50Mi"


@dataclass(frozen=True, slots=True)
class SecretFile:
    name: str
    key: str
    path: str


@dataclass(frozen=True, slots=True)
class Config:
    files: Texts = ()
    secret_refs: tuple[SecretFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Logging:
    level: Literal["Error", "Warning", "Notice", "Info", "Debug"] = "Notice"


@dataclass(frozen=True, slots=True)
class ResourceList:
    cpu: str | None = None
    memory: str | None = None


@dataclass(frozen=True, slots=True)
class ContainerResources:
    requests: ResourceList = ResourceList()
    limits: ResourceList = ResourceList()


@dataclass(frozen=True, slots=True)
class PodResources:
    rspamd: ContainerResources = ContainerResources()
    clamd: ContainerResources = ContainerResources()
    freshclam: ContainerResources = ContainerResources()


@dataclass(frozen=True, slots=True)
class Pod:
    resources: PodResources = PodResources()


@dataclass(frozen=True, slots=True)
class Spec:
    antivirus: Antivirus = Antivirus()
    replicas: int = 1
    paused: bool = False
    image: Image = Image()
    domains: tuple[Domain, ...] = ()
    dkim: Dkim = Dkim()
    dns: Dns = Dns()
    actions: Actions = Actions()
    headers: tuple[Header, ...] = ("AuthenticationResults",)
    metrics: Metrics = Metrics()
    lists: Lists = Lists()
    workers: Workers = Workers()
    config: Config = Config()
    logging: Logging = Logging()
    pod: Pod = Pod()


@dataclass(frozen=True, slots=True)
class MailFilter:
    metadata: Metadata
    spec: Spec


def parse(body: Manifest) -> MailFilter:
    """Read a MailFilter object as the API server returns it.

    Raises InvalidSpec naming the field that an older schema accepted and this one does not.
    """
    meta = body["metadata"]
    metadata = Metadata(meta["name"], meta["namespace"], meta["uid"], meta["generation"])
    return MailFilter(metadata, _parse_object(Spec, body.get("spec") or {}, "spec"))


def camel_case(field: str) -> str:
    """Name of a dataclass field in the schema: `custom_urls` is `customURLs`, `from_` is `from`."""
    words = re.sub(r"_([a-z])", lambda match: match[1].upper(), field.removesuffix("_"))
    return re.sub(r"Url(?=s?$)|Id$", lambda match: match[0].upper(), words)


def _parse_object(cls: type[T], value: Any, path: str) -> T:
    if not isinstance(value, Mapping):
        raise InvalidSpec(path, "must be an object")
    hints = get_type_hints(cls)
    known = {camel_case(field.name): field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]  # a dataclass
    for name in value:
        if name not in known:
            raise InvalidSpec(f"{path}.{name}", "is not a field of this release; remove it")
    arguments = {}
    for name, field in known.items():
        if value.get(name) is not None:
            arguments[field.name] = _parse_value(hints[field.name], value[name], f"{path}.{name}")
        elif field.default is dataclasses.MISSING:
            raise InvalidSpec(f"{path}.{name}", "is missing; set it")
    return cls(**arguments)


def _parse_value(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _parse_object(hint, value, path)  # type: ignore[arg-type]  # is_dataclass takes instances too
    if hint == Texts:
        return _parse_texts(value, path)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InvalidSpec(path, "must be a list")
        item = get_args(hint)[0]
        return tuple(_parse_value(item, entry, f"{path}[{i}]") for i, entry in enumerate(value))
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InvalidSpec(path, f"is {value!r}; use one of {', '.join(map(str, get_args(hint)))}")
        return value
    choices = [arm for arm in get_args(hint) if arm is not type(None)]
    if choices:
        words = [arm for arm in choices if get_origin(arm) is Literal and value in get_args(arm)]
        return value if words else _parse_value(choices[0], value, path)
    return _parse_scalar(hint, value, path)


def _parse_texts(value: Any, path: str) -> Texts:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidSpec(path, "must be an object whose values are texts")
    return tuple(sorted(value.items()))


def _parse_scalar(hint: type, value: Any, path: str) -> Any:
    if hint is Decimal:
        return _parse_score(value, path)
    if hint is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a quantity may be written as a bare integer
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise InvalidSpec(path, f"must be of type {hint.__name__}")
    return value


def _parse_score(value: Any, path: str) -> Decimal:
    try:
        if not re.fullmatch(r"-?[0-9]{1,4}(\.[0-9]{1,2})?", str(value)):
            raise InvalidOperation
        return Decimal(str(value))
    except InvalidOperation:
        raise InvalidSpec(
            path, f'{value!r} is not a score; write an integer or a quoted decimal such as "6.5"'
        ) from None
