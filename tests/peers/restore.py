"""What strategy restore promises for a survivor's own backend: promises about the files, read without the product's
code, and what real etcd says of them."""

import json
import os
import stat

import promises
from bench import check, folder
from etcdlab import bolt
from etcdlab.wal import Log

ASIDE = "before-restore"   # where the former log and .snap files go, inside member/wal and member/snap
LIMIT = 256 * 1024         # bytes that apply may write, journal included, besides what it carries
NORMAL, CONF_CHANGE = 0, 1
WISHES = ("--strategy", promises.RESTORE)


class Before:
    """A survivor's log and backend as they were."""

    def __init__(self, data_dir):
        self.prints = folder.fingerprint(data_dir)
        self.log = Log(os.path.join(data_dir, "member"))
        self.buckets = bolt.Backend(backend_of(data_dir)).buckets()
        self.index = bolt.consistent_index(self.buckets["meta"])
        self.tail = {index: entry for index, entry in self.log.entries.items() if index > self.index}
        self.tail_bytes = sum(len(data) for _, _, data in self.tail.values())


def backend_of(data_dir):
    return os.path.join(data_dir, "member", "snap", "db")


def restore_once(bench, data_dir, before, *wishes):
    """Returns (plan, bytes written)."""
    answer, written = promises.apply(bench, data_dir, *WISHES, *wishes)
    plan = answer["plan"]
    # What is carried goes into the new log; it may be named in the journal, too.
    limit = LIMIT + 3 * before.tail_bytes
    check(written < limit, "restore wrote %d bytes for data and journal, more than %d" % (written, limit))
    check(plan["carried_entries"] == len(before.tail), "the plan says that %s entries are carried, the log has %d behind "
          "the backend" % (plan["carried_entries"], len(before.tail)))
    return plan, written


def files_are_as_promised(data_dir, before, plan):
    new_id, new_cluster = (plan["survivor"]["id"].lstrip("0"), plan["cluster_id"].lstrip("0"))
    check(new_cluster != before.log.cluster_id, "the cluster ID is still %s" % new_cluster)
    check(new_id != before.log.node_id, "the member ID is still %s" % new_id)
    _former_files_lie_aside(data_dir, before)
    _log_is_new_and_carries_the_tail(data_dir, before, new_id, new_cluster)
    _backend_has_one_member(data_dir, before, plan, new_id)


def _former_files_lie_aside(data_dir, before):
    after = folder.fingerprint(data_dir)
    owner = before.prints["member/snap/db"]["owner"]
    moved = {}
    for path, entry in before.prints.items():
        place, name = os.path.split(path)
        old = place in ("member/wal", "member/snap") and name.endswith((".wal", ".snap"))
        moved[os.path.join(place, ASIDE, name) if old else path] = entry
    for path, entry in moved.items():
        if path == "member/snap/db" or stat.S_ISDIR(entry["type"]):
            continue
        check(path in after, "%s is gone" % path)
        different = folder.differences({path: entry}, {path: after[path]}, ignore=("ctime",))
        check(not different, "restore changed what it must only move: %s" % "; ".join(different))
    for path in ("member/snap/db", "member", "member/wal", "member/snap"):
        different = folder.differences({path: before.prints[path]}, {path: after[path]},
                                       ignore=("ctime", "mtime", "content", "size"))
        check(not different, "restore changed more than content: %s" % "; ".join(different))
    new = sorted(p for p in set(after) - set(moved) if p.startswith("member/"))
    for path in new:
        check(after[path]["owner"] == owner, "%s belongs to %s" % (path, after[path]["owner"]))
        want = "0o700" if stat.S_ISDIR(after[path]["type"]) else "0o644" if path.endswith(".snap") else "0o600"
        check(after[path]["mode"] in (want, "0o600"), "%s has mode %s" % (path, after[path]["mode"]))
    kinds = sorted(os.path.splitext(p)[1] for p in new if not stat.S_ISDIR(after[p]["type"]))
    check(kinds == [".snap", ".wal"], "restore made %s" % new)


