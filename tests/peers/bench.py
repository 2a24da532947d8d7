"""One case's folder, and the tools in it: the program under test, real etcd, and what judges."""

import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from etcdlab import folder, process  # noqa: E402
from etcdlab.process import LabError  # noqa: E402
from etcdlab.rescue import Rescue  # noqa: E402

SUITES = {"3.4.23": "bookworm", "3.5.16": "trixie", "3.5.30": "forky"}  # Debian's packages


def check(condition, text):
    if not condition:
        raise LabError(text)


class Bench:
    """One case's folder and the tools in it."""

    def __init__(self, work, cache, program):
        self.work, self.cache = work, cache
        self.rescue = Rescue(program, os.path.join(work, "etcd-rescue.log"))
        self.port_base = None
        os.makedirs(work)

    def path(self, *names):
        return os.path.join(self.work, *names)

    def binaries(self, version):
        suite = SUITES[version]
        return tuple(os.path.join(self.cache, "etcd", "%s-%s" % (suite, part), "usr", "bin", name)
                     for part, name in (("server", "etcd"), ("client", "etcdctl")))

    def snapshot_tool(self, version):
        """The program that restores and describes snapshots: etcdutl, before 3.5 etcdctl."""
        server, client = (os.path.join(self.cache, "etcd", "%s-%s" % (SUITES[version], part), "usr", "bin")
                          for part in ("server", "client"))
        return os.path.join(client, "etcdctl") if version.startswith("3.4.") else os.path.join(server, "etcdutl")

    def tool(self, *arguments, accept=(0,)):
        """Runs a program; its output goes to this case's log. Returns its standard output."""
        started = time.monotonic()
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              env=process.environment())
        sys.stderr.write("%s%s(%s: %.1f s)\n" % (done.stdout, done.stderr, os.path.basename(arguments[0]),
                                                time.monotonic() - started))
        check(done.returncode in accept, "%s failed: %s" % (os.path.basename(arguments[0]), done.stdout.strip() or
                                                            done.stderr.strip()))
        return done.stdout

    def lose_quorum(self, version, out, *arguments):
        self.port_base = self.port_base or process.reserve_ports()
        self.tool(os.path.join(HERE, "lose-quorum"), "--etcd", self.binaries(version)[0], "--out", out,
                  "--port-base", str(self.port_base), *arguments)

    def judge(self, data_dir, expected, version, *arguments):
        """What a real etcd says; returns the figures."""
        etcd, etcdctl = self.binaries(version)
        figures = data_dir + ".json"
        self.tool(os.path.join(HERE, "check-survivor"), data_dir, expected, "--etcd", etcd, "--etcdctl", etcdctl,
                  "--snapshot-tool", self.snapshot_tool(version), "--json", figures, "--keep-log",
                  data_dir + ".etcd.log", *arguments)
        with open(figures) as text:
            return json.load(text)

    def snapshot_restore(self, backend, version, target, name, peer_url, *arguments):
        """etcd's own restore of a bare backend into a new data directory."""
        self.tool(self.snapshot_tool(version), "snapshot", "restore", backend, "--skip-hash-check", "--name", name,
                  "--initial-cluster", "%s=%s" % (name, peer_url), "--initial-advertise-peer-urls", peer_url,
                  "--data-dir", target, *arguments)
        return target

    def copy(self, source, name):
        # A folder of its own for each copy: the undo journal lies beside the data directory.
        os.makedirs(self.path(name))
        target = self.path(name, "etcd")
        folder.copy_folder(source, target)
        return target
