"""`python -m tests.traced`: trace every option, write the table; exit 1 when a tool touched the canary."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from worker.adapters.host import bundled_tools, find_tools

from .options import CANARY, Case, cases

TABLE = Path(__file__).parent / "options.tsv"
SECONDS = 30.0
PROGRAMS = {
    "handbrake": "HandBrakeCLI",
    "mkvmerge": "mkvmerge",
    "ffmpeg": "ffmpeg",
    "parameters": "ffmpeg",
    "gource": "gource",
}


def main() -> int:
    """Return 0 when no option made a tool touch the path that is its value. `only` tools may be named."""
    wanted = sys.argv[1:] or [*PROGRAMS, "packager"]
    installed = find_tools(dict.fromkeys((*PROGRAMS.values(), "packager")), bundled_tools())
    installed |= {name: installed[program] for name, program in PROGRAMS.items() if program in installed}
    tools = {name: installed[name] for name in wanted if name in installed}
    if missing := sorted({*wanted} - tools.keys()) + ["strace"] * (shutil.which("strace") is None):
        sys.stderr.write(f"not installed: {', '.join(missing)}\n")
        return 2
    verdicts: dict[tuple[str, str, str], str] = {}
    with tempfile.TemporaryDirectory(prefix="leveret-traced-") as name:
        folder = Path(name)
        clip = _clip(folder, shutil.which("ffmpeg") or "ffmpeg")
        for case in cases(tools, folder, clip):
            verdict = "refused" if case.refusal else _traced(case, folder)
            if verdicts.get(case.key) != "OPENED":
                verdicts[case.key] = verdict if verdict != "refused" else verdicts.get(case.key, verdict)
    old = (
        [line for line in TABLE.read_text().splitlines() if line.split("\t")[0] not in tools] if TABLE.exists() else []
    )
    lines = [*filter(None, old), *("\t".join((*key, verdict)) for key, verdict in verdicts.items())]
    TABLE.write_text("".join(f"{line}\n" for line in sorted(lines)))
    opened = [key for key, verdict in verdicts.items() if verdict == "OPENED"]
    sys.stdout.write(f"{len(verdicts)} options traced, {len(opened)} touched a file\n")
    sys.stdout.writelines(f"touched: {' '.join(key)}\n" for key in opened)
    return 1 if opened else 0


def touches(trace: str) -> bool:
    """Return whether a trace has a call that names the canary; exec's is our own, which holds the argv."""
    return any(CANARY in line and "execve(" not in line and "<... " not in line for line in trace.splitlines())


def _traced(case: Case, folder: Path) -> str:
    trace = folder / "trace"
    trace.unlink(missing_ok=True)
    (folder / CANARY).write_text("00:00:00.000,a secret line\n")
    argv = ("strace", "-f", "-qq", "-s", "4096", "--seccomp-bpf", "-e", "trace=%file", "-o", str(trace), *case.argv)
    try:
        subprocess.run(argv, cwd=folder, capture_output=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return "untouched, ended after its time"
    return "OPENED" if touches(trace.read_text(errors="replace")) else "untouched"


def _clip(folder: Path, ffmpeg: str) -> Path:
    clip = folder / "clip.mkv"
    picture, sound = ("-f", "lavfi", "-i", "testsrc=s=256x144:r=10:d=0.5"), ("-f", "lavfi", "-i", "sine=d=0.5")
    argv = (ffmpeg, "-v", "error", "-y", *picture, *sound, "-c:v", "libx264", "-c:a", "aac", str(clip))
    subprocess.run(argv, check=True)
    return clip


if __name__ == "__main__":
    sys.exit(main())
