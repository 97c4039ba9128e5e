"""Specs drawn from the schema of the CRD: whatever a user may write, but for grammars that only CEL knows.

Those are given here by the name of the field; a field without one is drawn from its type and bounds, and a new field of
text fails until it has one.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from tests.contract.test_crd import ROOT

Strategy = st.SearchStrategy[Any]

MOST_ITEMS = 4
MARK = "probe_{0} = {0};\n"
"""Text of a file of one's own, with a number by which it is found again."""

NETWORKS = st.sampled_from(["192.0.2.25", "192.0.2.0/24", "2001:db8::25", "2001:db8::/32", "10.0.0.0/8"])
DOMAINS = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]\.(example|test)", fullmatch=True)
WORDS = st.from_regex(r"[A-Z][A-Za-z0-9_-]{0,20}", fullmatch=True)
LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True)
FILES = st.sampled_from(
    [
        *(
            f"{directory}.d/{name}.conf"
            for directory in ("local", "override")
            for name in ("arc", "rbl", "spf", "phishing")
        ),
        *(f"local.d/{name}.conf" for name in ("greylist", "multimap", "ratelimit", "milter_headers")),
        *("local.d/options.inc", "local.d/maps.d/own", "maps/own", "maps/other"),
    ]
)
OPTIONS = st.one_of(
    st.integers(-9999, 9999).map(str),
    st.decimals(-99, 99, places=2).map(str),
    st.sampled_from(["true", "false", "10s", "5min", "2h", "10mb", "a b", "10 s", "0x10", "1e5", "truely", "*:25"]),
    LINES,
)


def scores(least: int) -> Strategy:
    """Scores as whole numbers and as decimals in quotes."""
    return st.one_of(st.integers(least, 9999), st.decimals(Decimal(least), 9999, places=2).map(str))


def quantities(*texts: str) -> Strategy:
    return st.sampled_from(texts)


GRAMMARS: dict[str, Strategy] = {
    r"image\.repository": st.just("registry.example.com/mail/mailfilter"),
    r"image\.tag": st.just("0.1.0"),
    r"image\.digest": st.just("sha256:" + "0" * 64),
    r"pullSecrets\[\]|(Ref|Refs\[\])\.name": NAMES,
    r"(Ref|Refs\[\])\.key": WORDS,
    r"domains\[\]\.name|(allow|deny)\.domains\[\]": DOMAINS,
    r"dkim\.selector": NAMES,
    r"rotationID": st.from_regex(r"[-A-Za-z0-9._:]{0,20}", fullmatch=True),
    r"interval|overlap|removeAfter": st.sampled_from(["90s", "30m", "12h", "7d", "1d12h"]),
    r"exclude\[\]": st.from_regex(r"Own\.[A-Za-z0-9._+/@-]{1,20}[a-z0-9]", fullmatch=True),
    r"maxAge": st.sampled_from(["1h", "96h", "7d", "1d12h"]),
    r"prefix": st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True),
    r"revoked\[\]": st.just("mx-dkim-a379a6f6ee-r0"),
    r"resolvers\[\]": st.sampled_from(["192.0.2.53", "[2001:db8::53]:5353"]),
    r"mechanisms\[\]": st.sampled_from(["mx", "a", "ip4:192.0.2.0/24", "include:spf.example.net"]),
    r"aggregateReports\[\]": st.just("mailto:postmaster@example.com"),
    r"(n|secureN)etworks\[\]": NETWORKS,
    r"(allow|deny)\.from\[\]": st.builds(
        "{}@{}".format, st.from_regex(r"[a-zA-Z0-9.+-]{1,20}", fullmatch=True), DOMAINS
    ),
    r"groups\[\]\.name": st.one_of(WORDS, st.sampled_from(["antivirus", "rbl", "policies", "mailfilter"])),
    r"symbols\[\]\.name": WORDS,
    r"symbols\[\]\.score": scores(-9999),
    r"symbols\[\]\.description": LINES,
    r"actions\.\w+": st.one_of(scores(1), st.just("Disabled")),
    r"maxScore": scores(1),
    r"secretRefs\[\]\.path": FILES,
    r"mirrorURL": st.just("http://mirror.test:8080/clamav"),
    r"customURLs\[\]": st.sampled_from(
        ["http://s.test/a.ndb", "https://s.test/b%20c/d.hdb", "http://[2001:db8::1]/e.yar"]
    ),
    r"maxMessageSize": quantities("1Mi", "10M", "50Mi", "104857600", "500Mi"),
    r"\.cpu": quantities("10m", "2", "0.5"),
    r"\.memory": quantities("64Mi", "3Gi", "9000M"),
}
"""What a text or score may be, by the end of the path of its field."""


def draw(schema: dict[str, Any], path: str) -> Strategy:
    """Values of a field of the schema."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object" if "additionalProperties" in schema:
            return st.dictionaries(*_draw_map(path), max_size=MOST_ITEMS)
        case "object":
            fields = {name: draw(child, f"{path}.{name}") for name, child in schema["properties"].items()}
            required = {name: fields.pop(name) for name in schema.get("required", ())}
            return st.fixed_dictionaries(required, optional=fields)
        case "array":
            keys = schema.get("x-kubernetes-list-map-keys")
            unique = (lambda item: tuple(item[key] for key in keys)) if keys else repr
            return st.lists(draw(schema["items"], f"{path}[]"), max_size=MOST_ITEMS, unique_by=unique)
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "boolean":
            return st.booleans()
        case _:
            grammar = next((found for end, found in GRAMMARS.items() if re.search(rf"({end})$", path)), None)
            assert grammar is not None, f"{path} needs a grammar"
            return grammar


def _draw_map(path: str) -> tuple[Strategy, Strategy]:
    if path.endswith(".files"):
        return FILES, st.integers(700_000, 799_999).map(MARK.format)
    return st.from_regex(r"x_[a-z0-9_]{1,20}", fullmatch=True), OPTIONS


def settle(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with what CEL demands of several fields together."""
    actions = spec.get("actions", {})
    order = [name for name in ("greylist", "addHeader", "rewriteSubject", "reject") if name in actions]
    kept = sorted({Decimal(actions[name]) for name in order if actions[name] != "Disabled"})
    actions.update({name: str(kept.pop(0)) if kept and actions[name] != "Disabled" else "Disabled" for name in order})
    for domain in spec.get("domains", ()):
        # No Secret is there to hold one.
        domain.get("dkim", {}).pop("privateKeySecretRef", None)
    signatures = spec.get("antivirus", {}).get("signatures", {})
    # What these name has a form of its own; tests/image/test_way_out.py uses them.
    signatures.pop("proxySecretRef", None)
    signatures.pop("caBundleRef", None)
    if signatures.get("source") == "Mirror":
        signatures["mirrorURL"] = "http://mirror.test:8080/clamav"
    else:
        signatures.pop("mirrorURL", None)
    if signatures.get("source") == "CustomOnly" and not signatures.get("customURLs"):
        signatures["customURLs"] = ["http://s.test/a.ndb"]
    return spec


SPECS = draw(ROOT["properties"]["spec"], "spec").map(settle)
