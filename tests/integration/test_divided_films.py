"""Films in parts with the real ffmpeg: exact for every kind of source that went wrong for others."""

from dataclasses import replace
from fractions import Fraction

import pytest

from tests.support.media import clip, ffmpeg
from tests.support.parts import X264, divided, packets, pictures, planned, prepared, shown, sound, steps
from worker.core.errors import CannotServe, PlanBroken, VerificationFailed
from worker.core.parts import Fleet, Plan, Whole

TWO = {"seconds": 2}
CODED = ("-c:v", "libx264", "-preset", "veryfast", "-g", "24")


def job(source="film.mkv", output="out.mp4", *, video=X264, audio="aac", **others):
    maps = [{"specifier": "v", "stream": 0}]
    made = [{"specifier": "v", "stream": 0, "options": video}]
    if audio:
        maps.append({"specifier": "a", "stream": 0})
        made.append({"specifier": "a", "stream": 0, "options": {"codec": audio}})
    data = {"sources": [f"nas://{source}"], "source_maps": maps, "output_maps": made, "output_file": output}
    return data | {"parts": TWO} | others


def root(tmp_path):
    (tmp_path / "root").mkdir(exist_ok=True)
    return tmp_path / "root"


def first(path, select):
    """Return when the first packet of a stream is presented."""
    return min(float(item["pts_time"]) for item in packets(path, select))


async def exact(tmp_path, data, frames, rate, **others):
    """Divide, join, and return both films; the joined one has every picture, one step apart."""
    done = await divided(tmp_path, data, **others)
    assert isinstance(done.plan, Plan), done.plan
    assert len(done.plan.ranges) > 1
    assert done.plan.frames == frames
    assert len(packets(done.joined)) == frames
    steps(done.joined, rate)
    return done


@pytest.mark.parametrize(
    ("rate", "frames"), [("24000/1001", 144), ("30000/1001", 181), ("60000/1001", 361), ("25", 151)]
)
async def test_every_usual_rate_joins_with_one_step_and_all_pictures(tmp_path, rate, frames):
    seconds = float(frames / Fraction(rate)) - 0.001
    clip(root(tmp_path) / "film.mkv", picture=f"s=160x90:r={rate}", seconds=seconds, extra=CODED)
    done = await exact(tmp_path, job(), frames, Fraction(rate))
    (stream,) = shown(done.joined, "-show_streams", select="v:0")["streams"]
    assert stream["avg_frame_rate"] == stream["r_frame_rate"] == str(Fraction(rate)) + ("/1" if rate == "25" else "")


@pytest.mark.parametrize("container", [".mkv", ".mp4", ".mov", ".ts", ".m4v"])
async def test_a_join_is_what_a_whole_run_makes_in_every_container(tmp_path, container):
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=5, sounds=2, extra=CODED)
    data = job(output=f"out{container}")
    data["source_maps"] = [{"specifier": "v"}, {"specifier": "a"}]
    data["output_maps"] = [{"specifier": "v", "options": X264}, {"specifier": "a", "options": {"codec": "aac"}}]
    done = await exact(tmp_path, data, 125, Fraction(25))
    whole, joined = (shown(path, "-show_streams", "-show_format") for path in (done.whole, done.joined))
    for one, other in zip(whole["streams"], joined["streams"], strict=True):
        for key in ("codec_name", "profile", "pix_fmt", "time_base", "r_frame_rate", "disposition", "channels"):
            assert one.get(key) == other.get(key), key
        for key in ("language", "handler_name"):
            assert one.get("tags", {}).get(key) == other.get("tags", {}).get(key), key
    assert sound(done.joined) == sound(done.whole)


async def test_open_gops_and_pyramids_lose_no_picture(tmp_path):
    coded = ("-c:v", "libx264", "-preset", "medium", "-g", "24", "-bf", "4", "-x264-params")
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=7,
         extra=(*coded, "open-gop=1:b-pyramid=normal:scenecut=0"))  # fmt: skip
    lossless = {"codec": "libx264", "preset": "ultrafast", "qp": 0}
    done = await exact(tmp_path, job(video=lossless), 175, Fraction(25))
    assert pictures(done.joined) == pictures(root(tmp_path) / "film.mkv")


@pytest.mark.parametrize("container", ["ts", "mp4"])
async def test_a_source_that_does_not_begin_at_zero_keeps_every_picture_in_its_place(tmp_path, container):
    source = root(tmp_path) / f"film.{container}"
    clip(source, picture="s=160x90:r=25", seconds=6, extra=(*CODED, "-bf", "2", "-output_ts_offset", "5"))
    lossless = {"codec": "libx264", "preset": "ultrafast", "qp": 0}
    done = await exact(tmp_path, job(source.name, video=lossless), 150, Fraction(25))
    assert pictures(done.joined) == pictures(source)
    assert sound(done.joined) == sound(done.whole)


