"""The options of the `gource` module, in the command line's spelling and in plain names."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    model_validator,
)

from visualizers import LONGEST_SECONDS, SceneParams
from visualizers.gitlog import clean, parse_date
from worker.core.job import Model, Place

MAX_AVATARS: Final = 200
MAX_REPOSITORIES: Final = 20
TYPES: Final = "types"
_SIZE: Final = re.compile(r"-?(\d{2,4})x(\d{2,4})")
_TIME_OF_DAY: Final = re.compile(r"\d \d{2}:\d{2}")
_WIDEST: Final = 3840
_TALLEST: Final = 2160
_LEAST: Final = 64


def size_of(text: str) -> tuple[int, int]:
    """Return width and height of `1280x720`, a leading dash tolerated; ValueError for what no film can have."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no resolution; write 1280x720")
    width, height = int(found[1]), int(found[2])
    if not (_LEAST <= width <= _WIDEST and _LEAST <= height <= _TALLEST):
        raise ValueError(f"{text} is no resolution from {_LEAST}x{_LEAST} to {_WIDEST}x{_TALLEST}")
    if width % 2 or height % 2:
        raise ValueError(f"{text} has an odd side; films have even ones")
    return width, height


def _resolution(text: str) -> str:
    width, height = size_of(text)
    return f"{width}x{height}"


def _date(value: Any) -> Any:
    return parse_date(value) if isinstance(value, str) else value


def _stop_date(value: Any) -> Any:
    """Return the moment of a stop date: the end of its day where no time is given."""
    if not isinstance(value, str):
        return value
    parsed = parse_date(value)
    return parsed if _TIME_OF_DAY.search(value) else parsed + timedelta(days=1, seconds=-1)


def _flag(value: Any) -> Any:
    """Return True for a flag that is written without a value, as command lines have it."""
    return True if value is None or value == "" else value


def plain(text: str) -> str:
    """Return `text` as one line: what controls a terminal or a line is a blank."""
    return "".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c for c in text)


def option(name: str, *more: str) -> AliasChoices:
    """Return the spellings of an option: `start_date` and `--start-date`, and `more`."""
    return AliasChoices(name, "--" + name.replace("_", "-"), *more)


