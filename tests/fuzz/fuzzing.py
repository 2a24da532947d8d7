"""Runs one fuzz target for some seconds, and says what came of it."""

import glob
import os
import re
import subprocess

import seeds

HERE = seeds.HERE
MAX_BYTES = {"bolt": 1 << 20, "member_json": 1 << 12, "raft": 1 << 12, "secret": 1 << 12, "tpm_blob": 1 << 12}  # of an input; 32 KiB for the others
DICTIONARIES = {"luks2_json": "json.dict", "store_json": "json.dict", "member_json": "json.dict", "snap": "json.dict"}
INPUT_SECONDS = 20    # one input that takes longer is a finding
MEMORY_MIB = 2048


def targets():
    return sorted(os.path.basename(path)[:-len("_fuzzer.cc")]
                  for path in glob.glob(os.path.join(HERE, "*_fuzzer.cc")))


class Outcome:
    def __init__(self, target, status, log):
        self.target, self.status, self.log = target, status, log
        text = open(log, errors="replace").read()
        match = re.search(r"stat::number_of_executed_units: (\d+)", text)
        self.executions = int(match.group(1)) if match else 0
        coverage = re.findall(r"cov: (\d+)", text)
        self.coverage = int(coverage[-1]) if coverage else 0
        self.crashers = re.findall(r"Test unit written to (\S+)", text)
        reason = re.search(r"^(.*broken promise: .*|.*runtime error: .*|.*ERROR: .*Sanitizer: .*|.*ERROR: libFuzzer: .*)$",
                           text, re.MULTILINE)
        self.reason = reason.group(1) if reason else ""

    @property
    def passed(self):
        # A target that ran nothing but its seeds tells nothing.
        return self.status == 0 and self.executions > 0

    def describe(self):
        if self.passed:
            return "%d executions, %d edges" % (self.executions, self.coverage)
        return "exit %d after %d executions: %s; input %s; log %s" % (
            self.status, self.executions, self.reason or "no reason in its log", " ".join(self.crashers) or "none",
            self.log)


def run(target, program, folder, seconds):
    """Seeds and regressions first, then mutations for `seconds`. Corpus, inputs that fail and log lie in `folder`."""
    made = os.path.join(folder, "seeds", target)
    corpus = os.path.join(folder, "corpus", target)
    crashers = os.path.join(folder, "crashers", target)
    for path in (corpus, crashers, os.path.join(folder, "logs")):
        os.makedirs(path, exist_ok=True)
    if not seeds.write(target, made):
        raise ValueError("no seeds for the target %s: tests/fuzz/seeds.py makes them" % target)
    inputs = [corpus, made] + [path for path in [os.path.join(HERE, "regressions", target)] if os.path.isdir(path)]
    command = [program, "-max_total_time=%d" % seconds, "-max_len=%d" % MAX_BYTES.get(target, 1 << 15),
               "-timeout=%d" % INPUT_SECONDS, "-rss_limit_mb=%d" % MEMORY_MIB, "-print_final_stats=1",
               "-artifact_prefix=%s/" % crashers]
    if target in DICTIONARIES:
        command.append("-dict=" + os.path.join(HERE, DICTIONARIES[target]))
    log = os.path.join(folder, "logs", target + ".log")
    environment = dict(os.environ, UBSAN_OPTIONS="print_stacktrace=1")
    with open(log, "wb") as out:
        child = subprocess.Popen(command + inputs, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
        try:
            status = child.wait()
        finally:
            child.kill()
            child.wait()
    return Outcome(target, status, log)
