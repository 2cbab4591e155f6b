"""What a host has proved: the trials, their answers, and what follows from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.adapters.host import facts as host_facts
from worker.core.command import Exit, Pipeline, Reason
from worker.core.errors import CannotServe, ToolMissing
from worker.engine.host.capabilities import Prover
from worker.media.capabilities import (
    DEVICES,
    Capabilities,
    best_encoder,
    coding_of,
    family_of,
    format_of,
    hardware_trial,
    lanes_of,
    reason_in,
    software_trial,
)
from worker.media.thumbnail import ThumbnailParams
from worker.tasks.thumbnail import ThumbnailTask

NVENC = {"h264_nvenc": True, "libx264": True, "hevc_nvenc": "Cannot load libcuda.so.1", "libx265": True, "aac": True}
LISTED = """ V....D libx264              libx264 H.264 (codec h264)
 V....D libx265              libx265 H.265 / HEVC (codec hevc)
 V....D h264_nvenc           NVIDIA NVENC H.264 encoder (codec h264)
 V....D hevc_vaapi           H.265/HEVC (VAAPI) (codec hevc)
 A..... aac                  AAC (Advanced Audio Coding)
 V....D libtheora            libtheora Theora (codec theora)
"""


def host(**fields: object) -> Capabilities:
    return Capabilities.model_validate({"proved": True, "encoders": NVENC, "tools": {"ffmpeg": True}} | fields)


def test_a_format_means_the_best_encoder_that_is_proved():
    assert best_encoder("h264", NVENC) == "h264_nvenc"
    assert best_encoder("h265", NVENC) == "libx265"
    assert best_encoder("av1", NVENC) is None
    assert host().choices("h264") == ("h264_nvenc", "libx264")
    assert host().choices("libx264") == ("libx264",)


def test_a_format_that_nothing_here_encodes_is_not_served():
    with pytest.raises(CannotServe, match=r"this worker lacks encoder:av1 \(no encoder of av1 works\)"):
        host().choices("av1")


def test_software_stands_in_for_hardware_only_where_the_job_says_so():
    with pytest.raises(CannotServe, match="Cannot load libcuda"):
        host().choices("hevc_nvenc")
    assert host().choices("hevc_nvenc", hw_fallback=True) == ("libx265",)
    assert host().choices("h264_nvenc", hw_fallback=True) == ("h264_nvenc",)
    with pytest.raises(CannotServe):
        host().choices("libsvtav1", hw_fallback=True)
    other_card = host(encoders=NVENC | {"hevc_qsv": True})
    assert other_card.choices("hevc_nvenc", hw_fallback=True) == ("libx265",)
    assert other_card.choices("hevc") == ("hevc_qsv", "libx265")


def test_a_missing_requirement_is_named_with_its_reason():
    proved = host(tools={"ffmpeg": True, "gource": "it draws no frame"}, listed=["libtheora"])
    assert proved.missing_requirement({"tool:ffmpeg", "encoder:libx264", "encoder:h264", "encoder:libtheora"}) is None
    assert proved.missing_requirement({"tool:gource", "tool:handbrake", "encoder:libx999"}) == (
        "encoder:libx999 (not in this ffmpeg); tool:gource (it draws no frame); tool:handbrake (not installed)"
    )


def test_a_host_that_nobody_has_tried_lacks_nothing():
    unknown = Capabilities()
    assert unknown.missing_requirement({"tool:handbrake", "encoder:h264_nvenc"}) is None
    assert unknown.choices("h264") == ("libx264",)


def test_lanes_follow_from_what_works():
    assert lanes_of(host()) == ("nvenc", "cpu")
    assert lanes_of(host(encoders={"libx264": True, "h264_qsv": "no"}, tools={"gource": True})) == ("cpu", "visualize")
    assert lanes_of(host(encoders={"hevc_vaapi": True})) == ("vaapi",)
    assert lanes_of(host(encoders={"libx264": "no"}, tools={"gource": "no"})) == ()


def test_names_are_distinct():
    assert (format_of("h265"), format_of("libx264"), format_of("aac")) == ("hevc", None, "aac")
    assert (coding_of("h264_amf"), coding_of("libsvtav1"), coding_of("mpeg2_qsv")) == ("h264", "av1", None)
    assert (family_of("h264_nvenc"), family_of("libx264"), family_of("h264_omx")) == ("nvenc", None, "omx")


def test_the_reason_is_the_cause_and_not_what_came_of_it():
    tail = "Svt[info]: ----\n[h264_nvenc @ 0x55] Cannot load libcuda.so.1\nError initializing output stream 0:0 -- x\n"
    assert reason_in(tail) == "Cannot load libcuda.so.1"
    assert reason_in("\n") == "it failed without a message"


def test_vaapi_is_tried_on_its_device_and_others_on_none():
    argv = hardware_trial("ffmpeg", "h264_vaapi", "/dev/dri/renderD128").stages[0].argv
    assert argv[argv.index("-vaapi_device") + 1] == "/dev/dri/renderD128"
    assert argv[-7:] == ("-vf", "format=nv12,hwupload", "-c:v", "h264_vaapi", "-f", "null", "-")
    assert "-vaapi_device" not in hardware_trial("ffmpeg", "h264_nvenc", "/dev/dri/renderD128").stages[0].argv


def test_sound_is_tried_on_silence_and_pictures_on_black():
    argv = " ".join(software_trial("ffmpeg", ["aac", "libx264"], Path("/s")).stages[0].argv)
    assert "-map 1:a -c:a aac -f matroska file:/s/aac.mkv" in argv
    assert "-map 0:v -pix_fmt yuv420p -c:v libx264 -f matroska file:/s/libx264.mkv" in argv


class Bench:
    """Programs that answer as the test says: an encoder works up to a size, a decoder reads what there is."""

    def __init__(self, working: dict[str, int], missing: frozenset[str] = frozenset()) -> None:
        self.working, self.missing = working, missing
        self.runs: list[tuple[str, ...]] = []
        self.listed = LISTED

    async def run(self, pipeline: Pipeline, on_line=None, *, timeout=None, stall=None, label="") -> tuple[Exit, ...]:
        command = pipeline.stages[-1]
        argv = command.argv
        self.runs.append(argv)
        if argv[0] in self.missing:
            raise ToolMissing(f"{argv[0]} is not executable")
        if "-encoders" in argv:
            return (self._exit(command, 0, output=self.listed),)
        wanted = [argv[i + 1] for i, word in enumerate(argv) if word in {"-c:v", "-c:a"}]
        size = next((word.split("s=")[1].split("x")[0] for word in argv if "color=" in word), "0")
        if bad := [name for name in wanted if int(size) > self.working.get(name, 0)]:
            return (self._exit(command, 1, tail=f"[{bad[0]} @ 0x1] no card for {size}\n"),)
        if on_line is not None:
            on_line("P6")
        return (self._exit(command, 0, output="tool version 1.2"),)

    async def sweep(self, live) -> int:
        return 0

    def _exit(self, command, code: int, tail: str = "", output: str = "") -> Exit:
        return Exit(command, code, None, 0.1, tail, output, Reason.EXITED)


TOOLS = {name: name for name in ("ffmpeg", "mkvmerge", "gource")}
FACTS = {"tools": {"ffmpeg": ["ffmpeg", 1, 2]}, "dri": [], "architecture": "x86_64", "cores": 2}


async def test_a_hardware_encoder_is_tried_up_to_the_largest_size_that_works(tmp_path):
    runner = Bench({"libx264": 300, "libx265": 300, "aac": 300, "h264_nvenc": 3840})
    found = await Prover(runner, TOOLS, FACTS, tmp_path).capabilities()
    assert found.max_sizes == {"h264_nvenc": "3840x2160"}
    document = found.document()
    assert document["has_gpu"] is True
    assert (document["gpu_type"], document["max_resolution"]) == ("nvidia", "4k")
    assert document["supported_codecs"] == ["aac", "h264_nvenc", "libx264", "libx265"]
    assert document["encoders"]["hevc_vaapi"] == "there is no render node in /dev/dri"
    assert document["encoders"]["libsvtav1"] == "not in this ffmpeg"
    assert document["formats"] == {"h264": "h264_nvenc", "hevc": "libx265", "aac": "aac"}
    assert document["decoders"] == ["h264", "hevc", "aac"]
    assert lanes_of(found) == ("nvenc", "cpu", "visualize")


async def test_the_node_that_vaapi_is_proved_on_is_the_one_that_jobs_get(tmp_path):
    runner = Bench({"libx264": 300, "hevc_vaapi": 300})
    found = await Prover(runner, TOOLS, FACTS | {"dri": ["/dev/dri/renderD129"]}, tmp_path).capabilities()
    assert found.encoders["hevc_vaapi"] is True
    assert found.render_node == "/dev/dri/renderD129"
    assert any(
        argv[argv.index("-vaapi_device") + 1] == found.render_node for argv in runner.runs if "hevc_vaapi" in argv
    )
    assert Capabilities.model_validate_json(found.model_dump_json()) == found


async def test_an_encoder_is_tried_only_where_its_device_is(tmp_path):
    runner = Bench({"libx264": 300, "h264_qsv": 300, "h264_v4l2m2m": 300})
    runner.listed = LISTED + "".join(f" V....D {name} x\n" for name in ("h264_qsv", "h264_v4l2m2m", "h264_vulkan"))
    without = (await Prover(runner, TOOLS, FACTS, tmp_path).capabilities()).encoders
    assert without["h264_qsv"] == "there is no render node in /dev/dri"
    assert without["h264_v4l2m2m"] == "there is no /dev/video*"
    assert without["h264_vulkan"] == "Leveret brings no pictures into Vulkan's memory"
    assert without["h264_nvenc"] == "no card for 256"
    assert not any(argv for argv in runner.runs if {"h264_qsv", "h264_v4l2m2m", "h264_vulkan"} & {*argv})
    assert {fact for fact, _ in DEVICES.values()} <= host_facts({}).keys()
    devices = {"dri": ["/dev/dri/renderD128"], "video": ["/dev/video11"]}
    found = (await Prover(runner, TOOLS, FACTS | devices, tmp_path).capabilities()).encoders
    assert (found["h264_qsv"], found["h264_v4l2m2m"]) == (True, True)


async def test_one_broken_encoder_hides_no_other(tmp_path):
    found = await Prover(Bench({"libx264": 300, "aac": 300}), TOOLS, FACTS, tmp_path).capabilities()
    assert found.encoders["libx264"] is True
    assert found.encoders["libx265"] == "no card for 256"
    assert found.encoders["h264_nvenc"] == "no card for 256"
    assert found.document()["has_gpu"] is False


async def test_proved_capabilities_are_kept_until_a_tool_or_driver_changes_or_a_new_proof_is_asked_for(tmp_path):
    runner = Bench({"libx264": 300, "libx265": 300, "aac": 300})
    first = await Prover(runner, TOOLS, FACTS, tmp_path).capabilities()
    proofs = len(runner.runs)
    assert await Prover(runner, TOOLS, FACTS, tmp_path).capabilities() == first
    assert len(runner.runs) == proofs
    newer = FACTS | {"tools": {"ffmpeg": ["ffmpeg", 1, 3]}}
    await Prover(runner, TOOLS, newer, tmp_path).capabilities()
    assert len(runner.runs) == 2 * proofs
    await Prover(runner, TOOLS, newer, tmp_path).capabilities(again=True)
    assert len(runner.runs) == 3 * proofs


async def test_a_damaged_memory_is_proved_anew(tmp_path):
    runner = Bench({"libx264": 300, "libx265": 300, "aac": 300})
    first = await Prover(runner, TOOLS, FACTS, tmp_path).capabilities()
    (file,) = tmp_path.glob("capabilities-*.json")
    file.write_text('{"proved": tr')
    again = await Prover(runner, TOOLS, FACTS, tmp_path).capabilities()
    assert again.encoders == first.encoders


async def test_a_tool_that_does_not_start_is_reported_and_stops_nothing(tmp_path):
    runner = Bench({"libx264": 300, "libx265": 300, "aac": 300}, frozenset({"gource", "mkvmerge"}))
    found = await Prover(runner, TOOLS, FACTS, tmp_path).capabilities()
    assert found.tools == {
        "ffmpeg": True,
        "mkvmerge": "mkvmerge is not executable",
        "gource": "gource is not executable",
    }
    assert lanes_of(found) == ("cpu",)


@pytest.mark.parametrize(("name", "encoder"), [("o.png", "png"), ("o.webp", "libwebp"), ("o.jpg", "mjpeg")])
def test_a_still_is_declined_where_this_ffmpeg_was_built_without_its_encoder(name: str, encoder: str) -> None:
    needed = ThumbnailTask().requires(ThumbnailParams(source="nas://film.mkv", output_file=name))
    tools = {"ffmpeg": True, "ffprobe": True}
    bare = Capabilities(proved=True, tools=tools, listed=frozenset({"libx264"}))
    assert bare.missing_requirement(needed) == f"encoder:{encoder} (not in this ffmpeg)"
    assert Capabilities(proved=True, tools=tools, listed=frozenset({encoder})).missing_requirement(needed) is None
