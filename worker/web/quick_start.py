"""Cheap imports for the server: they are most of what it does before it answers."""

from __future__ import annotations

import gc
from importlib import import_module

from pydantic import BaseModel


def quick_imports() -> None:
    """Import FastAPI without building its models of OpenAPI; the collector of garbage is off until the server answers.

    What a start makes stays, so to look for garbage in it takes a sixth of the start for nothing. FastAPI's models of
    an OpenAPI document take a third of its own import, and are built when somebody asks for the document.
    """
    gc.disable()
    # A model takes over the configuration that its base has when it is defined.
    BaseModel.model_config["defer_build"] = True
    try:
        import_module("fastapi.openapi.models")
    finally:
        del BaseModel.model_config["defer_build"]
