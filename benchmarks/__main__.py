"""`python -m benchmarks`: every benchmark after the other; each prints its table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHMARKS = (("fleet.py", "--fair"), ("gource.py",))


def main() -> int:
    """Return 0 if each of them ended well."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    codes = []
    for name, *arguments in BENCHMARKS:
        print(f"\n## {name}\n", flush=True)
        argv = (sys.executable, str(HERE / name), *arguments)
        codes.append(subprocess.run(argv, cwd=HERE.parent, env=environment, check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
