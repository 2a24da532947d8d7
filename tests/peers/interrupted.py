"""An apply of either strategy that dies in the middle, and an etcd that somebody starts on what is left, before anything was undone.

It may find the former state (and wait for the members that are gone), the new one with all its data, or nothing that it
can open. It must never serve less than what was acknowledged.
"""

import functools
import json
import os
import re
import time

import promises
from bench import SUITES, check, folder, process
from etcdlab import model
from etcdlab.client import EtcdClient, EtcdError

SECONDS = 60
OVER = 3  # die-everywhere's exit status: the apply was over before it could die
ASKS_FORMER_MEMBERS = re.compile(r"sent Msg(Pre)?Vote request to")
REFUSED, FORMER, SERVED = "refuses to start", "waits for the former members", "serves everything"


def flags_of_a_first_node(expected, data_dir):
    """As kubeadm writes them on the first control plane node: with these, an etcd without a log starts a new cluster."""
    name = expected["survivor"]["name"]
    flags = [flag.replace("{DATA_DIR}", data_dir) for flag in expected["old_flags"]]
    alone = "--initial-cluster=%s=%s" % (name, process.flag_value(flags, "initial-advertise-peer-urls"))
    replaced = {"--initial-cluster": alone, "--initial-cluster-state": "--initial-cluster-state=new"}
    return [replaced.get(flag.split("=")[0], flag) for flag in flags]


def state_of(data_dir):
    """What etcd could see of the directory; nothing beside it, and no times."""
    return {path: (entry["type"], entry.get("size"), entry.get("content"))
            for path, entry in folder.fingerprint(os.path.join(data_dir, "member")).items()}


def what_etcd_does(bench, version, expected, data_dir, log):
    server = process.Etcd(bench.binaries(version)[0], flags_of_a_first_node(expected, data_dir), log)
    client = EtcdClient(server.endpoint, timeout=1)
    server.start()
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if server.process.poll() is not None:
                return REFUSED
            with open(log, errors="replace") as text:
                if ASKS_FORMER_MEMBERS.search(text.read()):
                    return FORMER
            try:
                if client.health():
                    return _served(client, expected)
            except (OSError, EtcdError):
                pass
            time.sleep(0.05)
        return "does nothing that was expected: " + server.complaint()
    finally:
        client.close()
        server.kill()


def _served(client, expected):
    revision, keys = client.range_all()
    have = {key: {f: model.sha256(s["value"]) if f == "value_sha256" else s[f] for f in model.FIELDS}
            for key, s in keys.items()}
    found, _ = model.compare(expected, have)
    if revision < expected["acked_max_revision"] or found:
        return "serves revision %d of %d, %s" % (revision, expected["acked_max_revision"], found[:3])
    return SERVED


def die_everywhere(bench, version, strategy, survivor, expected):
    """Returns (number of operations, {what etcd does: in how many different states})."""
    tool = os.path.join(os.path.dirname(bench.rescue.program), "die-everywhere")
    before, last, counts = folder.fingerprint(survivor), None, {}
    for at in range(10000):
        died = bench.copy(survivor, "died")
        said = bench.tool(tool, "--strategy", strategy, "--leave-at", str(at), died, accept=(0, OVER)).strip()
        state = state_of(died)
        if state != last:
            last = state
            what = what_etcd_does(bench, version, expected, died, bench.path("etcd-%s-%d.log" % (strategy, at)))
            check(what in (REFUSED, FORMER, SERVED), "%s: %s; then etcd %s" % (strategy, said, what))
            counts[what] = counts.get(what, 0) + 1
            # Where etcd wrote nothing, it did not take the way back, either.
            if what == REFUSED and state_of(died) == state:
                promises.undo_gives_everything_back(bench, died, before)
        folder.remove_folder(os.path.dirname(died))
        if said.startswith("over"):
            return at, counts
    raise process.LabError("an apply without end")


def interrupted_case(bench, version):
    run = bench.path("run")
    # A few .snap files, so that they, too, are moved.
    bench.lose_quorum(version, run, "--keys", "150", "--snapshot-count", "800")
    with open(os.path.join(run, "expected.json")) as text:
        expected = json.load(text)
    notes = []
    for strategy, outcomes in ((promises.KEEP_LOG, {FORMER, SERVED}), (promises.RESTORE, {REFUSED, FORMER, SERVED})):
        deaths, counts = die_everywhere(bench, version, strategy, os.path.join(run, "survivor"), expected)
        check(outcomes <= set(counts), "%s: not every outcome was seen: %s" % (strategy, counts))
        notes.append("%s: %d deaths, etcd %s" % (strategy, deaths, ", ".join("%s in %d states" % x for x in counts.items())))
    return {"note": "; ".join(notes)}


def cases():
    """{name: function(bench)}"""
    return {"interrupted-" + version: functools.partial(interrupted_case, version=version) for version in SUITES}
