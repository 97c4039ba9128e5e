"""Kubernetes quantities: 250m, 1.5, 512Mi."""

import re
from decimal import Decimal

_SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("k", "M", "G", "T", "P"), start=1)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), start=1)},
}


def parse_quantity(text: str) -> Decimal:
    """Number that a quantity stands for. Raises ValueError.

    >>> parse_quantity("50Mi"), parse_quantity("250m")
    (Decimal('52428800'), Decimal('0.250'))
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)([A-Za-z]*)", text)
    if not match or match[2] not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a quantity such as 250m, 1.5 or 512Mi")
    return Decimal(match[1]) * _SUFFIXES[match[2]]
