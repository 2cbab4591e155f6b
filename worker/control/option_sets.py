"""Option sets: options that many jobs share, stored in the database under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from worker.control.errors import NotFound
from worker.core.errors import InvalidJob, Problem
from worker.core.hints import nearest
from worker.core.job import TaskSpec
from worker.core.record import OptionSet
from worker.media.ffmpeg.options import Encoder, output_problems

if TYPE_CHECKING:
    from worker.control.resources import Control
    from worker.registry import Registry

MAX_NAME: Final = 200
FFMPEG: Final = "ffmpeg"


async def list_option_sets(control: Control, module: str | None = None) -> list[OptionSet]:
    """Return the option sets, or one module's, by module and name."""
    return await control.stores.option_sets(module)


async def get_option_set(control: Control, module: str, name: str) -> OptionSet:
    """Return one option set; NotFound names the nearest."""
    found = await control.stores.option_set(module, name)
    if found is not None:
        return found
    known = [option_set.name for option_set in await control.stores.option_sets(module)]
    raise NotFound(f"{module} has no option set {name!r}{nearest(name, known)}")


def checked_option_set(registry: Registry, module: str, name: str, document: Any) -> OptionSet:
    """Return the option set that a document says: its options alone, or `{"name": …, "options": {…}}`; InvalidJob."""
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidJob([Problem("name", f"a name has 1 to {MAX_NAME} characters")])
    options = options_in(document, module, name)
    check_options(registry, module, options)
    return OptionSet(module=module, name=name, options=options)


async def put_option_set(control: Control, module: str, name: str, document: Any) -> OptionSet:
    """Store or replace one option set."""
    option_set = checked_option_set(control.modules(), module, name, document)
    await control.stores.put_option_set(option_set)
    return option_set


async def delete_option_set(control: Control, module: str, name: str) -> None:
    """Delete one option set; NotFound when there is none."""
    if not await control.stores.delete_option_set(module, name):
        raise NotFound(f"{module} has no option set {name!r}")


def options_in(value: Any, module: str, name: str) -> dict[str, Any]:
    """Return the options in a document; those of a document that names itself otherwise are refused."""
    if not isinstance(value, dict):
        raise InvalidJob([Problem("", "options are a JSON object")])
    if not isinstance(value.get("options"), dict) or not value.keys() <= {"name", "module", "options"}:
        return value
    for key, asked in (("name", name), ("module", module)):
        if value.get(key, asked) != asked:
            raise InvalidJob([Problem(key, f"the document says {value[key]!r}, the command {asked!r}")])
    return dict(value["options"])


def check_options(registry: Registry, module: str, options: dict[str, Any]) -> None:
    """Return if the module is known and, for ffmpeg, its model takes the options and none names a file.

    Which options an encoder has, only the ffmpeg that will run knows: the worker asks it.
    """
    if module not in registry.tasks:
        raise NotFound(f"unknown module {module!r}{nearest(module, registry.tasks)}")
    if module != FFMPEG:
        return
    probe = {
        "sources": ["input.mkv"],
        "source_maps": [{"source": 0}],
        "output_maps": [{"stream": 0, "options": options}],
        "output_file": "output.mkv",
    }
    try:
        registry.parse(TaskSpec(module, probe, ""))
    except InvalidJob as error:
        raise InvalidJob(Problem(_own_path(item.path), item.message) for item in error.problems) from error
    any_encoder = Encoder("", "", "", frozenset(options))
    if problems := tuple(output_problems(options, None, any_encoder, "options")):
        raise InvalidJob(problems)


def _own_path(path: str) -> str:
    return path.removeprefix(".").removeprefix("output_maps[0].")
