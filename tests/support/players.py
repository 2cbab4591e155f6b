"""hls.js and shaka-player in headless Chromium: whether a presentation plays to its end, and what they buffered.

One Chromium serves a whole session of tests. Players run side by side in frames of one page: Chromium plays no film in
a tab that nobody looks at.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import http.server
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Report: TypeAlias = "tuple[int, dict[str, Any]]"

PACKAGES = {"hls.js": "hls.js@1", "shaka-player": "shaka-player@4"}
SECONDS = 60
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"),
    *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"),
    # a page that Chromium takes for hidden has clocks that tick once a second
    *("--disable-background-timer-throttling", "--disable-renderer-backgrounding"),
    *("--disable-backgrounding-occluded-windows", "--disable-background-media-suspend"),
)
PAGE = """<!doctype html><meta charset="utf-8"><video id="v" muted></video>
<script src="/npm/hls.js/dist/hls.js"></script>
<script src="/npm/shaka-player/dist/shaka-player.compiled.debug.js"></script>
<script>
const [player, manifest, rate, number] = decodeURIComponent(location.search.slice(1)).split("|");
const video = document.getElementById("v");
const seen = {errors: [], audio: null, video: null};
const report = {done: false};
function tell(state) {
  if (report.done) return;
  report.done = true;
  const quality = video.getVideoPlaybackQuality();
  const cues = Array.from(video.textTracks).flatMap((track) => Array.from(track.cues || []));
  fetch("/result/" + number, {method: "POST", body: JSON.stringify({...seen, state, time: video.currentTime,
    duration: video.duration, width: video.videoWidth, height: video.videoHeight, frames: quality.totalVideoFrames,
    cues: cues.map((cue) => [cue.startTime, cue.endTime, cue.text, cue.line, cue.align, cue.position])})});
}
video.addEventListener("ended", () => tell("ended"));
video.addEventListener("error", () => { seen.errors.push("media " + video.error.message); tell("error"); });
// every kind of track begins its buffer where its first sample plays
const append = SourceBuffer.prototype.appendBuffer;
const kinds = new Map();
const add = MediaSource.prototype.addSourceBuffer;
MediaSource.prototype.addSourceBuffer = function (type) {
  const buffer = add.call(this, type);
  const kind = type.startsWith("audio") ? "audio" : "video";
  buffer.addEventListener("updateend", () => {
    try { if (buffer.buffered.length && seen[kind] === null) seen[kind] = buffer.buffered.start(0); } catch (error) {}
  });
  return buffer;
};
(async () => {
  try {
    if (player === "hls.js") {
      const hls = new Hls({enableWorker: false});
      hls.on(Hls.Events.ERROR, (_, data) => { seen.errors.push(data.details); if (data.fatal) tell("error"); });
      hls.on(Hls.Events.MANIFEST_PARSED, () => {
        seen.levels = hls.levels.length; seen.tracks = hls.allAudioTracks.length;
        seen.texts = hls.allSubtitleTracks.length;
        seen.languages = hls.allAudioTracks.map((track) => track.lang);
        video.play();
      });
      video.addEventListener("playing", () => { hls.subtitleDisplay = true; hls.subtitleTrack = 0; }, {once: true});
      hls.loadSource(manifest);
      hls.attachMedia(video);
    } else {
      shaka.polyfill.installAll();
      const engine = new shaka.Player();
      await engine.attach(video);
      engine.addEventListener("error", (event) => { seen.errors.push("shaka " + event.detail.code); tell("error"); });
      await engine.load(manifest);
      seen.levels = new Set(engine.getVariantTracks().map((t) => t.height)).size;
      seen.tracks = engine.getAudioLanguages().length; seen.texts = engine.getTextTracks().length;
      seen.languages = engine.getAudioLanguages();
      seen.images = engine.getImageTracks().length;
      if (seen.texts) { engine.selectTextTrack(engine.getTextTracks()[0]); await engine.setTextTrackVisibility(true); }
      await video.play();
    }
    video.playbackRate = Number(rate || 1);
  } catch (error) { seen.errors.push(String(error.code || error)); tell("error"); }
})();
</script>"""
TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl", ".mpd": "application/dash+xml", ".mp4": "video/mp4",
    ".m4s": "video/iso.segment", ".ts": "video/mp2t", ".vtt": "text/vtt", ".js": "text/javascript",
}  # fmt: skip


def player_packages() -> Path:
    """Return a folder with the players, which npm fetches once a machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "leveret-tests" / "players"
    cache.mkdir(parents=True, exist_ok=True)
    # several test processes begin at once, and npm does not share a folder
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all((cache / "node_modules" / name / "package.json").is_file() for name in PACKAGES):
            argv = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix", str(cache))
            subprocess.run((*argv, *PACKAGES.values()), check=True, timeout=240, capture_output=True)
    return cache / "node_modules"


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the presentation, the players and the page; takes the page's result."""

    extensions_map = TYPES

    def __init__(self, *arguments: Any, packages: Path, report: queue.Queue[Report], **named: Any) -> None:
        self.packages, self.report = packages, report
        super().__init__(*arguments, **named)

    def translate_path(self, path: str) -> str:
        if path.startswith("/npm/"):
            return str(self.packages / path.removeprefix("/npm/"))
        return super().translate_path(path)

    def do_GET(self) -> None:
        if not self.path.startswith("/page"):
            super().do_GET()
            return
        _, _, frames = self.path.partition("/pages?")
        page = "".join(f'<iframe src="/page?{query}" width="200" height="200"></iframe>' for query in frames.split("&"))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write((page if frames else PAGE).encode())

    def do_POST(self) -> None:
        verdict = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.report.put((int(self.path.rpartition("/")[2]), verdict))

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(folder: Path, report: queue.Queue[Report]) -> Iterator[str]:
    """Yield the address of `folder` on loopback."""
    handler = functools.partial(_Handler, directory=str(folder), packages=player_packages(), report=report)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Browser:
    """A running Chromium, report what to do through its debugging port."""

    def __init__(self, address: str) -> None:
        self._address = address

    def _ask(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{self._address}{path}", method=method)  # noqa: S310  # loopback
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310  # loopback
            body: bytes = answer.read()
        return body

    def played(self, folder: Path, plays: Sequence[tuple[str, str]], *, rate: float = 2) -> list[dict[str, Any]]:
        """Return what each player tells of its manifest in `folder` at its end, `state` "ended" when all is well."""
        report: queue.Queue[Report] = queue.Queue()
        results: dict[int, dict[str, Any]] = {}
        queries = [quote(f"{player}|/{manifest}|{rate}|{number}") for number, (player, manifest) in enumerate(plays)]
        with served(folder, report) as address:
            page = quote(f"{address}/pages?{'&'.join(queries)}", safe="")
            tab = json.loads(self._ask(f"/json/new?{page}", "PUT"))["id"]
            deadline = time.monotonic() + SECONDS
            while len(results) < len(plays):
                try:
                    number, verdict = report.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
                results[number] = verdict
            self._ask(f"/json/close/{tab}")
        return [results.get(number, {"state": "timed out", "errors": []}) for number in range(len(plays))]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Yield a Chromium that ends, with all its processes, as the block does."""
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    port = profile / "DevToolsActivePort"
    argv = ("chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank")
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while not port.exists() or "\n" not in port.read_text():
                assert process.poll() is None, "Chromium did not start"
                assert time.monotonic() < deadline, "Chromium report no debugging port"
                time.sleep(0.05)
            yield Browser(f"http://127.0.0.1:{port.read_text().splitlines()[0]}")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    shutil.rmtree(profile, ignore_errors=True)