async def test_pictures_that_an_edit_list_leaves_out_are_in_no_part(tmp_path):
    clip(tmp_path / "long.mp4", picture="s=160x90:r=25", seconds=8, extra=(*CODED, "-bf", "2"))
    source = root(tmp_path) / "film.mp4"
    ffmpeg("-ss", "1.5", "-i", str(tmp_path / "long.mp4"), "-c", "copy", str(source))
    expected = pictures(source)
    lossless = {"codec": "libx264", "preset": "ultrafast", "qp": 0}
    done = await divided(tmp_path, job("film.mp4", video=lossless))
    assert isinstance(done.plan, Plan), done.plan
    assert done.plan.frames == len(expected)
    assert pictures(done.joined) == expected


@pytest.mark.parametrize("delay", ["0.3", "-0.3"])
async def test_sound_that_begins_apart_from_the_picture_stays_apart(tmp_path, delay):
    clip(tmp_path / "plain.mkv", picture="s=160x90:r=25", seconds=5, extra=CODED)
    source = root(tmp_path) / "film.mkv"
    plain = str(tmp_path / "plain.mkv")
    ffmpeg("-i", plain, "-itsoffset", delay, "-i", plain, "-map", "0:v", "-map", "1:a", "-c", "copy", str(source))
    done = await exact(tmp_path, job(), 125, Fraction(25))
    # As decoded: since ffmpeg 8 a Matroska file's first packet is the encoder's delay, which nobody hears.
    heard = shown(source, "-show_frames", select="a:0")["frames"]
    expected = float(heard[0]["pts_time"]) - first(source, "v:0")
    found = first(done.joined, "a:0") - first(done.joined, "v:0")
    # an encoder needs 1,024 samples before the first
    assert abs(found + 1024 / 44100 - expected) <= 0.0015, (found, expected)
    assert abs(first(done.joined, "a:0") - first(done.whole, "a:0")) <= 1 / 44100


@pytest.mark.parametrize("length", ["2.5", "7.5"])
async def test_sound_shorter_or_longer_than_the_picture_keeps_its_length(tmp_path, length):
    source = root(tmp_path) / "film.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=5", "-f", "lavfi", "-i", f"sine=d={length}", *CODED,
           "-pix_fmt", "yuv420p", "-c:a", "aac", str(source))  # fmt: skip
    done = await exact(tmp_path, job(), 125, Fraction(25))
    assert sound(done.joined) == sound(done.whole)


async def test_a_film_without_sound_joins(tmp_path):
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", sounds=0, seconds=5, extra=CODED)
    done = await exact(tmp_path, job(audio=None), 125, Fraction(25))
    assert done.plan.named("sound") == ()


async def test_interlaced_sources_keep_one_picture_for_two_fields(tmp_path):
    coded = (*CODED, "-flags", "+ilme+ildct", "-x264-params", "tff=1", "-vf", "interlace")
    clip(root(tmp_path) / "film.mkv", picture="s=160x120:r=50", seconds=5, extra=coded)
    done = await exact(tmp_path, job(), 125, Fraction(25))
    assert len(packets(done.joined)) == len(packets(root(tmp_path) / "film.mkv"))


@pytest.mark.parametrize("frames", [1, 25])
async def test_a_picture_or_a_second_is_too_short_to_divide(tmp_path, frames):
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=frames / 25 - 0.001, sounds=0, extra=CODED)
    assert await planned(tmp_path, job(audio=None)) == Whole("it is too short for two parts")


async def test_a_variable_frame_rate_is_not_divided(tmp_path):
    source = root(tmp_path) / "film.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=6", "-vf", "select=not(eq(mod(n\\,7)\\,3))", "-fps_mode",
           "vfr", *CODED, "-pix_fmt", "yuv420p", str(source))  # fmt: skip
    assert await planned(tmp_path, job(audio=None)) == Whole("the frame rate of the source is not constant")


@pytest.mark.parametrize("encoder", ["libx265", "libsvtav1"])
async def test_other_encoders_join_too(tmp_path, encoder):
    clip(root(tmp_path) / "film.mkv", picture="s=320x180:r=25", seconds=5, extra=CODED)
    options = {"libx265": {"preset": "ultrafast", "x265-params": "log-level=error"}, "libsvtav1": {"preset": 12}}
    video = {"codec": encoder} | options[encoder]
    await exact(tmp_path, job(video=video), 125, Fraction(25))


