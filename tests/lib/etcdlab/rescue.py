"""Runs the program under test, and counts the bytes that it hands to the kernel for writing."""

import json
import os
import subprocess
import tempfile

from .process import LabError


class Done:
    """A finished run."""

    def __init__(self, arguments, status, stdout, stderr, written):
        self.arguments, self.status, self.stdout, self.stderr = arguments, status, stdout, stderr
        self.written = written  # bytes passed to write calls, standard output and error not counted

    def describe(self):
        return "etcd-rescue %s: exit %d: %s" % (" ".join(self.arguments), self.status,
                                                (self.stderr or self.stdout).strip()[-400:])

    def json(self):
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            raise LabError("etcd-rescue %s --json: not one JSON document: %s" % (self.arguments[0], error)) from error


class Rescue:
    def __init__(self, program, log_path):
        self.program, self.log_path = program, log_path

    def run(self, *arguments):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen([self.program, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            # Its counters can be read after its end only until it is waited for.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            with open("/proc/%d/io" % child.pid) as counters:
                written = int(dict(line.split(": ") for line in counters)["wchar"])
            status = child.wait()
            written -= out.tell() + err.tell()
            out.seek(0)
            err.seek(0)
            done = Done(arguments, status, out.read().decode(errors="replace"),
                        err.read().decode(errors="replace"), written)
        with open(self.log_path, "a") as log:
            log.write("$ etcd-rescue %s\nexit %d, %d bytes written\n%s%s\n"
                      % (" ".join(arguments), status, written, done.stdout, done.stderr))
        return done
