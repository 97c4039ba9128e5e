"""Raw text that must not serve, each kind with who refuses it and what has to be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MULTIMAP = "local.d/multimap.conf"
RBL = "local.d/rbl.conf"
SETTINGS = "local.d/settings.conf"
OPTIONS = "local.d/options.inc"
EVERYBODY = "maps/everybody"
SECRET = "raw-text"  # noqa: S105 - the name of one
KEY = "text"

SCHEMA = "schema"
"""The API server refuses it."""
OPERATOR = "InvalidSpec"
"""The operator refuses it without asking a pod."""
POD = "ConfigRefused"
"""The pod that tries it refuses it."""


@dataclass(frozen=True)
class Bad:
    """One kind of bad text: part of a spec, who refuses it, what is said, and what a Secret holds that it names."""

    name: str
    spec: Mapping[str, Any]
    says: tuple[str, ...]
    by: str = POD
    secret: str = field(default="", repr=False)


def file(name: str, path: str, text: str, *says: str, by: str = POD, **maps: str) -> Bad:
    """One file, and maps that it names."""
    files = {path: text, **{f"maps/{map_name}": content for map_name, content in maps.items()}}
    return Bad(name, {"config": {"files": files}}, says, by)


def _in_lua(text: str) -> str:
    return f"custom {{ own = <<EOD\n{text}\nEOD\n}}\n"


def _everybody(kind: str, action: str) -> str:
    return f'OWN {{ type = "{kind}"; map = "$LOCAL_CONFDIR/{EVERYBODY}"; regexp = true; action = "{action}"; }}\n'


SYNTAX = (
    file("no value", RBL, "timeout = 5s;\nenabled = ;\n", f"{RBL}: line: 2, column: 10"),
    file("no value, lines of Windows", RBL, "timeout = 5s;\r\nenabled = ;\r\n", f"{RBL}: line: 2"),
    file("an open brace", RBL, 'rbls {\n  own { rbl = "bl.example";\n', f"{RBL}:3 unmatched open brace"),
    file("a brace too many", RBL, "enabled = false;\n}\n", "closed with } is not opened"),
    file("another section", RBL, "}\nantivirus { clamav { enabled = false; }\n", f"{RBL}:3 unmatched open brace"),
    file("an open quote", RBL, 'own = "text;\nenabled = false;\n', f"{RBL}: line: 1", "unexpected newline"),
    file("an open block of text", RBL, "own = <<EOD\ntext\n", f"{RBL}: at the end", "unterminated multiline"),
    file("an open comment", RBL, "/* text\nenabled = false;\n", f"{RBL}: at the end", "unfinished multiline comment"),
    file("JSON with another bracket", RBL, '{"own": [1, 2}\n', f"{RBL}: line: 1, column: 13"),
    file("an unknown macro", RBL, '\n.frobnicate "text"\n', f"{RBL}:2", "unknown macro: 'frobnicate'"),
    file("no text at all", RBL, "\x01\x02\x7fELF\x03\n", f"{RBL}: line: 1", "'key must begin with a letter'"),
    file("a brace after a zero byte", RBL, "enabled = false;\x00\n}}}\n", f"{RBL}:2", "closed with } is not opened"),
    file("a mark of byte order before an error", RBL, "\ufeff{{{\n", f"{RBL}: line: 1"),
    file("a template's value", RBL, "{{ env.HOME }}\n", f"{RBL}: line: 1", "key must begin with a letter"),
    file("a template's branch", RBL, "enabled = false;\n{% if x %}\n{% endif %}\n", f"{RBL}: line: 2"),
    file("a template's expression", RBL, "{= env.HOME =}\n", f"{RBL}: line: 1", "key must begin with a letter"),
)

INCLUDES = (
    file("an include of a missing file", RBL, '.include "$LOCAL_CONFDIR/maps/none"\n', "cannot open file maps/none"),
    file(
        "a signed include of a missing file", RBL, '.includes "/etc/rspamd/none"\n', "cannot open file /etc/rspamd/none"
    ),
    file("an include of itself", RBL, f'.include "$LOCAL_CONFDIR/{RBL}"\n', f"include the file {RBL} from itself"),
    file("an include of a device", RBL, '.include "/dev/zero"\n', "/dev/zero is not a regular file"),
    file("an include of the private keys", RBL, '.include(glob=true) "$LOCAL_CONFDIR/keys/*.key"\n', ".key: line: 1"),
    file(
        "an include from the net", RBL, '.include "http://127.0.0.1:1/own"\n', "cannot open file http://127.0.0.1:1/own"
    ),
)

JUDGEMENTS = (
    file(
        "a multimap that accepts everything",
        MULTIMAP,
        _everybody("ip", "accept"),
        "clean mail",
        "before it is judged",
        everybody="0.0.0.0/0\n192.0.2.0/24\n",
    ),
    file(
        "a multimap that accepts all senders",
        MULTIMAP,
        _everybody("from", "accept"),
        "before it is judged",
        everybody="/.*/\n",
    ),
    file(
        "a multimap that rejects everything",
        MULTIMAP,
        _everybody("from", "reject"),
        "clean mail",
        "not let through",
        everybody="/.*/\n",
    ),
    file(
        "a multimap that defers everything",
        MULTIMAP,
        _everybody("from", "soft reject"),
        "soft reject",
        everybody="/./\n",
    ),
    file(
        "a multimap that rejects the own users",
        MULTIMAP,
        _everybody("user", "reject"),
        "outgoing mail",
        "not let through",
        everybody="/.*/\n",
    ),
    file(
        "settings without the virus scan",
        SETTINGS,
        'own { from = "/./"; apply { symbols_disabled = ["CLAM_VIRUS"]; } }\n',
        "clean mail",
        "Virus scan failed",
    ),
    file(
        "settings without the antivirus group",
        SETTINGS,
        'own { from = "/./"; apply { groups_disabled = ["antivirus"]; } }\n',
        "Virus scan failed",
    ),
    file(
        "settings that whitelist everybody",
        SETTINGS,
        'own { from = "/./"; whitelist = true; }\n',
        "before it is judged",
    ),
    file(
        "options without the module that signs",
        "local.d/options.inc",
        'filters = "chartable,regexp";\n',
        "dkim is disabled",
    ),
    file(
        "settings that find a virus everywhere",
        SETTINGS,
        'own { from = "/./"; apply { symbols { CLAM_VIRUS = 1; } } }\n',
        "duplicate symbol: CLAM_VIRUS",
    ),
    file(
        "settings that reject the own users",
        SETTINGS,
        "own { authenticated = true; apply { actions { reject = -1; } } }\n",
        "outgoing mail",
        "not let through",
    ),
    file("filters without signing", OPTIONS, 'filters = "spf";\n', "dkim is disabled"),
    file("options without GTUBE", OPTIONS, 'gtube_patterns = "disabled";\n', "GTUBE", "is not refused"),
    file(
        "a score that rejects all mail",
        "local.d/mime_types_group.conf",
        "max_score = 300;\nsymbols { MIME_GOOD { weight = 300; } }\n",
        "clean mail",
        "not let through",
    ),
    file(
        "an expression that fits all mail",
        "local.d/regexp.conf",
        'OWN { re = "/[a-z]/{mime}"; score = 100; }\n',
        "clean mail",
        "not let through",
    ),
)

COMPLAINTS = (
    file(
        "a regular expression without an end",
        "local.d/regexp.conf",
        'OWN { re = "/(/"; score = 1; }\n',
        "could not read regexp",
    ),
    file(
        "a bad regular expression in a map",
        MULTIMAP,
        _everybody("from", "accept"),
        "missing closing parenthesis",
        everybody="/cheap (watches/\n",
    ),
    file("Lua that is none", "local.d/milter_headers.conf", _in_lua("this is no Lua"), 'could not load "own"'),
    file(
        "a condition in Lua that is none",
        "local.d/classifier-bayes.conf",
        "learn_condition = <<EOD\nthis is no Lua\nEOD\n",
        "cannot load lua script",
    ),
    file(
        "a multimap of an unknown type",
        MULTIMAP,
        _everybody("colour", "accept"),
        "cannot add rule OWN: invalid type colour",
    ),
    file("a multimap without a map", MULTIMAP, 'OWN { type = "from"; }\n', "incomplete rule, missing map"),
    file(
        "a list of the wrong types",
        RBL,
        "rbls { own { rbl = 5; from = true; symbol = {}; } }\n",
        "invalid config for own",
    ),
    file(
        "a composite with an open bracket",
        "local.d/composites.conf",
        'OWN { expression = "CLAM_VIRUS & ("; }\n',
        "Braces mismatch",
    ),
    file(
        "a weight in words",
        "local.d/headers_group.conf",
        'symbols { MISSING_TO { weight = "heavy"; } }\n',
        "not numeric",
        "MISSING_TO",
    ),
    file(
        "a classifier of nonsense",
        "local.d/classifier-bayes.conf",
        "statfile { symbol = 5; }\n",
        "statfile",
    ),
    file("a log format that is none", "local.d/logging.inc", 'log_format = "$nonsense{";\n', "cannot parse log format"),
    file("a domain list that is missing", OPTIONS, 'url_tld = "/nowhere";\n', "/nowhere"),
    file("a name server that is a number", OPTIONS, "dns { nameserver = 5; }\n", "cannot parse DNS nameservers"),
    file("a name server by its name", OPTIONS, 'dns { nameserver = "dns.example"; }\n', "cannot parse DNS nameservers"),
    file("a history that is less than none", OPTIONS, "history_rows = -1;\n", "does not start"),
    file("a history that takes a gibibyte", OPTIONS, "history_rows = 1000000;\n", "does not start"),
    file(
        "Lua that takes all memory",
        "local.d/milter_headers.conf",
        _in_lua('local t = {} while true do t[#t + 1] = ("x"):rep(1048576) .. #t end'),
        "not enough memory",
    ),
    file(
        "Lua that takes all memory once rspamd runs",
        "local.d/milter_headers.conf",
        _in_lua(
            'if io.open("/proc/self/comm"):read("*l") ~= "rspamadm" then '
            'local t = {} while true do t[#t + 1] = ("x"):rep(1048576) .. #t end end'
        ),
        "not enough memory",
    ),
    file("a history larger than the memory", OPTIONS, "history_rows = 100000000;\n", "does not start"),
    Bad(
        "a worker's option in words",
        {"workers": {"proxy": {"options": {"max_retries": "many"}}}},
        ("cannot convert string to integer in option max_retries",),
    ),
)

HANGING = (
    file("Lua that never ends", "local.d/milter_headers.conf", _in_lua("while true do end"), "endless loop"),
    file(
        "rspamd that starts and never answers",
        "local.d/milter_headers.conf",
        _in_lua('if io.open("/proc/self/comm"):read("*l") ~= "rspamadm" then while true do end end'),
        "does not start",
    ),
)

SECRETS = (
    Bad(
        "a Secret with an error",
        {"config": {"secretRefs": [{"name": SECRET, "key": KEY, "path": RBL}]}},
        (f"{RBL}: line: 2, column: 10", "more is not shown"),
        secret="timeout = 5s;\nhunter2 = ;\n",  # noqa: S106 - what must not be shown
    ),
    Bad(
        "a Secret that rspamd complains of",
        {"config": {"secretRefs": [{"name": SECRET, "key": KEY, "path": MULTIMAP}]}},
        ("rspamd does not accept it", "more is not shown"),
        secret='hunter2 { type = "colour"; map = "hunter2"; }\n',  # noqa: S106
    ),
)

REFUSED_BY_OPERATOR = (
    Bad(
        "files and options that are together too long",
        {
            "config": {"files": {"maps/long": "x" * 491_200}},
            "workers": {"proxy": {"options": {"own": "x" * 250, "other": "x" * 250}}},
        },
        ("spec.config", "more than the 491520 that fit"),
        OPERATOR,
    ),
    Bad(
        "a Secret that is missing",
        {"config": {"secretRefs": [{"name": "none", "key": KEY, "path": RBL}]}},
        ("spec.config.secretRefs[0]", "there is no Secret none"),
        "InvalidReference",
    ),
    Bad(
        "a file that stands in the spec and in a Secret",
        {"config": {"files": {RBL: ""}, "secretRefs": [{"name": SECRET, "key": KEY, "path": RBL}]}},
        ("spec.config.secretRefs[0].path", "set twice"),
        OPERATOR,
        secret="enabled = true;\n",  # noqa: S106
    ),
)

_OFF = "enabled = false;\n"
REFUSED_BY_SCHEMA = (
    file("a file of 900 KiB", "maps/long", "0123456789abcde\n" * 57_600, "480 KiB", by=SCHEMA),
    Bad(
        "a hundred and one files",
        {"config": {"files": {f"maps/m{n}": "" for n in range(101)}}},
        ("spec.config.files", "100"),
        SCHEMA,
    ),
    file("a path out of the directories", "local.d/../rspamd.conf", _OFF, "write local.d/NAME", by=SCHEMA),
    file("a file beside the directories", "rspamd.conf.local", _OFF, "write local.d/NAME", by=SCHEMA),
    file("the virus scan switched off", "local.d/antivirus.conf", _OFF, "leave out antivirus.conf", by=SCHEMA),
    file(
        "the virus scan switched off in override.d",
        "override.d/antivirus.conf",
        _OFF,
        "leave out antivirus.conf",
        by=SCHEMA,
    ),
    file("signing switched off", "override.d/dkim_signing.conf", _OFF, "leave out antivirus.conf", by=SCHEMA),
    file("forced actions switched off", "local.d/force_actions.conf", _OFF, "leave out antivirus.conf", by=SCHEMA),
    file(
        "the guard switched off",
        "local.d/mailfilter.conf",
        "require_scan = false;\n",
        "leave out antivirus.conf",
        by=SCHEMA,
    ),
    file(
        "the guard switched off outside of any section",
        "local.d/statistic.conf",
        "mailfilter { require_scan = false; }\n",
        "leave out antivirus.conf",
        by=SCHEMA,
    ),
    file(
        "the virus scan switched off outside of any section",
        "override.d/groups.conf",
        "antivirus { clamav { enabled = false; } }\n",
        "leave out antivirus.conf",
        by=SCHEMA,
    ),
    file(
        "another socket", "local.d/worker-proxy.inc", 'bind_socket = "*:25";\n', "leave out antivirus.conf", by=SCHEMA
    ),
    file("options above the operator's", "override.d/options.inc", "task_timeout = 1ms;\n", "in local.d", by=SCHEMA),
    Bad(
        "a worker's socket",
        {"workers": {"proxy": {"options": {"bind_socket": "*:25"}}}},
        ("leave out", "bind_socket"),
        SCHEMA,
    ),
    Bad(
        "an option in two lines",
        {"workers": {"proxy": {"options": {"own": "1;\nmilter = false"}}}},
        ("one line",),
        SCHEMA,
    ),
)

KINDS = (
    *REFUSED_BY_SCHEMA,
    *REFUSED_BY_OPERATOR,
    *SYNTAX,
    *INCLUDES,
    *JUDGEMENTS,
    *COMPLAINTS,
    *HANGING,
    *SECRETS,
)
BY_POD = tuple(kind for kind in KINDS if kind.by == POD)
IN_CLUSTER = (
    *REFUSED_BY_SCHEMA,
    *REFUSED_BY_OPERATOR,
    *SYNTAX[1::4],
    *INCLUDES[::3],
    *JUDGEMENTS[::4],
    *COMPLAINTS[::5],
    *HANGING[:1],
    *SECRETS,
)
"""Those that are tried through the API server; the rest of what pods judge is asked of a pod alone."""
