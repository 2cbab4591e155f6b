"""hls.js and shaka-player in headless Chromium: whether a presentation plays to its end, and what they buffered."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = {"hls.js": "hls.js@1", "shaka-player": "shaka-player@4"}
SECONDS = 60
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"),
    "--autoplay-policy=no-user-gesture-required",
)
PAGE = """<!doctype html><meta charset="utf-8"><video id="v" muted></video>
<script src="/npm/hls.js/dist/hls.js"></script>
<script src="/npm/shaka-player/dist/shaka-player.compiled.debug.js"></script>
<script>
const [player, manifest, rate] = decodeURIComponent(location.search.slice(1)).split("|");
const video = document.getElementById("v");
const seen = {errors: [], audio: null, video: null};
const told = {done: false};
function tell(state) {
  if (told.done) return;
  told.done = true;
  const quality = video.getVideoPlaybackQuality();
  fetch("/result", {method: "POST", body: JSON.stringify({...seen, state, time: video.currentTime,
    duration: video.duration, width: video.videoWidth, height: video.videoHeight, frames: quality.totalVideoFrames,
    cues: Array.from(video.textTracks).reduce((sum, track) => sum + (track.cues || []).length, 0)})});
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
    if not all((cache / "node_modules" / name).is_dir() for name in PACKAGES):
        cache.mkdir(parents=True, exist_ok=True)
        argv = ("npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(cache), *PACKAGES.values())
        subprocess.run(argv, check=True, timeout=240, capture_output=True)
    return cache / "node_modules"


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the presentation, the players and the page; takes the page's result."""

    extensions_map = TYPES

    def __init__(
        self, *arguments: Any, packages: Path, inbox: dict[str, Any], done: threading.Event, **named: Any
    ) -> None:
        self.packages, self.inbox, self.done = packages, inbox, done
        super().__init__(*arguments, **named)

    def translate_path(self, path: str) -> str:
        if path.startswith("/npm/"):
            return str(self.packages / path.removeprefix("/npm/"))
        return super().translate_path(path)

    def do_GET(self) -> None:
        if not self.path.startswith("/page"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def do_POST(self) -> None:
        self.inbox |= json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.done.set()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(folder: Path, inbox: dict[str, Any], done: threading.Event) -> Iterator[str]:
    """Yield the address of `folder` on loopback."""
    handler = functools.partial(_Handler, directory=str(folder), packages=player_packages(), inbox=inbox, done=done)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def played(player: str, folder: Path, manifest: str, *, rate: float = 2) -> dict[str, Any]:
    """Return what a player tells of `manifest` in `folder` at its end, `state` "ended" when all is well."""
    inbox: dict[str, Any] = {}
    done = threading.Event()
    profile = tempfile.mkdtemp(prefix="chromium-")
    with served(folder, inbox, done) as address:
        url = f"{address}/page?{player}|/{manifest}|{rate}"
        argv = ("chromium", *FLAGS, f"--user-data-dir={profile}", url)
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as browser:
            ended = done.wait(SECONDS)
            os.killpg(browser.pid, signal.SIGKILL)
    shutil.rmtree(profile, ignore_errors=True)
    return inbox if ended else {"state": "timed out", "errors": [], **inbox}
