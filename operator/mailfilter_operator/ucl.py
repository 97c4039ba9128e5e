"""Values as rspamd's configuration language (UCL) reads them: one function per kind of value, each total."""

import json
import re
from decimal import Decimal
from typing import Any

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?(ms|s|min|h|d|w|y|[kmg]b?)?")
_BOOLEANS = ("true", "false", "yes", "no", "on", "off")


def quote_ucl(value: Any) -> str:
    r"""A string, boolean or list of strings in rspamd's configuration language.

    UCL reads JSON strings. Braces and `$` are written as escapes, because rspamd expands its own template marks in the
    text of a file before UCL reads it, and UCL expands variables before it reads escapes.

    >>> print(quote_ucl('a "b" {{ c }} $DBDIR'))
    "a \"b\" \u007b\u007b c \u007d\u007d \u0024DBDIR"
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(quote_ucl(item) for item in value) + "]"
    text = json.dumps(str(value), ensure_ascii=False)
    return text.replace("{", "\\u007b").replace("}", "\\u007d").replace("$", "\\u0024")


def write_score(value: Decimal | str) -> str:
    """A score as rspamd reads it; null switches an action off."""
    return "null" if value == "Disabled" else format(Decimal(value).normalize(), "f")


def write_option(text: str) -> str:
    """A worker option as rspamd reads it: numbers, times, sizes and booleans as such, all else as a string.

    >>> write_option("10s"), write_option("true"), write_option("master-slave:a")
    ('10s', 'true', '"master-slave:a"')
    """
    return text if text in _BOOLEANS or _NUMBER.fullmatch(text) else quote_ucl(text)
