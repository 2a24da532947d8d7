"""Numbers that others print, too: hash, status and keys of backends that real etcd wrote, and compare.

The judges are the running member (etcdctl endpoint hashkv, range requests) before it was stopped, the same
member started again, and etcdutl. Debian's etcdutl (3.5) has no hashkv; 3.7's numbers come with the larger
fixtures.
"""

import functools
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import time

from bench import SUITES, check, folder, process
from etcdlab.client import EtcdClient, b64
from etcdlab.load import Load
from etcdlab.wal import Log

DATABASES = 20
LEASES = [7000001, 7000002, 7000003]
# Asked for its own compact revision, a server answers since these versions; older ones refuse.
ANSWERS_AT_COMPACTION = {"3.4.23": False, "3.5.16": True, "3.5.30": True}
# Without the second one Debian's builds panic (etcdlab.process.environment).
GO_ENVIRONMENT = ("ETCDCTL_API=3", "GOLANG_PROTOBUF_REGISTRATION_CONFLICT=ignore")
ETCDUTL = {"3.5.16": "trixie", "3.5.30": "forky"}


def all_cases(options):
    """{name: function(bench)}, for run-tier."""
    found = {"numbers-" + version: functools.partial(numbers_case, version=version) for version in SUITES}
    found.update({"compare-" + version: functools.partial(compare_case, version=version) for version in SUITES})
    snapshots = os.path.join(options.fixtures, "snapshots")
    if os.path.isdir(snapshots):
        found["numbers-fixtures"] = functools.partial(fixtures_case, snapshots=snapshots)
    return found


class Member:
    """A cluster of one."""

    def __init__(self, bench, version, name, *flags):
        self.bench, self.version = bench, version
        self.etcd, self.etcdctl = bench.binaries(version)
        bench.port_base = bench.port_base or process.reserve_ports()
        self.url, peer = ("http://127.0.0.1:%d" % (bench.port_base + n) for n in (0, 1))
        os.makedirs(bench.path(name))
        self.data_dir = bench.path(name, "etcd")
        self.backend = os.path.join(self.data_dir, "member", "snap", "db")
        self.flags = ["--name=one", "--data-dir=" + self.data_dir, "--listen-peer-urls=" + peer,
                      "--initial-advertise-peer-urls=" + peer, "--initial-cluster=one=" + peer,
                      "--listen-client-urls=" + self.url, "--advertise-client-urls=" + self.url, *flags]
        self.client = EtcdClient(self.url, timeout=60)
        self.server = None

    def start(self):
        self.server = process.Etcd(self.etcd, self.flags, self.data_dir + ".log")
        self.server.start()
        self.server.wait_ready(60)

    def stop(self):
        """As a shutdown does it: everything applied is in the backend afterwards."""
        self.client.close()
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(60)
        self.server.kill()

    def kill(self):
        self.client.close()
        self.server.kill()

    def revision(self):
        return int(self.client.status()["header"]["revision"])

    def run_etcdctl(self, *arguments):
        return self.bench.tool("env", *GO_ENVIRONMENT, self.etcdctl, "--endpoints", self.url, *arguments)

    def hashkv(self, revision):
        """(hash, compact revision), 0 when nothing was compacted, which etcd calls -1."""
        text = self.run_etcdctl("endpoint", "hashkv", "--rev", str(revision), "-w", "json")
        answer = json.loads(text)[0]["HashKV"]
        return answer["hash"], max(0, answer.get("compact_revision", 0))


# -- what the databases are like; each changes a filled one, and says what must hold of it

def untouched(_member, _rng):
    pass


