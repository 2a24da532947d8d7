#!/usr/bin/env python3
"""clang-tidy over source files, some at a time; what was clean and has not changed since is not looked at again.

usage: tidy.py BUILD_DIR CACHE_DIR JOBS FILE...

A file's key is the hash of its compile command, of .clang-tidy, of clang-tidy's version, of the file, and of
every file of ours that it includes. Headers of installed packages are not in it: they come with a Debian release,
and so does clang-tidy.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import time

# Second names of bugprone checks that are on anyway; each would look at every identifier of every header again.
ALIASES = "-cert-con36-c,-cert-con54-cpp,-cert-dcl37-c,-cert-dcl51-cpp"
# The path analyser takes half of the time. It gets a tenth of its usual budget for each function (measured on the
# reports' source: 20 s without a limit, 11.5 s with this one), and leaves tests alone.
ANALYSER_BUDGET = [word for option in ("-analyzer-config", "max-nodes=20000")
                   for word in ("--extra-arg=-Xclang", "--extra-arg=" + option)]
INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def closure(path, root):
    """The file and all of our own files that it includes, directly or not."""
    seen, waiting = set(), [os.path.realpath(path)]
    while waiting:
        current = waiting.pop()
        if current in seen or not os.path.isfile(current):
            continue
        seen.add(current)
        with open(current, "rb") as text:
            for name in INCLUDE.findall(text.read()):
                waiting += [os.path.realpath(os.path.join(base, name.decode()))
                            for base in (root, os.path.dirname(current))]
    return sorted(seen)


def main():
    build, cache, jobs, files = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    root = os.getcwd()
    with open(os.path.join(build, "compile_commands.json")) as text:
        commands = {os.path.realpath(c["file"]): c["command"] for c in json.load(text)}
    version = subprocess.run(["clang-tidy", "--version"], stdout=subprocess.PIPE, check=True).stdout
    with open(".clang-tidy", "rb") as text:
        config = text.read()
    os.makedirs(cache, exist_ok=True)

    def check(path):
        """(path, seconds or None when known to be clean, output or None when clean)"""
        if os.path.realpath(path) not in commands:
            return path, 0, "is in no target of the debug build\n"
        options = ["--checks=" + ALIASES + (",-clang-analyzer-*" if path.endswith("_test.cc") else "")] + ANALYSER_BUDGET
        digest = hashlib.sha256(version + config + repr(options).encode() + commands[os.path.realpath(path)].encode())
        for part in closure(path, root):
            with open(part, "rb") as text:
                digest.update(os.path.relpath(part, root).encode() + b"\0" + text.read())
        mark = os.path.join(cache, digest.hexdigest())
        if os.path.exists(mark):
            return path, None, None
        started = time.monotonic()
        done = subprocess.run(["clang-tidy", "--quiet", *options, "-p", build, path], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False)
        if done.returncode == 0:
            with open(mark, "w"):
                pass
            return path, time.monotonic() - started, None
        return path, time.monotonic() - started, done.stdout or "clang-tidy failed\n"

    bad = skipped = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for path, seconds, output in pool.map(check, files):
            skipped += seconds is None
            if output is not None:
                bad += 1
                print("clang-tidy: %s:\n%s" % (path, output), flush=True)
    print("clang-tidy: %d files, %d unchanged since they were clean, %d with findings" % (len(files), skipped, bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
