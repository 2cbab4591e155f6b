"""`make bench`: every table, or one by its name with options of its own.

python -m benchmarks [cli | ladder | overhead | gource | fleet | folders | parts | queries | scan | web [options]]
"""

from __future__ import annotations

import signal
import sys

from benchmarks import cli, fleet, folders, gource, ladder, overhead, parts, queries, scan, web

TABLES = {
    "cli": cli.main,
    "ladder": ladder.main,
    "overhead": overhead.main,
    "gource": gource.main,
    "fleet": fleet.main,
    "folders": folders.main,
    "parts": parts.main,
    "web": web.main,
    "queries": queries.main,
    "scan": scan.main,
}


def main() -> int:
    """Return 0 when every table that was asked for is printed, 2 for a name of none."""
    name, *options = sys.argv[1:] or [""]
    if name and name not in TABLES:
        sys.stderr.write(f"usage: python -m benchmarks [{' | '.join(TABLES)} [options]]\n")
        return 2
    # An end that was asked for ends the services and workers of a table too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for each, table in TABLES.items():
        if name in {"", each}:
            print(f"## {each}\n", flush=True)
            table(options)
            print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
