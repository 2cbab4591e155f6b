"""The dry run says which command each task would run, and runs none."""

from __future__ import annotations

import json
import subprocess

from tests.support.web import site

PROVED = {"proved": True, "encoders": {"libx264": True, "aac": True}, "tools": {"ffmpeg": True}}


def film_in(folder):
    source = "testsrc2=s=320x180:r=25:d=1"
    film = folder / "nas" / "film with blanks.mkv"
    argv = ("ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", str(film))
    subprocess.run(argv, check=True)


def ffmpeg_task(source, output):
    video = {"stream": 0, "options": {"codec": "libx264", "crf": 20}}
    data = {"sources": [source], "source_maps": [{"source": 0}], "output_maps": [video], "output_file": output}
    return {"module": "ffmpeg", "data": data}


def files_there(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and "jobs.db" not in path.name}


async def test_the_first_command_of_each_task_is_reported_and_nothing_is_made(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        film_in(tmp_path)
        await here.beat("render-1", capabilities=PROVED)
        before = files_there(tmp_path)
        tasks = [
            ffmpeg_task("nas://film with blanks.mkv", "nas://out.mkv"),
            {"module": "thumbnail", "data": {"source": "nas://film with blanks.mkv", "output_file": "poster.jpg"}},
            {"module": "thumbnail", "data": {"source": "nas://out.mkv", "output_file": "second.jpg"}},
            {"module": "cleanup", "data": {"delete": ["nas://film with blanks.mkv"]}},
        ]
        answer = await client.post("/api/v1/validate", json={"job_title": "A film", "tasks": tasks})
        found = answer.json()
        assert found["valid"], found["problems"]
        first, second, third, last = found["commands"]
        assert first["argv"].startswith("ffmpeg ")
        assert "libx264" in first["argv"]
        assert "film with blanks.mkv'" in first["argv"]
        assert second["argv"].startswith("ffmpeg ")
        assert third == {"module": "thumbnail", "argv": "", "problem": "it depends on what the task before makes"}
        assert (last["argv"], last["problem"]) == ("", "it is known when it runs")
        assert files_there(tmp_path) == before
        assert here.broker.published == []


async def test_why_a_command_is_not_known_is_reported(tmp_path):
    async with site(tmp_path) as here, here.client() as client:
        (tmp_path / "nas" / "text.mkv").write_text("no film")
        await here.beat("render-1", capabilities=PROVED)
        for source, word in (("nas://text.mkv", "text.mkv"), ("nas://gone.mkv", "gone.mkv"), ("s3://b/a.mkv", "a.mkv")):
            task = ffmpeg_task(source, "nas://out.mkv")
            found = (await client.post("/api/v1/validate", json={"tasks": [task]})).json()
            if found["valid"]:
                (command,) = found["commands"]
                assert command["argv"] == ""
                assert word in command["problem"]
        form = {"text": json.dumps({"tasks": [ffmpeg_task("nas://text.mkv", "nas://o.mkv")]}), "action": "try"}
        page = await client.post("/new", data=form)
        assert "Commands" in page.text


async def test_a_viewer_lets_no_tool_look_at_a_source(tmp_path):
    async with site(tmp_path, tokens=True) as here:
        film_in(tmp_path)
        message = {"tasks": [ffmpeg_task("nas://film with blanks.mkv", "nas://out.mkv")]}
        async with here.client("viewer") as client:
            assert (await client.post("/api/v1/validate", json=message)).json()["commands"] == []
        async with here.client("operator") as client:
            assert len((await client.post("/api/v1/validate", json=message)).json()["commands"]) == 1