Number = Annotated[float, Field(allow_inf_nan=False)]
Resolution = Annotated[str, StringConstraints(max_length=16), AfterValidator(_resolution)]
Date = Annotated[AwareDatetime, BeforeValidator(_date)]
StopDate = Annotated[AwareDatetime, BeforeValidator(_stop_date)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Line = Annotated[str, AfterValidator(plain)]
Colour = Annotated[str, StringConstraints(pattern=r"^#?[0-9A-Fa-f]{6}$"), AfterValidator(lambda t: t.removeprefix("#"))]
Part = Literal[
    "bloom", "date", "dirnames", "files", "filenames", "progress", "root", "tree", "users", "usernames"
]  # fmt: skip


class Avatar(Model):
    """The picture of an author, by the name that the history has."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^/]+$")]
    image: Place


Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Token = Annotated[str, StringConstraints(max_length=4096)]


def _folder(text: str) -> str:
    """Return the path of a folder; ValueError for one that gource would draw otherwise than it is written."""
    for part in text.split("/"):
        if part in {"", ".", ".."} or clean(part) != part:
            raise ValueError(f"{text[:60]!r} is no folder of a film: write names with `/` between them")
    return text


class FilmedRepository(Model):
    """One of several repositories of a film."""

    repo_url: Url = Field(
        validation_alias=AliasChoices("repo_url", "repoURL", "url"), description="The repository, as above."
    )
    folder: Annotated[str, StringConstraints(max_length=100), AfterValidator(_folder)] | None = Field(
        None, description="The folder that its files are in; by default the last name of its address."
    )
    colour: (
        Annotated[
            str,
            StringConstraints(pattern=r"^(types|#?[0-9A-Fa-f]{6})$"),
            AfterValidator(lambda text: text.removeprefix("#")),
        ]
        | None
    ) = Field(
        None,
        description="The colour of all its files, in six hexadecimal digits, or `types` for one by each file's type; "
        "by default one of its own.",
    )
    token: Token | None = Field(None, repr=False, description="What lets us read it; no other repository gets it.")

    @property
    def top(self) -> str:
        """Return the folder that its files are in."""
        if self.folder is not None:
            return self.folder
        names = [clean(name.removesuffix(".git")) for name in unquote(urlsplit(self.repo_url).path).split("/")]
        return next((name for name in reversed(names) if name not in {"", ".", ".."}), "repository")


class GourceParams(SceneParams):
    """The history of a repository, or of several, as a film."""

    repo_url: Url | None = Field(
        None,
        validation_alias=AliasChoices("repo_url", "repoURL"),
        description="The repository, over https; file: only where a worker allows it.",
    )
    repositories: list[FilmedRepository] = Field(
        default_factory=list,
        max_length=MAX_REPOSITORIES,
        description="In place of `repo_url`: several repositories in one film, each in a folder of its own. Their "
        "commits are drawn in the order of time, and bounds are those of all of them together.",
    )
    token: Token | None = Field(
        None,
        repr=False,
        description="What lets us read `repo_url`. It reaches no log, no record and no command line.",
    )
    mailmap: Flag = Field(
        default=True, description="Whether authors are named as the repository's own `.mailmap` says, as git log does."
    )
    resolution: Resolution = Field(
        "1280x720", validation_alias=option("resolution"), description="Width and height; even, at most 3840x2160."
    )
    output_framerate: Literal[25, 30, 60] = Field(
        30, validation_alias=option("output_framerate", "framerate"), description="Frames a second."
    )
    output_ppm_stream: Literal["-"] = Field(
        "-", validation_alias=option("output_ppm_stream"), description="Only `-`: the frames go to the encoder."
    )
    start_date: Date | None = Field(
        None, validation_alias=option("start_date"), description="The first commits' date: YYYY-MM-DD hh:mm:ss +tz."
    )
    stop_date: StopDate | None = Field(
        None, validation_alias=option("stop_date"), description="The last commits' date; without a time its whole day."
    )
    start: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0, validation_alias=option("start", "--start-position"), description="Where in the history the film begins."
    )
    stop: Annotated[Number, Field(ge=0, le=1)] = Field(
        1.0, validation_alias=option("stop", "--stop-position"), description="Where in the history it ends."
    )
    stop_at_time: Annotated[Number, Field(gt=0, le=LONGEST_SECONDS)] | None = Field(
        None, validation_alias=option("stop_at_time"), description="Seconds after which gource looks for an end."
    )
    seconds_per_day: Annotated[Number, Field(gt=0, le=3600)] | None = Field(
        None, validation_alias=option("seconds_per_day"), description="The speed; by default that of `length`."
    )
    length: Annotated[Number, Field(gt=0, le=LONGEST_SECONDS)] = Field(
        60.0,
        description="Without a speed: how long the film is, in seconds, within 2 %. Gource draws on for some 13 s "
        "after the last commit, divided by `time_scale`: a film that cannot be as short has a warning.",
    )
    auto_skip_seconds: Annotated[Number, Field(gt=0, le=3600)] = Field(
        0.5, validation_alias=option("auto_skip_seconds"), description="After how long without a commit to go on."
    )
    time_scale: Annotated[Number, Field(ge=0.1, le=4)] = Field(
        1.0, validation_alias=option("time_scale"), description="How fast everything moves."
    )
    elasticity: Annotated[Number, Field(ge=0, le=10)] = Field(
        0.0, validation_alias=option("elasticity"), description="How folders swing."
    )
    key: Flag = Field(default=False, validation_alias=option("key"), description="Whether file types are explained.")
    bloom_multiplier: Annotated[Number, Field(gt=0, le=10)] = Field(
        1.0, validation_alias=option("bloom_multiplier"), description="How far things glow."
    )
    bloom_intensity: Annotated[Number, Field(gt=0, le=10)] = Field(
        0.75, validation_alias=option("bloom_intensity"), description="How much things glow."
    )
    title: Annotated[Line, StringConstraints(max_length=1000)] | None = Field(
        None,
        validation_alias=option("title"),
        description="What is written below the film: "
        "left to right, with one font of the worker that has every character, else the job is refused.",
    )
    hide: list[Part] = Field(default_factory=list, max_length=10, description="What is not drawn.")
    background_colour: Colour = Field(
        "000000", validation_alias=option("background_colour"), description="Six hexadecimal digits."
    )
    highlight_users: Flag = Field(
        default=False, validation_alias=option("highlight_users"), description="Whether names stay when people rest."
    )
    avatars: list[Avatar] = Field(
        default_factory=list, max_length=MAX_AVATARS, description="Pictures of authors: names and image files."
    )
    avatar_folder: Place | None = Field(
        None,
        validation_alias=AliasChoices("avatar_folder", "user_image_dir", "--user-image-dir"),
        description="A folder of pictures, each named after its author: `Ada Lovelace.png`. `avatars` comes first.",
    )
    default_avatar: Place | None = Field(None, description="The picture of everybody else.")
    captions: Place | None = Field(
        None, description="A text file of lines `seconds since 1970|caption`, or `date|caption`."
    )
    audio: Place | None = Field(None, description="What is heard, from its start; silence follows its end.")
    logo: Place | None = Field(None, description="A picture in the corner.")
    background: Place | None = Field(None, description="A picture behind it all.")

    @model_validator(mode="after")
    def _in_order_too(self) -> GourceParams:
        if self.start >= self.stop:
            raise ValueError("needs start below stop")
        if self.start_date is not None and self.stop_date is not None and self.start_date > self.stop_date:
            raise ValueError("needs start_date before stop_date")
        return self

    @model_validator(mode="after")
    def _of_repositories(self) -> GourceParams:
        if (self.repo_url is None) != bool(self.repositories):
            raise ValueError("needs either repo_url or repositories")
        if self.repositories and self.token is not None:
            raise ValueError("token is that of repo_url: each of repositories has its own")
        tops = sorted((*one.top.split("/"), "") for one in self.repositories)
        for one, other in pairwise(tops):
            if other[: len(one) - 1] == one[:-1]:
                place = "/".join(one[:-1])
                raise ValueError(f"two repositories have the folder {place[:60]!r}, or one is inside: name others")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height."""
        return size_of(self.resolution)
