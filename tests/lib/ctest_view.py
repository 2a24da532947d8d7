#!/usr/bin/env python3
"""Filters ctest's output: one line for each test that ended, how long each tier took, then ctest's summary.

usage: ctest ... | ctest_view.py [COMMAND...]    COMMAND's output is shown before the summary
"""

import re
import subprocess
import sys
import time

TIERS = ("fuzz", "peers", "disk", "terminal", "boot")


def tier_of(name):
    return next((tier for tier in TIERS if name.startswith(tier + "/")), "unit")


def show(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def main():
    began, started, ended, counts, in_summary = time.monotonic(), {}, {}, {}, False
    for line in iter(sys.stdin.readline, ""):
        start = re.match(r"\s*Start\s+\d+: (.*)", line)
        if start:
            started.setdefault(tier_of(start.group(1)), time.monotonic() if started else began)
            continue
        result = re.match(r"\s*\d+/\d+ Test +#\d+: (.*)", line)
        if result:
            tier = tier_of(result.group(1))
            ended[tier] = time.monotonic()
            counts[tier] = counts.get(tier, 0) + 1
        if re.match(r"\d+% tests passed", line) and not in_summary:
            in_summary = True
            if len(sys.argv) > 1:
                show(subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True, check=False).stdout + "\n")
            for tier in sorted(ended, key=ended.get):
                show("tier %-6s %4d tests %7.1f s\n" % (tier, counts[tier], ended[tier] - started[tier]))
            show("\n")
        show(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
