"""The templates that come with Leveret: there without being stored, until one of the same name is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from worker.core.template import StoredTemplate

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 0
"""The version of a shipped template; stored ones begin at 1."""
_SINCE: Final = datetime(2026, 11, 27, tzinfo=UTC)


@cache
def shipped_templates() -> Mapping[str, StoredTemplate]:
    """Return the templates by name."""
    found = sorted((one for one in files(__name__).iterdir() if one.name.endswith(".json")), key=lambda one: one.name)
    return {
        name: StoredTemplate(name=name, version=VERSION, document=json.loads(one.read_text("utf-8")), stored_at=_SINCE)
        for one in found
        for name in [one.name.removesuffix(".json")]
    }
