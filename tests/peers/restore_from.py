"""Restores from backups: snapshots that real etcdctl saved, and stores that etcd-backup-restore wrote.

The judge is real etcd of the same version: it starts on what was restored, has every key with its revisions, version,
lease and value, keeps them over SIGKILL, and lets a second member join that then has the same hash. What
`etcdutl snapshot restore` (before 3.5 etcdctl) makes of the same file has the same hash, too.
"""

import base64
import functools
import glob
import hashlib
import json
import os
import random
import shutil

from bench import SUITES, check, folder, process
from etcdlab.client import EtcdClient
from look_cases import Member, compacted_in_the_middle, defragmented, fill, large_values, live_keys, our_hash, untouched

NAME = "one"
KINDS = (untouched, compacted_in_the_middle, large_values, defragmented)


def all_cases(options):
    """{name: function(bench)}, for run-tier."""
    found = {"restore-from-snapshot-" + version: functools.partial(snapshot_case, version=version) for version in SUITES}
    stores = os.path.join(options.fixtures, "backups")
    if os.path.isdir(stores):
        found["restore-from-stores"] = functools.partial(stores_case, stores=stores)
    return found


def peer_url(member):
    return "http://127.0.0.1:%d" % (member.bench.port_base + 1)


def restore(bench, member, source, *wishes):
    """Our restore into the member's data directory, which is not there; what it said."""
    folder.remove_folder(member.data_dir)
    done = bench.rescue.run("apply", "--data-dir", member.data_dir, "--strategy", "restore", "--from", source,
                            "--name", NAME, "--peer-url", peer_url(member), "--yes", "--json", *wishes)
    check(done.status == 0, done.describe())
    return done.json()


def second_member(bench, member):
    """Joins the one that runs; (client, its URL, server), to be closed and killed."""
    client_url, peer = ("http://127.0.0.1:%d" % (bench.port_base + n) for n in (4, 5))
    member.client.member_add(peer)
    data_dir = member.data_dir + ".second"
    server = process.Etcd(member.etcd, [
        "--name=two", "--data-dir=" + data_dir, "--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
        "--listen-client-urls=" + client_url, "--advertise-client-urls=" + client_url,
        "--initial-cluster=%s=%s,two=%s" % (NAME, peer_url(member), peer), "--initial-cluster-state=existing"],
        data_dir + ".log")
    server.start()
    server.wait_ready(60)
    return EtcdClient(client_url, timeout=60), client_url, server


def hash_of(member, url, revision):
    text = member.bench.tool("env", "ETCDCTL_API=3", "GOLANG_PROTOBUF_REGISTRATION_CONFLICT=ignore", member.etcdctl,
                             "--endpoints", url, "endpoint", "hashkv", "--rev", str(revision), "-w", "json")
    return json.loads(text)[0]["HashKV"]["hash"]


def judge(bench, member, keys, revision, what):
    """A real etcd on what was restored. Gives its hash at the revision."""
    member.client = EtcdClient(member.url, timeout=60)
    member.start()
    check(member.revision() == revision, "%s: revision %d, expected %d" % (what, member.revision(), revision))
    check(live_keys(member, revision) == keys, "%s: the keys differ" % what)
    hashed = member.hashkv(revision)[0]
    member.client.put(b"/after", b"the restore")
    member.kill()
    member.client = EtcdClient(member.url, timeout=60)
    member.start()
    check(live_keys(member, revision) == keys, "%s: the keys differ after a restart" % what)
    joined, joined_url, server = second_member(bench, member)
    try:
        latest = member.revision()
        hashes = [hash_of(member, url, latest) for url in (member.url, joined_url)]
        check(hashes[0] == hashes[1], "%s: the joined member's hash is %s" % (what, hashes))
        _, theirs = joined.range_all()
        _, ours = member.client.range_all()
        check(theirs == ours and ours, "%s: the joined member has other keys" % what)
    finally:
        joined.close()
        server.kill()
    member.kill()
    folder.remove_folder(member.data_dir + ".second")
    return hashed


