"""Small files of every odd kind that people have: each a second or less, made of nothing."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING

from tests.support.media import clip, ffmpeg, turned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=1")
SOUND = ("-f", "lavfi", "-i", "sine=440:r=48000:d=1")
BOTH = (*PICTURE, *SOUND)
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
CHAPTERS = (
    ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=<Überschrift> \\=\\;\\# 日本 \u202e\u0007\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1000\ntitle=\n"
)
SRT = "1\n00:00:00,100 --> 00:00:00,900\nHello\n"


def made(*arguments: str) -> Callable[[Path], Path]:
    """Return what makes a file by one run of ffmpeg."""

    def make(path: Path) -> Path:
        ffmpeg(*arguments, str(path))
        return path

    return make


def streamed(container: str, *arguments: str) -> Callable[[Path], Path]:
    """Return what makes a file that its writer could not go back in."""

    def make(path: Path) -> Path:
        with path.open("wb") as file:
            ffmpeg(*arguments, "-f", container, "pipe:1", into=file)
        return path

    return make


def written(content: bytes) -> Callable[[Path], Path]:
    """Return what makes a file of these bytes."""

    def make(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return make


def _with_cover(path: Path) -> Path:
    cover = path.with_name("cover.jpg")
    ffmpeg(*PICTURE, "-frames:v", "1", str(cover))
    coding = ("-c:a", "libmp3lame") if path.suffix == ".mp3" else ("-c:a", "aac")
    ffmpeg(*SOUND, "-i", str(cover), "-map", "0", "-map", "1", *coding, "-c:v", "copy",
           "-disposition:v", "attached_pic", str(path))  # fmt: skip
    return path


def _turned(path: Path) -> Path:
    return turned(clip(path.with_name("plain.mp4"), picture="s=160x120:r=25", seconds=1), path)


def _chapters(path: Path) -> Path:
    names = path.with_suffix(".txt")
    names.write_text(CHAPTERS, "utf-8")
    ffmpeg(*BOTH, "-i", str(names), "-map_metadata", "2", "-map", "0", "-map", "1", *H264, str(path))
    return path


def _edit_list(path: Path) -> Path:
    whole = clip(path.with_name("whole.mp4"), picture="s=160x120:r=25", seconds=2, extra=("-g", "50"))
    ffmpeg("-ss", "1", "-i", str(whole), "-c", "copy", str(path))
    return path


def _chained(path: Path) -> Path:
    parts = []
    for number in (1, 2):
        part = path.with_name(f"{number}.ogg")
        ffmpeg("-f", "lavfi", "-i", f"sine={number * 300}:r=48000:d=0.5", "-c:a", "libvorbis", str(part))
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


def _longer_header(path: Path) -> Path:
    ffmpeg(*SOUND, str(path))
    content = bytearray(path.read_bytes())
    content[4:8] = (len(content) * 2).to_bytes(4, "little")
    at = content.index(b"data") + 4
    content[at : at + 4] = (len(content) * 2).to_bytes(4, "little")
    path.write_bytes(content)
    return path


def _cover_first(path: Path) -> Path:
    cover = path.with_name("cover.jpg")
    ffmpeg(*PICTURE, "-frames:v", "1", str(cover))
    film = ("-c:v:0", "copy", "-c:v:1", "libx264", "-preset", "ultrafast", "-pix_fmt:v:1", "yuv420p")
    ffmpeg("-i", str(cover), *BOTH, "-map", "0", "-map", "1", "-map", "2", *film, str(path))
    return path


def _attachments(path: Path) -> Path:
    plain, odd = clip(path.with_name("plain.mkv"), picture="s=160x120:r=25", seconds=1), path.with_name("odd.bin")
    odd.write_bytes(b"no font")
    named = (
        ("../../up.ttf", "application/x-truetype-font"),
        ("\u00dcn\u00ef: <x>|?.otf", "font/otf"),
        ("x", "x-odd/y"),
    )
    options = [
        part
        for name, kind in named
        for part in ("--attachment-name", name, "--attachment-mime-type", kind, "--attach-file", odd)
    ]
    subprocess.run(("mkvmerge", "-q", "-o", path, plain, *options), check=True, timeout=60)
    return path


def _podcast(path: Path) -> Path:
    one = path.with_name("one.mp4")
    ffmpeg(*PICTURE, "-frames:v", "1", *H264, str(one))
    ffmpeg("-i", str(one), *SOUND, "-map", "0", "-map", "1", "-c:v", "copy", str(path))
    return path


def _no_cues_merged(path: Path) -> Path:
    whole = clip(path.with_name("whole.mkv"), picture="s=160x120:r=25", seconds=1)
    merged = ("mkvmerge", "-q", "-o", path, "--cues", "0:none", "--cues", "1:none", whole)
    subprocess.run(merged, check=True, timeout=60)
    return path


def _cropped(path: Path) -> Path:
    clip(path, picture="s=160x120:r=25", seconds=1)
    if "turned" in path.name:
        turned(path.rename(path.with_suffix(".mp4")), path)
    crop = ("--edit", "track:v1", "--set", "pixel-crop-left=20", "--set", "pixel-crop-right=20")
    subprocess.run(("mkvpropedit", "-q", path, *crop), check=True, timeout=60)
    return path


def _ordered_chapters(path: Path) -> Path:
    plain, listed = clip(path.with_name("plain.mkv"), picture="s=160x120:r=25", seconds=2), path.with_suffix(".xml")
    times = (("00:00:01.000000000", "00:00:02.000000000"), ("00:00:00.000000000", "00:00:01.000000000"))
    atoms = "".join(
        f"<ChapterAtom><ChapterTimeStart>{begin}</ChapterTimeStart><ChapterTimeEnd>{end}</ChapterTimeEnd></ChapterAtom>"
        for begin, end in times
    )
    edition = f"<EditionEntry><EditionFlagOrdered>1</EditionFlagOrdered>{atoms}</EditionEntry>"
    listed.write_text(f'<?xml version="1.0"?><Chapters>{edition}</Chapters>')
    subprocess.run(("mkvmerge", "-q", "-o", path, "--chapters", listed, plain), check=True, timeout=60)
    return path


def _two_sizes(path: Path) -> Path:
    parts = [path.with_name(f"{size}.ts") for size in ("160x120", "320x180")]
    for part in parts:
        ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={part.stem}:r=25:d=1", *H264, str(part))
    listed = path.with_suffix(".txt")
    listed.write_text("".join(f"file {part}\n" for part in parts))
    sound = ("-f", "lavfi", "-i", "sine=440:r=48000:d=2")
    ffmpeg("-f", "concat", "-safe", "0", "-i", str(listed), *sound, "-c:v", "copy", "-c:a", "aac", str(path))
    return path


def _cue_sheet(path: Path) -> Path:
    """FLAC with a CUESHEET block (RFC 9639, 8.7) of two tracks and the lead-out, and with a CUE text in its tags."""
    plain = path.with_name("plain.flac")
    ffmpeg(*SOUND, "-metadata", 'CUESHEET=FILE "a.wav" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n', str(plain))
    content, head = plain.read_bytes(), 4 + 4 + 34
    index = struct.pack(">QB3x", 0, 1)
    tracks = [struct.pack(">QB12sB13xB", at, number, b"", 0, number < _LEAD_OUT) for at, number in _CUES]
    listed = b"".join(
        track + (index if number < _LEAD_OUT else b"") for track, (_, number) in zip(tracks, _CUES, strict=True)
    )
    block = b"1234567890123".ljust(128, b"\0") + struct.pack(">QB258xB", 88_200, 1, len(_CUES)) + listed
    path.write_bytes(content[:head] + b"\x05" + len(block).to_bytes(3, "big") + block + content[head:])
    return path


_LEAD_OUT = 170
_CUES = ((0, 1), (24_000, 2), (48_000, _LEAD_OUT))
OPERATIONS = ("remux", "encode", "hls", "waveform", "thumbnail")

FILES: dict[str, Callable[[Path], Path]] = {
    "variable rate.mkv": made(*BOTH, "-vf", "select='not(eq(mod(n,5),2))'", "-fps_mode", "vfr", *H264),
    "turned.mp4": _turned,
    "turned.mkv": _turned,
    "oblong pixels.mkv": made(*BOTH, "-vf", "setsar=64/45", *H264),
    "odd size.mkv": made("-f", "lavfi", "-i", "testsrc2=s=161x121:r=25:d=1", "-c:v", "ffv1", "-pix_fmt", "yuv444p"),
    "one pixel.mkv": made("-f", "lavfi", "-i", "testsrc2=s=2x2:r=25:d=1", "-c:v", "ffv1"),
    "ten bits.mkv": made(*BOTH, "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"),
    "4_2_2.mkv": made(*BOTH, *H264, "-pix_fmt", "yuv422p"),
    "grey.mkv": made(*PICTURE, "-c:v", "ffv1", "-pix_fmt", "gray"),
    "see-through.webm": made(*BOTH, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-cpu-used", "8", "-c:a", "libopus"),
    "prores.mov": made(*BOTH, "-c:v", "prores_ks", "-c:a", "pcm_s24le"),
    "mono 8 kHz.wav": made("-f", "lavfi", "-i", "sine=440:r=8000:d=1"),
    "8 bits.wav": made(*SOUND, "-c:a", "pcm_u8"),
    "7.1.mkv": made(*PICTURE, "-f", "lavfi", "-i", "anoisesrc=d=1:r=48000,pan=7.1|c0=c0|c1=c0", *H264, "-c:a", "flac"),
    "384 kHz.wav": made("-f", "lavfi", "-i", "sine=440:r=384000:d=1"),
    "two videos.mkv": made(*BOTH, *PICTURE, "-map", "0", "-map", "1", "-map", "2", *H264),
    "cover.mp3": _with_cover,
    "cover.m4a": _with_cover,
    "chapters.mkv": _chapters,
    "negative times.mkv": made(*BOTH, *H264, "-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled"),
    "late.mkv": made(*BOTH, *H264, "-output_ts_offset", "1000"),
    "edit list.mp4": _edit_list,
    "b-frames.avi": made(*BOTH, "-c:v", "mpeg4", "-bf", "2", "-c:a", "libmp3lame"),
    # MPEG-4 of libxvid has two pictures in one packet, and an empty one behind
    "packed b-frames.avi": made(*BOTH, "-c:v", "libxvid", "-bf", "2", "-c:a", "libmp3lame"),
    "cropped.mkv": _cropped,
    "turned and cropped.mkv": _cropped,
    "ordered chapters.mkv": _ordered_chapters,
    "two sizes.ts": _two_sizes,
    "cue sheet.flac": _cue_sheet,
    "motion.avi": made(*BOTH, "-c:v", "mjpeg", "-c:a", "pcm_s16le"),
    "program.mpg": made(*BOTH, "-c:v", "mpeg2video", "-c:a", "mp2"),
    "dvd.vob": made(*BOTH, "-c:v", "mpeg2video", "-c:a", "ac3", "-f", "vob"),
    "windows.wmv": made(*BOTH, "-c:v", "wmv2", "-c:a", "wmav2"),
    "flash.flv": made(*BOTH, "-c:v", "flv1", "-c:a", "libmp3lame", "-ar", "44100"),
    "phone.3gp": made(
        "-f", "lavfi", "-i", "testsrc2=s=176x144:r=15:d=1", *SOUND, "-c:v", "h263", "-c:a", "aac", "-ac", "1"
    ),
    "theora.ogv": made(*BOTH, "-c:v", "libtheora", "-c:a", "libvorbis"),
    "chained.ogg": _chained,
    "no cues.mkv": streamed("matroska", *BOTH, *H264),
    "piped.wav": streamed("wav", *SOUND),
    "piped.avi": streamed("avi", *BOTH),
    "late and live.flv": streamed("flv", *BOTH, "-ar", "44100", "-output_ts_offset", "3600"),
    "pyramid.avi": made(*BOTH, "-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p"),
    "late sound.ts": made(*PICTURE, "-itsoffset", "1", *SOUND, *H264),
    "cover first.mp4": _cover_first,
    "attachments.mkv": _attachments,
    "22.2.wav": made(*SOUND, "-af", "aformat=channel_layouts=22.2"),
    "prores 4444.mov": made(*BOTH, "-c:v", "prores_ks", "-pix_fmt", "yuva444p10le", "-c:a", "pcm_s24le"),
    "rgb.mkv": made(*BOTH, "-c:v", "libx264rgb", "-preset", "ultrafast"),
    "movie.m2ts": made(*BOTH, *H264, "-c:a", "ac3", "-mpegts_m2ts_mode", "1"),
    "no cues, merged.mkv": _no_cues_merged,
    "fragments.mp4": made(*BOTH, *H264, "-movflags", "frag_keyframe+empty_moov"),
    "broadcast.mxf": made(*BOTH, "-c:v", "mpeg2video", "-c:a", "pcm_s16le"),
    "animated.gif": made(*PICTURE),
    "animated.apng": made(*PICTURE, "-f", "apng"),
    "animated.webp": made(*PICTURE, "-loop", "0"),
    "tape.dv": made("-f", "lavfi", "-i", "testsrc2=s=720x576:r=25:d=1", *SOUND, "-pix_fmt", "yuv420p", "-ac", "2"),
    "opus.mp4": made(*BOTH, *H264, "-c:a", "libopus"),
    "lossless.m4a": made(*SOUND, "-c:a", "alac"),
    "pack.wv": made(*SOUND),
    "sound.aiff": made(*SOUND),
    "sound.caf": made(*SOUND),
    "sound.ac3": made(*SOUND),
    "sound.aac": made(*SOUND),
    "longer header.wav": _longer_header,
    "interlaced.ts": made(*BOTH, "-vf", "setfield=tff", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-c:a", "mp2"),
    "raw.h264": made(*PICTURE, *H264),
    "raw.y4m": made(*PICTURE),
    "one picture.mkv": _podcast,
    "still.png": made(*PICTURE, "-frames:v", "1"),
    "still.jpg": made(*PICTURE, "-frames:v", "1"),
    "fast.mkv": made("-f", "lavfi", "-i", "testsrc2=s=160x120:r=500:d=1", *H264),
    "slow.mkv": made("-f", "lavfi", "-i", "testsrc2=s=160x120:r=1:d=2", *H264),
    "time code.mov": made(*BOTH, *H264, "-timecode", "01:00:00:00"),
    "texts.srt": written(SRT.encode()),
    "wide.srt": written(SRT.encode("utf-16")),
    "no cue.srt": written(b"\n\n"),
    "empty.srt": written(b""),
    "empty.mkv": written(b""),
    "one byte.mp4": written(b"\x00"),
    "text.mp4": written(b"This is no film.\n" * 50),
    "playlist.mp4": written(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
    "new\nline.mkv": made(*BOTH, *H264),
    "-dash %d 'quote\".mkv": made(*BOTH, *H264),
}
"""Names and how the files are made; the folder of each is its own."""

REFUSED: dict[str, dict[str, str]] = {
    # no container of ours holds them, or none that the job names
    "animated.webp": dict.fromkeys(OPERATIONS, "BadInput"),
    "animated.apng": {"remux": "InvalidJob"},
    # ffmpeg would make up wrong times for two pictures in one packet, and for pictures that depend on later ones
    "packed b-frames.avi": {"remux": "InvalidJob"},
    "pyramid.avi": {"remux": "InvalidJob"},
    "22.2.wav": {"encode": "InvalidJob"},
    "time code.mov": {"remux": "InvalidJob"},
    # a picture on a cover is copied, and MP4 takes no H.264 there
    "cover.mp3": {"encode": "InvalidJob"},
    "cover.m4a": {"encode": "InvalidJob"},
    "longer header.wav": dict.fromkeys(OPERATIONS, "BadInput"),
    **{name: {"encode": "InvalidJob", "hls": "BadInput"} for name in ("texts.srt", "wide.srt")},
    **{
        name: dict.fromkeys(OPERATIONS, "BadInput")
        for name in ("no cue.srt", "empty.srt", "empty.mkv", "one byte.mp4", "text.mp4", "playlist.mp4")
    },
    "new\nline.mkv": dict.fromkeys(OPERATIONS, "RefusedPath"),
}
"""The error of each operation that a file is refused by; what has no picture has no still, and no sound no waveform."""