def _log_is_new_and_carries_the_tail(data_dir, before, new_id, new_cluster):
    log = Log(os.path.join(data_dir, "member"))
    check((log.node_id, log.cluster_id) == (new_id, new_cluster), "the log belongs to member %s of cluster %s"
          % (log.node_id, log.cluster_id))
    check(len(log.wal_files) == 1 and len(log.snap_files) == 1, "log %s, .snap %s" % (log.wal_files, log.snap_files))
    check(log.snap_files[0].endswith("-%016x.snap" % before.index), "the .snap is %s, the backend is at %d"
          % (log.snap_files[0], before.index))
    check(log.snapshot_records == [0, before.index], "snapshot records at %s" % log.snapshot_records)
    want = {index: entry if entry[1] == NORMAL else (entry[0], NORMAL, b"") for index, entry in before.tail.items()}
    check(log.entries == want, "the carried entries differ: %d instead of %d" % (len(log.entries), len(want)))
    last = max(want, default=before.index)
    check(log.hard_state["commit"] == last and log.hard_state["vote"] == new_id, "hard state %s, the last entry is %d"
          % (log.hard_state, last))


def _backend_has_one_member(data_dir, before, plan, new_id):
    backend = bolt.Backend(backend_of(data_dir))
    check(backend.meta.freelist == bolt.NO_FREELIST, "a freelist is stored")
    after = backend.buckets()
    members = bolt.members(after["members"])
    check(list(members) == [new_id], "bucket members: %s" % sorted(members))
    me = members[new_id]
    check(me["peerURLs"] == plan["survivor"]["peer_urls"] and me.get("name", "") == plan["survivor"]["name"] and
          not me.get("isLearner"), "the member is %s, the plan says %s" % (me, plan["survivor"]))
    check(not after["members_removed"], "members_removed: %s" % sorted(after["members_removed"]))
    meta, former = after["meta"], before.buckets["meta"]
    if b"confState" in former:
        state = json.loads(meta[b"confState"])
        check((state.get("voters"), state.get("learners")) in (([int(new_id, 16)], None), ([int(new_id, 16)], [])),
              "meta/confState is %s" % state)
    changed = [key for key in set(meta) | set(former) if key != b"confState" and meta.get(key) != former.get(key)]
    check(not changed, "restore changed %s in the bucket meta" % changed)
    for name in set(after) | set(before.buckets):
        if name not in ("meta", "members", "members_removed"):
            check(after.get(name) == before.buckets.get(name), "restore changed the bucket %s" % name)


def undo_gives_everything_back(bench, survivor):
    undone = bench.copy(survivor, "restore-undo")
    prints = folder.fingerprint(undone)
    promises.apply(bench, undone, *WISHES)
    promises.undo_gives_everything_back(bench, undone, prints)
    folder.remove_folder(os.path.dirname(undone))


def losses_of_snapshot_restore(bench, survivor, expected, expected_path, version):
    """etcd's own way from the same backend: what it loses."""
    me = next(m for m in expected["members"] if m["id"] == expected["survivor"]["id"])
    os.makedirs(bench.path("snapshot-restore"))
    restored = bench.snapshot_restore(backend_of(survivor), version, bench.path("snapshot-restore", "etcd"),
                                      expected["survivor"]["name"], me["peerURLs"][0])
    lost = bench.judge(restored, expected_path, version, "--count-losses", "--log-of", survivor)["lost_acknowledged"]
    folder.remove_folder(os.path.dirname(restored))
    return lost


def restore_and_judge(bench, survivor, expected_path, version, join, former=None):
    """All promises on copies of one survivor; `former` is another old member's data directory. Figures for the table."""
    with open(expected_path) as text:
        expected = json.load(text)
    before = Before(survivor)
    promises.plan_writes_nothing(bench, survivor, *WISHES)
    undo_gives_everything_back(bench, survivor)
    ours = bench.copy(survivor, "restored")
    plan, written = restore_once(bench, ours, before)
    files_are_as_promised(ours, before, plan)
    promises.apply_again_does_nothing(bench, ours, *WISHES)
    promises.verify(bench, ours)
    result = {"restore_written": written, "carried": plan["carried_entries"]}
    if not version:
        return result
    arguments = ["--join", join, "--restored", plan["cluster_id"], plan["survivor"]["id"], "--maintenance",
                 "--log-of", survivor]
    if former:
        arguments += ["--former", former]
    result["restore_lost"] = bench.judge(ours, expected_path, version, *arguments)["lost_acknowledged"]
    promises.is_sound(bench, ours)
    folder.remove_folder(os.path.dirname(ours))
    if os.path.exists(os.path.join(os.path.dirname(expected_path), "acks")):
        result["snapshot_lost"] = losses_of_snapshot_restore(bench, survivor, expected, expected_path, version)
    return result
