"""The bodies of requests that endpoints read themselves, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Final

BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}
