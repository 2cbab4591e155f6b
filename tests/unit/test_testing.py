from typing import ClassVar

import pytest
from pydantic import BaseModel

from visualizers import Scene, SceneParams, Visualizer
from worker.core.job import Model, Place
from worker.core.task import Files, FileUse, Task
from worker.testing import check_task, check_visualizer, make_job


class Params(Model):
    source: Place


class Good(Task[Params]):
    module: ClassVar[str] = "good"
    params = Params

    def files(self, params):
        return Files(reads=(FileUse("source", params.source),))

    async def run(self, params, context):
        pass


def broken(**members):
    return type("Broken", (Good,), members)()


class Loose(BaseModel):
    source: str


def test_a_task_that_keeps_the_rules_passes():
    check_task(Good(), {"source": "a.mkv"})


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"module": "No Name"}, "plain lower-case name"),
        ({"params": Loose}, "forbid extra"),
        ({"weight": 0.0}, "weight"),
        ({"run": lambda self, params, context: None}, "run must be async"),
        ({"files": lambda self, params: Files(reads=(FileUse("sources[0]", "a"),))}, r"says sources\[0\]"),
        ({"requires": lambda self, params: frozenset({"ffmpeg"})}, "not kind:name"),
    ],
)
def test_each_broken_rule_is_reported(members, words):
    with pytest.raises(AssertionError, match=words):
        check_task(broken(**members), {"source": "a.mkv"})


def test_an_example_that_the_task_refuses_is_reported():
    with pytest.raises(AssertionError, match="example itself is refused"):
        check_task(Good(), {"sources": "a.mkv"})


def test_a_made_job_has_its_tasks_at_their_places():
    job = make_job(("good", {"source": "a"}), ("good", {}), priority="high")
    assert [task.path for task in job.tasks] == ["tasks[0].data", "tasks[1].data"]
    assert job.priority == "high"


class FilmParams(SceneParams):
    seconds: int = 1


class Film(Visualizer[FilmParams]):
    module: ClassVar[str] = "film"
    params = FilmParams

    async def scene(self, params, stage):
        return Scene(size=(2, 2), framerate=25, frames=25 * params.seconds, inputs=(), graph="")


class Renamed(FilmParams):
    output: str = "gif"


def test_a_visualizer_that_keeps_the_rules_passes():
    check_visualizer(Film(), {"seconds": 2})


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"module": "No Name"}, "plain lower-case name"),
        ({"params": Params}, "must be a model of visualizers.SceneParams"),
        ({"params": Renamed}, "the option output is every visualizer's"),
        ({"scene": lambda self, params, stage: None}, "scene must be async"),
        ({"tools": frozenset({"/usr/bin/gource"})}, "no program's plain name"),
        ({"files": lambda self, params: Files(writes=(FileUse("seconds", "a"),))}, "not its own to name"),
        ({"files": lambda self, params: Files(reads=(FileUse("source", "a"),))}, "has no such place"),
    ],
)
def test_each_rule_that_a_visualizer_breaks_is_reported(members, words):
    with pytest.raises(AssertionError, match=words):
        check_visualizer(type("Broken", (Film,), members)(), {"seconds": 2})
