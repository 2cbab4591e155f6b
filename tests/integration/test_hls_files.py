"""The files that the hls module publishes: their names, and the playlists and pictures beside the renditions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import m3u8
import pytest

from tests.support.hls import make, probe
from tests.support.media import clip

if TYPE_CHECKING:
    from pathlib import Path


async def test_every_rendition_has_a_playlist_of_its_key_frames_alone(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", picture="s=640x360:r=25", seconds=5))
    variants, stills = made.master().playlists, made.master().iframe_playlists
    assert [still.iframe_stream_info.resolution for still in stills] == [(640, 360), (426, 240)]
    for variant, still in zip(variants, stills, strict=True):
        assert "#EXT-X-I-FRAMES-ONLY" in made.text(still.uri)
        listed = m3u8.loads(made.text(still.uri))
        assert [segment.duration for segment in listed.segments] == pytest.approx([2, 2, 1])
        assert variant.stream_info.bandwidth > still.iframe_stream_info.bandwidth > 0
        home = (made.folder / still.uri).parent
        for segment in listed.segments:
            length, start = map(int, segment.byterange.split("@"))
            part = (home / segment.uri).read_bytes()[start : start + length]
            (home / "still.mp4").write_bytes((home / listed.segment_map[0].uri).read_bytes() + part)
            seen = probe(home / "still.mp4", "-show_frames")["packets_and_frames"]
            (frame,) = [item for item in seen if item["type"] == "frame"]
            assert (frame["pict_type"], frame["width"]) == ("I", still.iframe_stream_info.resolution[0])


async def test_transport_stream_segments_are_made_on_request(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4"), segment_format="ts")
    (variant,) = made.master().playlists
    assert m3u8.loads(made.text(variant.uri)).segments[0].uri.endswith(".ts")
    assert "manifest.mpd" not in made.result.outputs


async def test_immutable_files_lie_under_the_attempt_and_only_manifests_at_fixed_names(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4"), destination="film/")
    outputs = made.result.outputs
    assert [name for name, staged in outputs.items() if not staged.immutable] == [
        "film/manifest.mpd",
        "film/master.m3u8",
    ]
    assert all(name.startswith("film/e1/") for name, staged in outputs.items() if staged.immutable)
    assert list(outputs)[-1] == made.result.manifest == "film/master.m3u8"


async def test_a_transcode_job_puts_each_output_where_it_says(tmp_path: Path) -> None:
    source = clip(tmp_path / "source.mp4", picture="s=640x360:r=25")
    renditions = [
        {"resolution": "360p", "bitrate": "600k", "codec": "h264_nvenc", "dest_path": "nas://processed/a b/360p/"},
        {"resolution": "180p", "bitrate": "200k", "codec": "h264", "dest_path": "nas://processed/a b/180p"},
    ]
    data = {"renditions": renditions, "hw_fallback": True, "master_playlist_name": "index.m3u8"}
    made = await make(tmp_path, source, **data)
    assert made.result.manifest == "nas://processed/a b/index.m3u8"
    assert any("h264_nvenc" in warning for warning in made.result.warnings)
    outputs = made.result.outputs
    assert not outputs["nas://processed/a b/360p/index.m3u8"].immutable
    assert outputs["nas://processed/a b/360p/e1/360p/00001.m4s"].immutable
    master = made.master("processed/a b/index.m3u8")
    assert [variant.uri for variant in master.playlists] == ["360p/index.m3u8", "180p/index.m3u8"]
    assert master.playlists[0].stream_info.average_bandwidth == pytest.approx(600_000 + 64_000, rel=0.35)
    probe(made.whole("processed/a b/360p/index.m3u8"))


async def test_one_transcode_output_keeps_the_master_name_and_gives_way_with_its_own(tmp_path: Path) -> None:
    renditions = [{"resolution": "180p", "codec": "h264", "dest_path": "nas://done/180p/"}]
    source = clip(tmp_path / "source.mp4")
    made = await make(tmp_path, source, renditions=renditions, master_playlist_name="index.m3u8")
    assert made.result.manifest == "nas://done/180p/index.m3u8"
    assert "nas://done/180p/media.m3u8" in made.result.outputs


async def test_poster_and_storyboard_show_the_film(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", seconds=4), poster=True, storyboard=True)
    assert made.result.thumbnail == "e1/poster.jpg"
    picture = probe(made.folder / "e1/poster.jpg")["streams"][0]
    assert (picture["width"], picture["height"]) == (320, 180)
    (images,) = made.master().image_playlists
    assert images.image_stream_info.resolution == (240, 136)
    listed = m3u8.loads(made.text(images.uri))
    assert listed.is_images_only
    assert [segment.uri for segment in listed.segments] == ["sheet_001.jpg"]
    assert "#EXT-X-TILES:RESOLUTION=240x136,LAYOUT=5x5,DURATION=2.000" in made.text(images.uri)
    cues = made.text("e1/storyboard/storyboard.vtt")
    assert "00:00:02.000 --> 00:00:04.000\nsheet_001.jpg#xywh=240,0,240,136" in cues
    sheet = probe(made.folder / "e1/storyboard/sheet_001.jpg")["streams"][0]
    assert (sheet["width"], sheet["height"]) == (1200, 680)


async def test_the_mpd_names_files_that_are_there(tmp_path: Path) -> None:
    made = await make(tmp_path, clip(tmp_path / "source.mp4", sounds=2), storyboard=True)
    templates = re.findall(r'media="([^"]+)"', made.text("manifest.mpd"))
    assert len(templates) == 4
    for template in templates:
        media = re.sub(r"\$Number%0(\d)d\$", lambda match: f"{1:0{match[1]}d}", template)
        assert (made.folder / media).stat().st_size > 0
