"""Restore in place beside etcd's own `snapshot restore`, on the backend of a member that was stopped in order."""

import os

import promises
import restore
from bench import check, folder, process
from etcdlab import bolt
from etcdlab.client import EtcdClient, EtcdError, b64
from etcdlab.judge import OUT_OF_RANGE
from etcdlab.wal import Log

NAME, TOKEN = "cp-0", "differential"
BUMP = 1000000
KEYS, LEASE = 400, 7587850000000001
# What differs by intention, (bucket, key) -> why.
DIFFERENCES = {
    ("meta", b"consistent_index"): "etcd's restore numbers its log from 1; ours goes on, so that joiners get a snapshot",
    ("meta", b"term"): "the same",
    ("meta", b"confState"): "etcd's restore leaves the former voters there (3.5)",
}


def versions_with_bump(version):
    return not version.startswith("3.4.")


def stopped_member(bench, version):
    """A member with a bit of everything in its backend, ended by SIGTERM. Returns (data directory, flags)."""
    base = process.reserve_ports()
    client_url, peer_url = "http://127.0.0.1:%d" % base, "http://127.0.0.1:%d" % (base + 1)
    data_dir = bench.path("member", "etcd")
    os.makedirs(os.path.dirname(data_dir))
    flags = ["--name=" + NAME, "--data-dir=" + data_dir, "--listen-peer-urls=" + peer_url,
             "--initial-advertise-peer-urls=" + peer_url, "--listen-client-urls=" + client_url,
             "--advertise-client-urls=" + client_url, "--initial-cluster=%s=%s" % (NAME, peer_url)]
    server = process.Etcd(bench.binaries(version)[0], flags, bench.path("member.log"))
    server.start()
    server.wait_ready(60)
    _fill(EtcdClient(client_url), "http://127.0.0.1:%d" % (base + 2))
    server.stop()
    return data_dir, flags


def _fill(client, learner_url):
    client.member_add(learner_url, learner=True)
    client.call("/v3/auth/role/add", {"name": "reader"})
    client.call("/v3/auth/user/add", {"name": "ann", "password": "differential"})
    client.lease_grant(LEASE, 315360000)
    for number in range(KEYS):
        key = b"/registry/things/%03d" % (number % 150)
        client.put(key, b"value %d " % number * (1 + number % 90), LEASE if number % 7 == 0 else 0)
        if number % 11 == 0:
            client.delete(b"/registry/things/%03d" % ((number + 70) % 150))
    operations = [{"requestPut": {"key": b64(b"/registry/txn/%d" % n), "value": b64(b"x" * n)}} for n in range(20)]
    revision = int(client.txn([], operations)["header"]["revision"])
    client.compact(revision // 2, physical=True)
    # 3.4 stores how far it came only with a write to the key space.
    client.put(b"/registry/last", b"write")


def _ids(data_dir):
    log = Log(os.path.join(data_dir, "member"))
    return log.cluster_id, log.node_id


def _compare(ours, theirs):
    """Sentences, one for each difference that is not documented."""
    found = []
    for name in sorted(set(ours) | set(theirs)):
        mine, other = ours.get(name), theirs.get(name)
        if mine is None or other is None:
            found.append("the bucket %s is only in one of them" % name)
            continue
        if name == "members":
            mine, other = ({k: {f: v for f, v in m.items() if f != "clientURLs"} for k, m in bolt.members(b).items()}
                           for b in (mine, other))
        for key in sorted(set(mine) | set(other)):
            if mine.get(key) != other.get(key) and (name, key) not in DIFFERENCES:
                found.append("%s/%r: ours %r, etcd's %r" % (name, key, mine.get(key), other.get(key)))
    return found


def differential_case(bench, version, bump):
    member, flags = stopped_member(bench, version)
    peer_url = process.flag_value(flags, "initial-advertise-peer-urls")
    extra = ("--bump-revision", str(BUMP), "--mark-compacted") if bump else ()
    revision = bolt.revision(bolt.Backend(restore.backend_of(member)).bucket("key"))

    theirs = bench.snapshot_restore(restore.backend_of(member), version, bench.path("theirs"), NAME, peer_url,
                                    "--initial-cluster-token", TOKEN, *extra)
    ours = bench.copy(member, "ours")
    answer, _ = promises.apply(bench, ours, *restore.WISHES, "--initial-cluster-token", TOKEN, "--name", NAME,
                               "--peer-url", peer_url, *extra)
    plan = answer["plan"]
    promises.verify(bench, ours)
    check(plan["carried_entries"] == 0, "a member that was stopped in order leaves %d entries to carry: %s"
          % (plan["carried_entries"], plan["kept"]))
    check(_ids(ours) == _ids(theirs), "cluster and member ID: ours %s, etcd's %s" % (_ids(ours), _ids(theirs)))
    mine, other = (bolt.Backend(restore.backend_of(path)).buckets() for path in (ours, theirs))
    if version.startswith("3.4."):
        # etcd 3.4 leaves the former members in the backend and does not add the new one.
        former = bolt.Backend(restore.backend_of(member)).bucket("members")
        check(other["members"] == former, "etcd 3.4 changes the members in the backend: this exception can go")
        other["members"] = mine["members"]
    found = _compare(mine, other)
    check(not found, "%d differences from etcd's own restore: %s" % (len(found), "; ".join(found[:5])))
    check(bolt.revision(mine["key"]) == revision + (BUMP if bump else 0), "the revision is %d, it was %d"
          % (bolt.revision(mine["key"]), revision))
    _etcd_agrees(bench, version, ours, flags, revision, bump, plan)
    folder.remove_folder(theirs)
    return {"note": "%s: same IDs, %d keys in %d buckets equal to etcd's own restore%s"
            % (version, sum(len(b) for b in mine.values()), len(mine), ", revision raised alike" if bump else "")}


def _etcd_agrees(bench, version, data_dir, flags, revision, bump, plan):
    """It starts; the revision goes on where it should; with a bump, everything before it is compacted."""
    flags = [f if not f.startswith("--data-dir=") else "--data-dir=" + data_dir for f in flags]
    server = process.Etcd(bench.binaries(version)[0], flags, bench.path("ours.log"))
    server.start()
    server.wait_ready(60)
    client = EtcdClient(server.endpoint)
    try:
        cluster, members = client.members()
        check(cluster == plan["cluster_id"].lstrip("0") and len(members) == 1, "cluster %s, members %s" % (cluster, members))
        if bump:
            try:
                client.get(b"/registry/last", revision)
                check(False, "revision %d can be read although it should be compacted" % revision)
            except EtcdError as error:
                check(error.code == OUT_OF_RANGE, "reading a former revision: %s" % error)
        value = client.get(b"/registry/last")
        check(value and value["value"] == b"write" and value["mod_revision"] == revision, "the last key is %s" % value)
        check(client.put(b"/registry/next", b"") == revision + (BUMP if bump else 0) + 1, "the next revision is wrong")
        server.stop()
        client.close()
        server.start()
        server.wait_ready(60)
        check(client.get(b"/registry/next") is not None, "a write is gone after a restart")
    finally:
        client.close()
        server.kill()


def cases():
    """{name: function(bench)}"""
    found = {}
    for version in ("3.4.23", "3.5.16", "3.5.30"):
        for bump in (False, True):
            if not bump or versions_with_bump(version):
                name = "differential-restore-%s%s" % (version, "-bump" if bump else "")
                found[name] = lambda bench, version=version, bump=bump: differential_case(bench, version, bump)
    return found
