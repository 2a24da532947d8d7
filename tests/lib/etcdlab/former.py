"""An old member of the former cluster that somebody starts again beside the restored one."""

import os
import re
import time

from . import folder
from .process import Etcd, LabError

# What a server says when a peer of another cluster talks to it, and that peer when it was told so
# (etcd: api/rafthttp/http.go, stream.go); 3.4 to 3.7.
MISMATCH = re.compile(r"cluster ID mismatch")
ELECTED = re.compile(r"elected leader")  # raft, on every member that hears of a leader


class FormerMember:
    """Runs on a copy of its data, with the flags that it always had."""

    def __init__(self, data_dir, expected, etcd, work):
        own = os.path.join(work, "former.etcd")
        folder.copy_folder(data_dir, own)
        self.server = Etcd(etcd, [flag.replace("{DATA_DIR}", own) for flag in expected["old_flags"]],
                           os.path.join(work, "former.log"))
        self.name = expected["name"]

    def start(self):
        self.server.start()
        self.started = time.monotonic()

    def wait_refused(self, seconds, restored_log):
        """Until both logs name the mismatch: it tried, and was turned away. Returns the seconds since its start."""
        logs = (self.server.log_path, restored_log)
        while True:
            silent = [path for path in logs if not _says(path, MISMATCH)]
            if not silent:
                return time.monotonic() - self.started
            if self.server.process.poll() is not None:
                raise LabError("the old member ended by itself: " + self.server.complaint())
            if time.monotonic() - self.started > seconds:
                raise LabError("after %d s %s says nothing of a cluster ID mismatch" % (seconds, os.path.basename(silent[0])))
            time.sleep(0.05)

    def problems(self, restored_client):
        """Sentences: it must have no leader, and must not be a member of the restored cluster."""
        found = []
        # Without a leader it serves no client that could be asked.
        if _says(self.server.log_path, ELECTED):
            found.append("the old member %s has found a leader" % self.name)
        _, members = restored_client.members()
        if len(members) != 1:
            found.append("the restored cluster has %d members while an old one runs" % len(members))
        return found


def _says(path, what):
    with open(path, "r", errors="replace") as log:
        return any(what.search(line) for line in log)
