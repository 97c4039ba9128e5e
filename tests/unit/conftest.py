"""How hard properties are tried: the whole core is tested in two seconds."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("core", max_examples=25, deadline=None)
settings.load_profile("core")
