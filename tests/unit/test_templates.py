"""Templates: checked when they are stored, filled for a source, made into one job for each."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media import clip
from tests.support.web import site
from worker.app.control import modules
from worker.control import NotFound, Refused
from worker.control.intake.blueprint import Skip
from worker.control.intake.templates import (
    Made,
    Skipped,
    blueprint_of,
    checked_template,
    delete_template,
    get_template,
    put_template,
    render,
    submit_template,
)
from worker.core import placeholders
from worker.core.errors import BadInput, BrokerUnavailable, InvalidJob, RefusedPath, SourceMissing

FILM = {
    "description": "Smaller files",
    "variables": {
        "title": {"kind": "name", "default": "{{ source.stem }}"},
        "crf": {"kind": "number", "cases": [{"when": "video.height > 1080", "value": "24"}], "default": "20"},
        "language": {"choices": ["eng", "ger"], "default": "eng"},
    },
    "when": "video.count > 0",
    "promise": ["video.codec == 'h265'"],
    "job": {
        "job_title": "{{ title }} ({{ language }})",
        "destination": "{{ source.folder }}/small/",
        "tasks": [
            {
                "module": "ffmpeg",
                "data": {
                    "sources": ["{{ source.uri }}"],
                    "source_maps": [
                        {"source": 0, "specifier": "v"},
                        {"when": "audio.count > 0", "source": 0, "specifier": "a"},
                    ],
                    "output_maps": [{"stream": 0, "options": {"codec": "libx264", "crf": "{{ crf }}"}}],
                    "output_file": "./{{ title }}.mkv",
                },
            },
            {"when": "duration > 1h", "module": "thumbnail", "data": {
                "source": "{{ source.uri }}", "output_file": "./poster.jpg"}},
        ],
    },
}  # fmt: skip


def edited(path: str, value: object) -> dict:
    """Return the template with one thing in it changed."""
    document = json.loads(json.dumps(FILM))
    *parts, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    inside = document
    for part in parts:
        inside = inside[part]
    inside[last] = value
    return document


def refusal(document: object, name: str = "film") -> str:
    with pytest.raises(InvalidJob) as caught:
        checked_template(modules(), name, document)
    return str(caught.value)


def test_a_good_template_is_taken():
    blueprint = checked_template(modules(), "film", FILM)
    assert blueprint.needs_probe
    assert not blueprint.needs_decode


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("wen", "true", ["wen: unknown field; did you mean 'when'?"]),
        ("when", "height > 3", ["when: unknown name 'height'; did you mean 'video.height'?"]),
        ("promise", ["video.codec"], ["promise[0]: 'video.codec' is a text: compare it"]),
        ("variables/Title", "x", ["variables.Title"]),
        ("variables/source", "x", ["variables.source: is the name of a fact"]),
        ("variables/title", "{{ crf }}", ["variables.title.default: unknown name 'crf'"]),
        ("job/job_title", "{{ titel }}", ["job.job_title: unknown name 'titel'; did you mean 'title'?"]),
        ("job/job_title", "{{ title|uper }}", ["job.job_title: unknown filter 'uper'; did you mean 'upper'?"]),
        ("job/job_title", "{% for x in y %}{% endfor %}", ["job.job_title: {% … %} is not known here"]),
        ("job/{{ title }}", "x", ["job.{{ title }}: a key holds no {{ … }}"]),
        ("job/job_id", "x", ["job.job_id: is given to each job"]),
        ("job/priorty", "low", ["job.priorty: unknown field; did you mean 'priority'?"]),
        ("job/tasks/0/module", "ffmpg", ["job.tasks[0]: unknown module 'ffmpg'; did you mean 'ffmpeg'?"]),
        ("job/tasks/0/module", "{{ title }}", ["job.tasks[0].module: the module is the template's own"]),
        ("job/tasks/0/data/sorces", [], ["job.tasks[0].data.sorces: unknown field; did you mean 'sources'?"]),
        ("job/tasks/0/data/source_maps/1/when", "audio.cont > 0", ["source_maps[1].when: unknown name 'audio.cont'"]),
        ("job/tasks/0/data/source_maps/1/when", 5, ["source_maps[1].when: is a condition, a text"]),
        # No sample is so long: it is judged all the same.
        ("job/tasks/1/data/widht", 5, ["job.tasks[1].data.widht: unknown field; did you mean 'width'?"]),
        ("job/tasks/0/data/output_maps/0/options/crf", "{{ title }}", []),
    ],
)
def test_a_faulty_template_is_refused_when_it_is_stored(path, value, words):
    if not words:
        checked_template(modules(), "film", edited(path, value))
        return
    message = refusal(edited(path, value))
    for word in words:
        assert word in message


def test_a_text_that_could_choose_a_folder_is_refused():
    message = refusal(edited("variables/title", {"default": "x"}))
    assert "variables.title: is a text, and is part of the path job.tasks[0]" in message
    assert "{{ title|name }}" in message
    safe = edited("variables/title", {"default": "x"})
    safe["job"]["tasks"][0]["data"]["output_file"] = "./{{ title|name }}.mkv"
    checked_template(modules(), "film", safe)
    assert "is part of the path job.destination" in refusal(
        edited("job/destination", "nas://{{ language }}/") | {"variables": FILM["variables"] | {"language": "eng"}}
    )
    assert "no name" in refusal(FILM, "../film")
    assert "JSON object" in refusal([])


@given(st.text(max_size=300))
def test_a_name_is_one_part_of_a_path_whatever_it_was(text):
    name = placeholders.safe_name(text)
    assert "/" not in name
    assert name not in {".", ".."}
    assert 0 < len(name.encode("utf-8", "surrogatepass")) <= 200
    assert not name.startswith((".", "-", "~"))


@given(st.text(max_size=200))
def test_any_text_is_a_text_with_placeholders_or_is_refused(text):
    try:
        placeholders.compiled(text)
    except InvalidJob:
        return


def test_filters_cannot_make_a_text_grow_without_end():
    bomb = "{{ a" + "|replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')" * 20 + " }}"
    with pytest.raises(InvalidJob, match="longer than"):
        placeholders.compiled(bomb).fill({"a": "a"})
    with pytest.raises(InvalidJob, match="longer than"):
        placeholders.compiled("{{ a }}" * 50).fill({"a": "x" * 100})


async def stored(here, document=FILM, name="film"):
    await put_template(here.services.control, name, document)
    return here.services.control


@pytest.fixture(scope="module")
def made_film(tmp_path_factory):
    """Return a film of a second, made once."""
    return clip(tmp_path_factory.mktemp("films") / "film.mkv", seconds=1)


def film(here, made_film, tail=b""):
    """Put the film into the folder; `tail` makes it another one."""
    folder = here.folder / "nas" / "in"
    folder.mkdir(exist_ok=True)
    (folder / "a film.mkv").write_bytes(made_film.read_bytes() + tail)
    return folder / "a film.mkv"


async def test_a_template_is_filled_with_what_the_source_is(tmp_path, made_film):
    async with site(tmp_path) as here:
        control = await stored(here)
        film(here, made_film)
        rendered = await render(control, "film", "nas://in/a film.mkv", {"crf": "18"})
        assert rendered.document["job_title"] == "a film (eng)"
        assert rendered.document["destination"] == "nas://in/small/"
        (task,) = rendered.document["tasks"]
        assert task["data"]["output_maps"][0]["options"]["crf"] == 18
        assert task["data"]["output_file"] == "./a film.mkv"
        assert task["data"]["source_maps"] == [{"source": 0, "specifier": "v"}, {"source": 0, "specifier": "a"}]
        assert rendered.variables == {"title": "a film", "crf": "18", "language": "eng"}


async def test_a_value_stays_a_text_whatever_it_holds(tmp_path, made_film):
    async with site(tmp_path) as here:
        probe = {"module": "probe", "data": {"source": "{{ source.uri }}"}}
        document = edited("job", {"job_title": "{{ title }}", "tasks": [probe]})
        document["variables"]["title"] = "x"
        control = await stored(here, document)
        film(here, made_film)
        for value in ('", "priority": "high', "{{ source.uri }}", "{% raw %}", '{"a": 1}', "\\u0022", "a\nb"):
            rendered = await render(control, "film", "nas://in/a film.mkv", {"title": value})
            assert json.loads(rendered.body) == {
                "job_title": value, "tasks": [{"module": "probe", "data": {"source": "nas://in/a film.mkv"}}]
            }  # fmt: skip


async def test_variables_are_checked_before_anything_is_made(tmp_path, made_film):
    async with site(tmp_path) as here:
        control = await stored(here, edited("variables/title", {"kind": "name"}))
        film(here, made_film)
        with pytest.raises(InvalidJob) as caught:
            await render(control, "film", "nas://in/a film.mkv", {"crf": "x", "language": "fre", "lang": "eng"})
        message = str(caught.value)
        assert "title: has no value: give one with title=…" in message
        assert "crf: is a number, not 'x'" in message
        assert "language: is one of eng, ger, not 'fre'" in message
        assert "lang: film has no such variable; did you mean 'language'?" in message
        for odd in ("nan", "inf", "1e5", "0x10", "1_000"):
            with pytest.raises(InvalidJob, match="number"):
                await render(control, "film", "nas://in/a film.mkv", {"title": "x", "crf": odd})


async def test_a_source_that_conforms_or_is_not_meant_is_left_alone_with_the_reason(tmp_path, made_film):
    async with site(tmp_path) as here:
        control = await stored(here, FILM | {"promise": ["video.codec == 'h264'", "video.height <= 240"]})
        film(here, made_film)
        clip(here.folder / "nas" / "in" / "sound.mka", picture="", seconds=1)
        assert await render(control, "film", "nas://in/a film.mkv") == Skip(
            "it conforms already: video.codec == 'h264'; video.height <= 240"
        )
        assert await render(control, "film", "nas://in/sound.mka") == Skip(
            "the template is for other sources: video.count > 0"
        )
        (here.folder / "nas" / "in" / "notes.mkv").write_text("no film")
        with pytest.raises(BadInput, match="notes"):
            await render(control, "film", "nas://in/notes.mkv")
        with pytest.raises(SourceMissing):
            await render(control, "film", "nas://in/none.mkv")
        with pytest.raises(RefusedPath):
            await render(control, "film", "/etc/passwd")
        with pytest.raises(Refused, match="give one with source="):
            await render(control, "film")


async def test_a_source_is_made_into_one_job_also_by_another_path(tmp_path, made_film):
    async with site(tmp_path) as here:
        control = await stored(here)
        path = film(here, made_film)
        made = await submit_template(control, "film", "nas://in/a film.mkv")
        assert isinstance(made, Made)
        assert made.job_id.startswith("film-")
        again = await submit_template(control, "film", "nas://in/a film.mkv")
        assert again == Skipped("nas://in/a film.mkv", f"its job is queued: {made.job_id}", made.job_id)
        by_path = await submit_template(control, "film", str(path))
        assert isinstance(by_path, Skipped)
        assert "from nas://in/a film.mkv" in by_path.reason
        path.rename(path.with_name("renamed.mkv"))
        assert isinstance(await submit_template(control, "film", "nas://in/renamed.mkv"), Skipped)
        film(here, made_film, b"\0")
        fresh = await submit_template(control, "film", "nas://in/a film.mkv")
        assert isinstance(fresh, Made)
        other = await submit_template(control, "film", "nas://in/a film.mkv", {"crf": "30"})
        assert isinstance(other, Made)
        forced = await submit_template(control, "film", "nas://in/a film.mkv", again=True)
        assert isinstance(forced, Made)
        assert len({one.job_id for one in (made, fresh, other, forced)}) == 4
        assert len(here.broker.published) == 4


async def test_jobs_keep_the_version_that_they_were_made_from(tmp_path, made_film):
    async with site(tmp_path) as here:
        control = await stored(here)
        film(here, made_film)
        made = await submit_template(control, "film", "nas://in/a film.mkv")
        assert (await put_template(control, "film", edited("job/job_title", "Other"))).version == 2
        record = await control.stores.job(made.job_id)
        assert record.title == "a film (eng)"
        assert (await control.stores.origin(made.job_id)).version == 1
        assert (await get_template(control, "film", 1)).document == FILM
        await delete_template(control, "film")
        assert (await control.stores.job(made.job_id)).title == "a film (eng)"
        with pytest.raises(NotFound, match="there is no template 'film'"):
            await blueprint_of(control, "film")


async def test_a_submission_that_died_between_job_and_note_makes_no_second_job(tmp_path, made_film, monkeypatch):
    async with site(tmp_path) as here:
        control = await stored(here)
        film(here, made_film)

        async def dies(*_):
            raise BrokerUnavailable("killed")

        with monkeypatch.context() as patched:
            patched.setattr(control.stores, "note_origins", dies)
            with pytest.raises(BrokerUnavailable):
                await submit_template(control, "film", "nas://in/a film.mkv")
        again = await submit_template(control, "film", "nas://in/a film.mkv")
        assert isinstance(again, Skipped)
        assert "already" in again.reason
        assert len(here.broker.published) == 1
        assert (await control.stores.origin(again.job_id)).template == "film"


async def test_a_broker_that_is_away_leaves_the_source_to_be_made_later(tmp_path, made_film):
    async with site(tmp_path) as here:
        control = await stored(here)
        film(here, made_film)
        here.broker.away = True
        with pytest.raises(BrokerUnavailable):
            await submit_template(control, "film", "nas://in/a film.mkv")
        here.broker.away = False
        assert isinstance(await submit_template(control, "film", "nas://in/a film.mkv"), Made)
