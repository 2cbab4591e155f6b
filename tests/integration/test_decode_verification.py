"""`"verify": "decode"` in every module that takes it: what does not decode to its end is not accepted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.media import bench_in, clip
from worker.app.components import registry
from worker.core.errors import BadInput, LeveretError, VerificationFailed

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import TaskBench

FILM = "nas://film.mkv"
FAST = {"specifier": "v", "options": {"codec": "libx264", "preset": "ultrafast"}}
DATA: dict[str, dict[str, Any]] = {
    "ffmpeg": {"sources": [FILM], "source_maps": [{"specifier": "v"}], "output_maps": [FAST], "output_file": "o.mkv"},
    "hls": {"source": FILM, "renditions": [{"height": 90}], "poster": False, "storyboard": False},
    "mkvmerge": {"sources": [FILM], "tracks": [{"track": 0}], "output_file": "o.mkv"},
    "handbrake": {"source": FILM, "output_file": "o.mkv", "video_options": {"encoder": "x264"}},
    "probe": {"source": FILM},
    "waveform": {"source": FILM, "resolution": "160x90", "framerate": 25},
}
MODULES = registry().tasks


def bench(folder: Path) -> TaskBench:
    """Return a bench whose ffmpeg finds a fault in everything that it only decodes."""
    program = folder / "ffmpeg"
    folder.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '*"-c:s copy -f null -") echo "[h264 @ 0x5] error while decoding MB 1 2" >&2 ;;\n'
        f'*) exec {shutil.which("ffmpeg")} "$@" ;;\n'
        "esac\n"
    )
    program.chmod(0o755)
    bench = bench_in(folder, ffmpeg=str(program))
    clip(bench.root / "film.mkv", seconds=1)
    return bench


def test_the_modules_that_decode_on_request_are_these() -> None:
    takers = {name for name, task in MODULES.items() if "verify" in task.params.model_fields}
    # gource makes its film as waveform does, by the same task
    assert takers == {*DATA, "gource"}


@pytest.mark.parametrize("module", DATA)
async def test_an_output_that_does_not_decode_is_accepted_only_where_decoding_is_not_asked_for(
    module: str, tmp_path: Path
) -> None:
    await bench(tmp_path / "probed").run_task(MODULES[module], DATA[module])
    with pytest.raises(LeveretError, match="error while decoding MB 1 2") as caught:
        await bench(tmp_path / "decoded").run_task(MODULES[module], DATA[module] | {"verify": "decode"})
    assert type(caught.value) in {VerificationFailed, BadInput}