def compacted_in_the_middle(member, _rng):
    member.client.compact(member.revision() // 2, physical=True)


def compacted_at_the_end(member, _rng):
    member.client.compact(member.revision(), physical=True)


def compacted_at_a_deletion(member, rng):
    """The compact revision is a tombstone: 3.4 and old 3.5 delete it, newer ones keep it."""
    _, keys = member.client.range_all()
    for key in rng.sample(sorted(keys), 5):
        deleted_at, _ = member.client.delete(key)
    member.client.put(b"/after", b"it")
    member.client.compact(deleted_at, physical=True)


def compacted_again_and_again(member, rng):
    for step in range(4):
        member.client.compact(member.revision() - rng.randrange(20), physical=True)
        for number in range(60):
            member.client.put(b"/registry/leases/node-%d" % (number % 7), rng.randbytes(300 + step))


def defragmented(member, _rng):
    member.client.compact(member.revision() * 2 // 3, physical=True)
    member.run_etcdctl("defrag")


def emptied(member, _rng):
    """Nothing lives any more."""
    member.client.call("/v3/kv/deleterange", {"key": b64(b"\0"), "range_end": b64(b"\0")})
    member.client.compact(member.revision() - 1, physical=True)


def large_values(member, rng):
    for number in range(12):
        member.client.put(b"/registry/crd/large-%d" % (number % 5), rng.randbytes(rng.randrange(300000, 1400000)))


KINDS = (untouched, compacted_in_the_middle, compacted_at_the_end, compacted_at_a_deletion, compacted_again_and_again,
         defragmented, emptied, large_values)


def fill(member, rng, keys):
    for lease in LEASES:
        member.client.lease_grant(lease, 3600000)
    load = Load([member.url], 4, rng.randrange(1 << 30), LEASES)
    load.fill(keys)
    member.client.lease_revoke(LEASES[0])


# -- what is compared

def our_json(bench, verb, *arguments):
    done = bench.rescue.run(verb, *arguments, "--json")
    check(done.status == 0, done.describe())
    check(done.written == 0, "%s wrote %d bytes" % (verb, done.written))
    return done.json()[verb]


def our_hash(bench, place, revision=0):
    found = our_json(bench, "hash", *place, "--rev", str(revision))
    return found["hash"], found["compact_revision"]


def our_keys(bench, place, revision):
    """As EtcdClient.range_all gives them, values as hashes."""
    found = our_json(bench, "keys", *place, "--values", "--rev", str(revision))
    return {key["key"]: (key["value"], key["create_revision"], key["mod_revision"], key["version"],
                         int(key["lease"], 16)) for key in found["keys"]}


def live_keys(member, revision):
    _, keys = member.client.range_all(revision)
    return {b64(key): (b64(state["value"]), state["create_revision"], state["mod_revision"], state["version"],
                       state["lease"]) for key, state in keys.items()}


def compare_status(bench, path, what):
    """Our status of a file against every etcdutl that there is."""
    done = bench.rescue.run("status", path, "--json")
    check(done.status == 0, done.describe())
    ours = done.json()["status"]
    for version, suite in ETCDUTL.items():
        etcdutl = os.path.join(bench.cache, "etcd", suite + "-server", "usr", "bin", "etcdutl")
        theirs = json.loads(bench.tool("env", *GO_ENVIRONMENT, etcdutl, "snapshot", "status", path, "-w", "json"))
        have = {"hash": ours["hash"], "revision": ours["revision"], "totalKey": ours["total_keys"],
                "totalSize": ours["total_size"]}
        check(have == theirs, "%s: status is %s, etcdutl %s says %s" % (what, have, version, theirs))
    return ours


def compare_database(bench, version, kind, rng, name):
    """One database from its first write to its end. Returns how many numbers were compared."""
    member = Member(bench, version, name)
    member.start()
    fill(member, rng, rng.choice((60, 250, 700)))
    kind(member, rng)
    # A revision after the compaction, so that there is more than one that can be asked for.
    for number in range(20):
        member.client.put(b"/registry/minions/node-%d" % (number % 6), rng.randbytes(200))
    latest = member.revision()
    compacted = member.hashkv(latest)[1]
    what = "%s %s" % (version, kind.__name__)
    # A server remembers what it hashed while it compacted, so its answer at exactly that revision is another one.
    revisions = sorted({latest, compacted + 1, rng.randint(compacted + 1, latest), rng.randint(compacted + 1, latest)})
    hashes = {revision: member.hashkv(revision) for revision in revisions}
    keys = {revision: live_keys(member, revision) for revision in revisions}
    snapshot = bench.path(name, "snapshot.db")
    member.run_etcdctl("snapshot", "save", snapshot)
    member.stop()

    before = folder.fingerprint(bench.path(name))
    for place in (["--data-dir", member.data_dir], [snapshot]):
        for revision in revisions:
            ours = our_hash(bench, place, revision)
            check(ours == hashes[revision], "%s: hash at %d is %s, the live member said %s"
                  % (what, revision, ours, hashes[revision]))
            check(our_keys(bench, place, revision) == keys[revision], "%s: keys at %d differ" % (what, revision))
        check(our_hash(bench, place) == hashes[latest], "%s: the latest hash differs" % what)
    check(compare_status(bench, member.backend, what)["sha256"] == "absent", "a backend has no SHA-256")
    check(compare_status(bench, snapshot, what)["sha256"] == "matches", "the snapshot's SHA-256 must match")
    changed = folder.differences(before, folder.fingerprint(bench.path(name)))
    check(not changed, "looking changed something: %s" % "; ".join(changed[:5]))

    compared = 2 * (2 * len(revisions) + 2)
    if compacted and ANSWERS_AT_COMPACTION[version]:
        # Started again, it has nothing to remember.
        ours = our_hash(bench, ["--data-dir", member.data_dir], compacted)
        member.start()
        theirs = member.hashkv(compacted)
        member.stop()
        check(ours == theirs, "%s: hash at the compact revision %d is %s, the restarted member says %s"
              % (what, compacted, ours, theirs))
        compared += 1
    return compared


def compare_unfinished(bench, version, rng, name):
    """Killed in the middle of a compaction: etcd goes on when it starts, and our number is the one it then has."""
    member = Member(bench, version, name, "--experimental-compaction-batch-limit=10")
    member.start()
    fill(member, rng, 700)
    # Everything so far is durable before the end comes.
    member.stop()
    member.start()
    latest = member.revision()
    wanted = latest - 30
    member.client.compact(wanted)
    # Ten records every 10 ms: it is busy for more than a second. That it began shows in the backend.
    end = time.monotonic() + 30
    while our_pending(bench, member) is None and time.monotonic() < end:
        pass
    member.kill()
    check(our_pending(bench, member) == wanted, "%s: the compaction was not caught half done" % version)
    ours = {revision: our_hash(bench, ["--data-dir", member.data_dir], revision) for revision in
            (wanted + 1, latest - 10, latest)}
    compare_status(bench, member.backend, version + " unfinished compaction")
    member.start()
    for revision, have in ours.items():
        theirs = member.hashkv(revision)
        check(have == theirs, "%s, unfinished compaction: hash at %d is %s, the restarted member says %s"
              % (version, revision, have, theirs))
    member.stop()
    return len(ours) + 2


def our_pending(bench, member):
    """The compact revision when the backend, as it lies on the disk now, holds one that is not finished. A copy:
    etcd is at work on the file."""
    copy = member.data_dir + ".copy"
    shutil.copyfile(member.backend, copy)
    done = bench.rescue.run("hash", copy, "--json")
    found = done.json().get("hash") if done.status == 0 else None
    return found["compact_revision"] if found and found["compaction_pending"] else None


def numbers_case(bench, version):
    seed = random.SystemRandom().randrange(1 << 30)
    rng = random.Random(seed)
    print("seed %d" % seed)
    position = list(SUITES).index(version)
    # The databases are dealt out to the versions; each version gets most kinds, and every kind is there.
    databases = len(range(position, DATABASES, len(SUITES)))
    compared = compare_unfinished(bench, version, rng, "unfinished")
    for number in range(databases - 1):
        kind = KINDS[(number + position * 3) % len(KINDS)]
        name = "%d-%s" % (number, kind.__name__)
        compared += compare_database(bench, version, kind, rng, name)
        folder.remove_folder(bench.path(name))
    return {"note": "%d databases of etcd %s, %d numbers compared" % (databases, version, compared)}


def fixtures_case(bench, snapshots):
    """The larger fixtures have the numbers of etcdutl 3.5.30, 3.6.14 and 3.7.1 beside them."""
    compared, refused = 0, 0
    for described in sorted(glob.glob(os.path.join(snapshots, "*", "expected.json"))):
        with open(described) as text:
            expected = json.load(text)
        path = os.path.join(os.path.dirname(described), expected["file"])
        tools = expected["tools"]
        done = bench.rescue.run("status", path, "--json")
        if "hash" not in tools["etcdutl 3.7.1 snapshot status"]:
            check(done.status == 6, done.describe())
            refused += 1
            continue
        ours = done.json()["status"]
        intact = ours["sha256"] != "differs"
        check(done.status == (0 if intact else 6), done.describe())
        word = ("absent" if expected["size_mod_512"] != 32 else "matches" if expected["trailer_ok"] else "differs")
        check(ours["sha256"] == word, "%s: SHA-256 %s, expected %s" % (path, ours["sha256"], word))
        for version, keys in (("3.5.30", "total_keys"), ("3.6.14", "live_keys"), ("3.7.1", "live_keys")):
            theirs = tools["etcdutl %s snapshot status" % version]
            have = {"hash": ours["hash"], "revision": ours["revision"], "totalKey": ours[keys],
                    "totalSize": ours["total_size"]}
            if "version" in theirs:
                have["version"] = ours["storage_version"]
            check(have == theirs, "%s: status is %s, etcdutl %s says %s" % (path, have, version, theirs))
        theirs = tools["etcdutl 3.7.1 hashkv"]
        check(our_hash(bench, [path], theirs["hashRevision"]) == (theirs["hash"], theirs["compactRevision"]),
              "%s: hash differs from etcdutl 3.7.1's" % path)
        compared += 4
    check(compared > 20 and refused > 0, "the fixtures are not what they were")
    return {"note": "%d numbers of etcdutl 3.5.30, 3.6.14 and 3.7.1 agree, %d damaged files refused"
                    % (compared, refused)}


# -- compare

def compare_case(bench, version):
    """Three survivors of one kill: the one whose log is ahead is recommended, and nothing is written."""
    bench.lose_quorum(version, bench.path("run"), "--keys", "400", "--keep-all", "--snapshot-count", "150")
    places = sorted(glob.glob(bench.path("run", "survivors", "*")))
    check(len(places) == 3, "%d survivors" % len(places))
    ends = {}
    for place in places:
        log = Log(os.path.join(place, "member"))
        ends[place] = (log.last_term(), log.last_index)
    print("ends of the logs (term, index): %s" % sorted(ends.values()))
    before = folder.fingerprint(bench.path("run"))
    for chosen in (places, places[::-1], places[:2], places[1:]):
        compare_some(bench, chosen, ends)
    changed = folder.differences(before, folder.fingerprint(bench.path("run")))
    check(not changed, "compare changed something: %s" % "; ".join(changed[:5]))
    return {"note": "recommends the survivor at %s of %s" % (max(ends.values()), sorted(ends.values()))}


def compare_some(bench, places, ends):
    arguments = [word for place in places for word in ("--data-dir", place)]
    found = our_json(bench, "compare", *arguments)
    best = max(ends[place] for place in places)
    check(ends[found["recommended"]] == best, "recommends %s with %s, but the best end is %s"
          % (found["recommended"], ends[found["recommended"]], best))
    for survivor in found["survivors"]:
        check((survivor["last_term"], survivor["last_index"]) == ends[survivor["place"]],
              "%s: log ends at %s" % (survivor["place"], survivor["last_index"]))
        check(not survivor["damage"], "%s: %s" % (survivor["place"], survivor["damage"]))
    common = found["common_revision"]
    check(common["revision"] == min(x["revision"] for x in found["survivors"]), "the common revision is another one")
    hashes = {survivor["hash"] for survivor in found["survivors"]}
    check(len(hashes) == 1 and not found["divergence"], "survivors of one kill must agree: %s" % found["divergence"])
    for survivor in found["survivors"]:
        if survivor["compact_revision"] == common["compact_revision"]:
            alone = our_hash(bench, ["--data-dir", survivor["place"]], common["revision"])
            check(alone[0] == survivor["hash"], "%s: hash says %s" % (survivor["place"], alone))