async def test_colours_and_mastering_data_are_those_of_a_whole_run(tmp_path):
    source = root(tmp_path) / "film.mkv"
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    # ffmpeg 7 and later take an encoder's colours from its pictures, 5.1 from the options
    picture = "testsrc2=s=160x90:r=24:d=5,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"
    ffmpeg("-f", "lavfi", "-i", picture, "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt",
           "yuv420p10le", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc",
           "-x265-params", f"log-level=error:hdr10=1:master-display={master}:max-cll=1000,400",
           str(source))  # fmt: skip
    video = {"codec": "libx265", "preset": "ultrafast", "x265-params": "log-level=error", "pix_fmt": "yuv420p10le"}
    done = await exact(tmp_path, job(audio=None, video=video, output="out.mkv"), 120, Fraction(24))
    keys = ("color_primaries", "color_transfer", "color_space", "color_range", "pix_fmt", "side_data_list")
    (whole,), (joined,) = (shown(p, "-show_streams", select="v:0")["streams"] for p in (done.whole, done.joined))
    assert {key: joined.get(key) for key in keys} == {key: whole.get(key) for key in keys}
    assert joined["color_transfer"] == "smpte2084"


async def test_texts_chapters_attachments_and_copied_sound_come_from_the_source(tmp_path):
    (tmp_path / "texts.srt").write_text("1\n00:00:00,500 --> 00:00:04,000\nHello\n")
    (tmp_path / "note.txt").write_text("attached")
    (tmp_path / "meta").write_text(
        ";FFMETADATA1\ntitle=The Film\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=2000\nEND=5000\ntitle=Two\n"
    )
    clip(tmp_path / "plain.mkv", picture="s=160x90:r=25", seconds=5, sounds=2, extra=CODED)
    ffmpeg("-i", str(tmp_path / "plain.mkv"), "-i", str(tmp_path / "texts.srt"), "-i", str(tmp_path / "meta"), "-map",
           "0", "-map", "1", "-map_metadata", "2", "-c", "copy", "-metadata:s:s:0", "language=ger", "-attach",
           str(tmp_path / "note.txt"), "-metadata:s:t", "mimetype=text/plain",
           str(root(tmp_path) / "film.mkv"))  # fmt: skip
    data = job(output="out.mkv")
    data["source_maps"] = [{}]
    data["output_maps"] = [
        {"specifier": "v", "options": X264 | {"metadata": {"title": "Pictures"}}},
        {"specifier": "a", "stream": 0, "options": {"codec": "aac"}},
        {"specifier": "a", "stream": 1, "options": {"codec": "copy"}},
        {"specifier": "s", "options": {"codec": "copy"}},
    ]
    done = await exact(tmp_path, data, 125, Fraction(25))
    whole, joined = (shown(p, "-show_streams", "-show_chapters", "-show_format") for p in (done.whole, done.joined))
    assert [c["tags"]["title"] for c in joined["chapters"]] == ["One", "Two"]
    assert joined["chapters"] == whole["chapters"]
    assert joined["format"]["tags"]["title"] == "The Film"
    kinds = [stream["codec_type"] for stream in joined["streams"]]
    assert kinds == ["video", "audio", "audio", "subtitle", "attachment"]
    unlike = {"ENCODER", "DURATION"}
    for one, other in zip(whole["streams"], joined["streams"], strict=True):
        mine, theirs = ({k: v for k, v in s.get("tags", {}).items() if k not in unlike} for s in (one, other))
        assert mine == theirs
        assert one["disposition"] == other["disposition"]
    # counted from the sound: ffmpeg 7.1 lets a sound of Matroska begin before zero, and a join does not
    first, other = (
        [Fraction(packets(path, kind)[0]["pts_time"]) for kind in ("s:0", "a:0")] for path in (done.joined, done.whole)
    )
    assert first[0] - first[1] == other[0] - other[1]


async def test_loudness_is_measured_over_the_whole_film(tmp_path):
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=6, extra=CODED)
    data = job()
    data["output_maps"][1]["loudness"] = {"target": -20}
    done = await exact(tmp_path, data, 150, Fraction(25))
    assert sound(done.joined) == sound(done.whole)


