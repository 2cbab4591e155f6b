"""Hooks: calls from other programs that make jobs, and what of a call becomes which variable."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads it at run time
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from worker.core.errors import InvalidJob, Problem
from worker.core.job import Model
from worker.core.record import Record
from worker.core.template import MAX_VALUE, TemplateName, VariableName

SHORTEST_SECRET: Final = 16
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Field_ = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]

IMPORTS: Final = ("Download", "MovieFileImported", "EpisodeFileImported")
"""The event by which Sonarr and Radarr report the import of a file."""
_IMPORTED: Final = ("episodeFile.path", "movieFile.path", "episodeFiles.0.path")
_TITLES: Final = ("series.title", "movie.title")


class Hook(Model):
    """A hook, as it is stored."""

    kind: Literal["github", "arr", "json"] = Field(
        description="`github`: a push, signed by GitHub. `arr`: Sonarr's and Radarr's import, with a password. `json`: "
        "any object, signed as our own webhooks are."
    )
    template: TemplateName = Field(description="The template that makes the job.")
    secret: Annotated[str, StringConstraints(max_length=500)] = Field(
        description="What the caller signs with; of `arr` the password."
    )
    variables: Annotated[
        dict[VariableName, Annotated[str, StringConstraints(max_length=MAX_VALUE)]], Field(max_length=50)
    ] = Field(default_factory=dict, description="Values for the template's variables.")
    fields: Annotated[dict[VariableName, Field_], Field(max_length=50)] = Field(
        default_factory=dict,
        description="Variables that the call gives, each with its place in the body: `repository.name`, `files.0`.",
    )
    source: Field_ | None = Field(
        None,
        description="Where in the body the source is, for a template that has one; by default a push's repository, an "
        "import's file, and the field `source`.",
    )
    branches: Annotated[tuple[Pattern, ...], Field(max_length=50)] = Field(
        (), description="Patterns of branches whose pushes count; by default the repository's own default branch."
    )
    repositories: Annotated[tuple[Pattern, ...], Field(max_length=200)] = Field(
        (), description="Patterns of repositories (`owner/name`) that may call; by default all that know the secret."
    )
    enabled: bool = Field(True, description="Whether calls make jobs.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.secret) < SHORTEST_SECRET:
            raise ValueError(f"a secret has at least {SHORTEST_SECRET} characters: shorter ones can be guessed")
        if self.kind != "github" and (self.branches or self.repositories):
            raise ValueError("branches and repositories belong to the kind github")
        return self

    @property
    def public_document(self) -> dict[str, Any]:
        """Return the document without its secret."""
        return self.model_dump(mode="json") | {"secret": "…"}


class StoredHook(Record):
    """A hook by its name."""

    name: str
    document: dict[str, Any]

    @property
    def hook(self) -> Hook:
        """Return what the document says."""
        return Hook.model_validate(self.document)


class HookView(Record):
    """A hook as people see it: `…` stands for its secret."""

    name: str
    document: dict[str, Any]

    @classmethod
    def of(cls, name: str, hook: Hook) -> HookView:
        """Return what is shown of a hook."""
        return cls(name=name, document=hook.public_document)


class HookCall(Record):
    """A call that was genuine, and what came of it: `submitted`, `known`, `waits`, `ignored`, `failed`."""

    hook: str
    digest: str
    event: str
    outcome: str
    subject: str
    job_id: str | None = None
    received_at: datetime | None = None


class HookRequest(Record):
    """The request of a call: a job of these variables and this source, or nothing, for this reason."""

    event: str
    ignored: str | None = None
    subject: str = ""
    content: str | None = None
    source: str | None = None
    variables: dict[str, str] = Field(default_factory=dict)


def value_at(body: Any, path: str) -> str | None:
    """Return the text at a place in a body, None where there is nothing; InvalidJob for an object or a list."""
    found = body
    for part in path.split("."):
        if isinstance(found, dict):
            found = found.get(part)
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    if found is None:
        return None
    if isinstance(found, bool):
        return "true" if found else "false"
    if not isinstance(found, str | int | float):
        raise InvalidJob([Problem(path, "is no text and no number")])
    if len(str(found)) > MAX_VALUE:
        raise InvalidJob([Problem(path, f"has more than {MAX_VALUE} characters")])
    return str(found)


def request_of(hook: Hook, event: str, body: Any, known: frozenset[str]) -> HookRequest:
    """Return what a call asks for; `known` are the template's variables, of which a call gives what it can."""
    if not isinstance(body, dict):
        raise InvalidJob([Problem("", "a call's body is a JSON object")])
    match hook.kind:
        case "github":
            asked = _pushed(hook, event, body, known)
        case "arr":
            asked = _imported(hook, body, known)
        case _:
            asked = HookRequest(event=event or "call", source=value_at(body, hook.source or "source"))
    if asked.ignored is not None:
        return asked
    stated = {name: text for name, path in hook.fields.items() if (text := value_at(body, path)) is not None}
    return asked.model_copy(update={"variables": hook.variables | asked.variables | stated})


def _pushed(hook: Hook, event: str, body: dict[str, Any], known: frozenset[str]) -> HookRequest:
    if event != "push":
        return HookRequest(event=event, ignored=f"it is no push but {event or 'nothing that GitHub names'}")
    repository, ref = value_at(body, "repository.full_name") or "", value_at(body, "ref") or ""
    branch, commit = ref.removeprefix("refs/heads/"), value_at(body, "after") or ""
    pushed = f"{repository} {branch}"
    if not ref.startswith("refs/heads/"):
        return HookRequest(event=event, ignored=f"{ref[:100]} is no branch")
    if body.get("deleted") is True or not commit.strip("0"):
        return HookRequest(event=event, ignored=f"the branch {branch[:100]} was deleted")
    wanted = hook.branches or (value_at(body, "repository.default_branch") or "main",)
    if not any(fnmatchcase(branch, pattern) for pattern in wanted):
        return HookRequest(event=event, ignored=f"the branch {branch[:100]} is none of {', '.join(wanted)}")
    if hook.repositories and not any(fnmatchcase(repository, pattern) for pattern in hook.repositories):
        return HookRequest(event=event, ignored=f"the repository {repository[:100]} is none of this hook's")
    address = value_at(body, hook.source or "repository.clone_url")
    given = {
        "repo_url": address,
        "repository": repository,
        "branch": branch,
        "commit": commit,
        "title": value_at(body, "repository.name"),
    }
    variables = {name: text for name, text in given.items() if text and name in known}
    return HookRequest(event=event, subject=pushed, content=f"{pushed} {commit}", source=address, variables=variables)


def _imported(hook: Hook, body: dict[str, Any], known: frozenset[str]) -> HookRequest:
    event = value_at(body, "eventType") or ""
    if event not in IMPORTS:
        return HookRequest(event=event, ignored=f"it is no import but {event[:100] or 'nothing that has a name'}")
    places = (hook.source,) if hook.source else _IMPORTED
    source = next((text for place in places if (text := value_at(body, place))), None)
    if source is None:
        raise InvalidJob([Problem(places[0], "is missing: the import names no file")])
    title = next((text for place in _TITLES if (text := value_at(body, place))), None)
    return HookRequest(event=event, source=source, variables={"title": title} if title and "title" in known else {})
