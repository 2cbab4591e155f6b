"""Several repositories in one film: what may be asked for, how histories are merged, and what bounds them together."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.test_gitlog import entry
from visualizers import gource_histories
from visualizers.gitlog import custom_log
from visualizers.gource_histories import COLOURS, merged, read_histories, sources_of
from visualizers.gource_params import MAX_REPOSITORIES, GourceParams
from worker.core.errors import BadInput
from worker.core.job import Job, TaskSpec

HUSHED = "hush-of-a-test"


def params(*repositories: dict[str, Any], **more: Any) -> GourceParams:
    return GourceParams.model_validate({"repositories": list(repositories)} | more)


def at(address: str, **more: Any) -> dict[str, Any]:
    return {"repo_url": f"https://example.org/{address}"} | more


class Stage:
    """What `read_histories` uses of a stage: logs by address, and what was cloned and warned of."""

    def __init__(self, **logs: bytes) -> None:
        self.logs, self.cloned, self.warned = logs, [], []

    async def history(self, repository: Any, arguments: Any) -> Path:
        self.cloned.append(repository)
        with tempfile.NamedTemporaryFile(delete=False) as log:
            log.write(self.logs[repository.url.rpartition("/")[2]])
        return Path(log.name)

    def warn(self, message: str) -> None:
        self.warned.append(message)


async def log_of(wanted: GourceParams, stage: Any) -> str:
    return custom_log(await read_histories(sources_of(wanted), stage))


async def test_histories_are_one_log_in_the_order_of_time_each_in_its_folder_and_colour() -> None:
    stage = Stage(
        a=entry(10, "Ada", ("A", "x")) + entry(30, "Ada", ("M", "x")),
        b=entry(20, "Bob", ("A", "x"), ("A", "y/z")) + entry(30, "Bob", ("D", "x")),
        c=entry(5, "Eve", ("A", "x")),
    )
    wanted = params(at("a"), at("b", folder="libs/core", colour="#00ff7f"), at("c", colour="types"))
    assert await log_of(wanted, stage) == (
        "5|Eve|A|c/x\n"
        f"10|Ada|A|a/x|{COLOURS[0]}\n"
        "20|Bob|A|libs/core/x|00ff7f\n20|Bob|A|libs/core/y/z|00ff7f\n"
        f"30|Ada|M|a/x|{COLOURS[0]}\n30|Bob|D|libs/core/x|00ff7f\n"
    )


async def test_one_repository_has_neither_folder_nor_colour() -> None:
    one = GourceParams.model_validate({"repo_url": "https://example.org/a", "token": HUSHED})
    stage = Stage(a=entry(10, "Ada", ("A", "x")))
    assert await log_of(one, stage) == "10|Ada|A|x\n"
    assert stage.cloned[0].token == HUSHED
    assert await log_of(params(at("a")), stage) == f"10|Ada|A|a/x|{COLOURS[0]}\n"


async def test_each_repository_is_read_with_its_own_token_and_no_record_keeps_one() -> None:
    data = {"repositories": [at("a", token="hush-a"), at("b")]}
    stage = Stage(a=entry(1, "A", ("A", "x")), b=b"")
    await log_of(GourceParams.model_validate(data), stage)
    assert [one.token for one in stage.cloned] == ["hush-a", None]
    assert stage.warned == ["b: the repository has no commit that changes a file"]
    job = Job("j", "t", (TaskSpec("gource", data, "tasks.0"),), "canonical")
    assert job.secrets == ("hush-a",)
    assert "hush" not in str(job.document())
    assert "hush" not in repr(GourceParams.model_validate(data))


async def test_all_histories_together_have_the_bound_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gource_histories, "MAX_CHANGES", 3)
    stage = Stage(a=entry(1, "A", ("A", "x"), ("A", "y")), b=entry(1, "B", ("A", "x")), c=entry(1, "C", ("A", "x")))
    assert (await log_of(params(at("a"), at("b")), stage)).count("\n") == 3
    with pytest.raises(BadInput, match=r"^c: the history is too large"):
        await log_of(params(at("a"), at("b"), at("c")), stage)
    with pytest.raises(BadInput, match=r"^b: git's log has"):
        await log_of(params(at("a"), at("b")), Stage(a=stage.logs["a"], b=b"nonsense\0"))


@pytest.mark.parametrize(
    ("repositories", "more", "word"),
    [
        ([], {}, "either repo_url or repositories"),
        ([at("a")], {"repo_url": "https://example.org/b"}, "either repo_url or repositories"),
        ([at("a")], {"token": "hush"}, "each of repositories has its own"),
        ([at("a"), at("x/a.git")], {}, "have the folder 'a'"),
        ([at("a"), at("ab"), at("b", folder="a/b")], {}, "have the folder 'a'"),
        ([at("a", folder="../a")], {}, "is no folder of a film"),
        ([at("a", folder="/a")], {}, "is no folder of a film"),
        ([at("a", folder="a|b")], {}, "is no folder of a film"),
        ([at("a", folder="a\nb")], {}, "is no folder of a film"),
        ([at("a", colour="red")], {}, "pattern"),
        ([at("a", colour="00ff00|")], {}, "pattern"),
        ([at("a", branch="x")], {}, "Extra inputs"),
        ([at(f"r{number}") for number in range(MAX_REPOSITORIES + 1)], {}, "at most 20 items"),
    ],
)
def test_a_film_that_cannot_be_made_is_refused_before_anything_is_cloned(
    repositories: Any, more: Any, word: str
) -> None:
    with pytest.raises(ValidationError, match=word):
        params(*repositories, **more)


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        ("a/films.git", "films"),
        ("a/films/", "films"),
        ("a/films/.git", "films"),
        ("a%20b", "a b"),
        ("a/%7C", "a"),
        ("", "repository"),
    ],
)
def test_a_folder_is_by_default_the_last_name_of_the_address(address: str, folder: str) -> None:
    assert params(at(address)).repositories[0].top == folder


def test_more_repositories_than_colours_begin_again() -> None:
    wanted = params(*(at(f"r{number}") for number in range(len(COLOURS) + 1)))
    assert [one.colour for one in sources_of(wanted)] == [*COLOURS, COLOURS[0]]


def test_merged_histories_stay_in_order_of_time() -> None:
    def commits(*times: int) -> Any:
        return [SimpleNamespace(time=time) for time in times]

    found = merged([commits(1, 4, 4), commits(2, 3, 9), commits()])
    assert [one.time for one in found] == [1, 2, 3, 4, 4, 9]