async def test_the_bytes_of_a_join_are_near_those_of_a_whole_run(tmp_path):
    clip(root(tmp_path) / "film.mkv", picture="s=640x360:r=25", seconds=12, sounds=0, extra=CODED)
    video = {"codec": "libx264", "preset": "veryfast", "crf": 23, "g": 50}
    done = await exact(tmp_path, job(audio=None, video=video, parts={"seconds": 4}), 300, Fraction(25))
    assert done.joined.stat().st_size <= done.whole.stat().st_size * 1.03


async def test_one_encoding_cut_at_forced_key_frames_has_the_same_pictures(tmp_path):
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=6, sounds=0, extra=CODED)
    still = {"codec": "libx264", "preset": "veryfast", "qp": 28, "threads": 1,
             "x264-params": "sliced-threads=0:mbtree=0:scenecut=0:rc-lookahead=0:aq-mode=0", "bf": 0,
             "g": 50}  # fmt: skip
    done = await exact(tmp_path, job(audio=None, video=still), 150, Fraction(25))
    assert pictures(done.joined) == pictures(done.whole)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"video": X264 | {"vf": "minterpolate=fps=50"}}, "the filter minterpolate looks at more than one picture"),
        ({"video": X264 | {"vf": "yadif"}}, "the filter yadif looks at more than one picture"),
        ({"video": X264 | {"vf": "hue=h=t*10"}}, "a filter's expression changes from picture to picture"),
        ({"video": {"codec": "copy"}}, "no picture is encoded"),
        ({"video": {"codec": "libx264", "b": "1M"}}, "the option b needs the rate control of the whole film"),
        ({"video": X264 | {"flags": "+pass1"}}, "it is encoded in two passes"),
        ({"video": X264 | {"r": 50}}, "the option r changes the number of pictures"),
        ({"video": X264 | {"x264-params": "zones=0,10,crf=20"}}, "the encoder's parameter zones means the whole film"),
        ({"video": X264 | {"x264-params": {"open-gop": 1}}}, "open GOPs are asked for"),
        ({"video": {"codec": "mpeg4"}}, "the parts of mpeg4 are not joined"),
        ({"output": "out.avi", "audio": "mp2"}, "a avi file is not joined from parts"),
        ({"input_options": {"ss": 1}}, "the input option ss cannot be placed on frames"),
        ({"parts": "never"}, "the job says never"),
        ({"parts": "auto"}, "one worker makes it as soon"),
    ],
)
async def test_a_film_that_cannot_be_divided_gives_its_reason(tmp_path, change, reason):
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=5, extra=CODED)
    found = await planned(tmp_path, job(**change), Fleet(workers=1))
    assert isinstance(found, Whole)
    assert found.reason.startswith(reason)


async def test_storage_of_one_host_is_a_reason(tmp_path):
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=5, extra=CODED)
    found = await planned(tmp_path, job(), Fleet(workers=2, shared_storage=False))
    assert found == Whole("only one host sees the storage")


async def test_a_changed_source_breaks_the_plan_and_makes_other_keys(tmp_path):
    source = clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=5, extra=CODED)
    bench, task, params = await prepared(tmp_path, job())
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    again = await task.plan(params, 0, Fleet(workers=2), bench)
    assert plan == again
    clip(source, picture="s=160x90:r=25", seconds=5.2, extra=CODED)
    with pytest.raises(PlanBroken, match="the sources are not those that were planned"):
        await task.run_part(params, plan, plan.parts[0], bench)
    other = await task.plan(params, 0, Fleet(workers=2), bench)
    assert not {part.key for part in plan.parts} & {part.key for part in other.parts}


async def test_a_worker_with_another_build_makes_no_part(tmp_path):
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=5, extra=CODED)
    bench, task, params = await prepared(tmp_path, job())
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    for part in plan.parts:
        with pytest.raises(CannotServe, match="the parts are made by another"):
            await task.run_part(params, replace(plan, build="another"), part, bench)
    assert not bench.result.outputs


async def test_parts_that_do_not_match_are_refused(tmp_path):
    clip(root(tmp_path) / "film.mkv", picture="s=160x90:r=25", seconds=5, sounds=0, extra=CODED)
    bench, task, params = await prepared(tmp_path, job(audio=None))
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    for part in plan.parts:
        await task.run_part(params, plan, part, bench)
    paths = {part.index: bench.result.outputs[part.file].path for part in plan.parts}
    other = tmp_path / "other.mp4"
    coded = ("-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-video_track_timescale", "12800")
    ffmpeg("-i", str(paths[1]), *coded, str(other))
    with pytest.raises(VerificationFailed, match=r"part 1 differs from part 0 in .*extradata_hash"):
        await task.join(params, plan, paths | {1: other}, bench)