def snapshot_case(bench, version):
    seed = random.SystemRandom().randrange(1 << 30)
    rng = random.Random(seed)
    print("seed %d" % seed)
    for kind in KINDS:
        member = Member(bench, version, kind.__name__)
        member.start()
        fill(member, rng, 250)
        kind(member, rng)
        revision = member.revision()
        keys, live = live_keys(member, revision), member.hashkv(revision)[0]
        snapshot = bench.path(kind.__name__, "snapshot.db")
        member.run_etcdctl("snapshot", "save", snapshot)
        member.stop()

        what = "%s %s" % (version, kind.__name__)
        answer = restore(bench, member, snapshot)
        check(answer["plan"]["revision_after"] == revision, "%s: the plan says %s" % (what, answer["plan"]))
        hashed = judge(bench, member, keys, revision, what)
        check(hashed == live, "%s: hash %s, the live member said %s" % (what, hashed, live))

        theirs = bench.path(kind.__name__, "theirs")
        bench.tool(bench.snapshot_tool(version), "snapshot", "restore", snapshot, "--name", NAME, "--data-dir", theirs,
                   "--initial-cluster", "%s=%s" % (NAME, peer_url(member)),
                   "--initial-advertise-peer-urls", peer_url(member))
        restore(bench, member, snapshot)
        hashes = [our_hash(bench, ["--data-dir", data_dir], revision) for data_dir in (member.data_dir, theirs)]
        check(hashes[0] == hashes[1], "%s: etcd's own restore has hash %s, ours %s" % (what, hashes[1], hashes[0]))
        folder.remove_folder(bench.path(kind.__name__))
    return {"note": "%d snapshots of etcdctl %s restored: every key, a restart, a second member, equal hashes"
                    % (len(KINDS), version)}


def expected_state(key):
    return (key["value_sha256"], key["create_revision"], key["mod_revision"], key["version"], key["lease"])


def stores_case(bench, stores):
    """Every real store of a version that is here starts under real etcd with exactly the keys that were written."""
    restored, refused = 0, 0
    for described in sorted(glob.glob(os.path.join(stores, "*", "expected.json"))):
        with open(described) as text:
            expected = json.load(text)
        store = os.path.join(os.path.dirname(described), "store")
        name = os.path.basename(os.path.dirname(described))
        if expected["etcd"] not in SUITES:
            continue
        member = Member(bench, expected["etcd"], name)
        if not expected["expected_outcome"].startswith("restored"):
            folder.remove_folder(member.data_dir)
            done = bench.rescue.run("apply", "--data-dir", member.data_dir, "--strategy", "restore", "--from", store,
                                    "--name", NAME, "--peer-url", peer_url(member), "--yes", "--json")
            check(done.status in (2, 6, 7, 8), "%s: %s" % (name, done.describe()))
            check(not os.path.exists(member.data_dir), "%s: something was left behind" % name)
            refused += 1
            continue
        restore(bench, member, store)
        member.start()
        revision, keys = member.client.range_all()
        have = {key: (hashlib.sha256(state["value"]).hexdigest(), state["create_revision"], state["mod_revision"],
                      state["version"], state["lease"]) for key, state in keys.items()}
        want = {base64.b64decode(key["key_b64"]): expected_state(key) for key in expected["keys"]}
        check(have == want, "%s: %d keys differ" % (name, sum(have.get(k) != v for k, v in want.items())))
        check(revision == expected["last_revision"], "%s: revision %d" % (name, revision))
        member.client.put(b"/after", b"the restore")
        member.run_etcdctl("defrag")
        member.stop()
        shutil.rmtree(bench.path(name))
        restored += 1
    check(restored > 8 and refused > 5, "the fixtures are not what they were")
    return {"note": "%d stores of etcd-backup-restore restored exactly, %d damaged ones refused" % (restored, refused)}
