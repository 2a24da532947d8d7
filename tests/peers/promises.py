"""What the program promises for a survivor, whatever etcd says afterwards. Each function leaves the directory in the
state that its name says; a broken promise is a LabError."""

import os

from bench import check, folder

NODE_OWNER = (998, 997)  # what etcd's files belong to on a Constellation node
JOURNAL_FOLDER = ".etcd-rescue"  # beside the data directory, with this ending
LIMIT = 64 * 1024        # bytes that keeping the log may write, journal included, reports not
KEEP_LOG, RESTORE = "force-new-cluster", "restore"


def dress_like_a_node(data_dir):
    """Owner and extended attributes as on a node, so that it shows when they are not kept."""
    for root, _, names in os.walk(data_dir):
        for path in [root] + [os.path.join(root, name) for name in names]:
            if os.getuid() == 0:
                os.chown(path, *NODE_OWNER)
            try:
                os.setxattr(path, "user.etcd-rescue-test", os.path.basename(path).encode())
            except OSError:
                pass  # not every file system has them; mode and owner are still compared


def plan_writes_nothing(bench, data_dir, *wishes):
    parent = os.path.dirname(data_dir)
    before = folder.fingerprint(parent)
    done = bench.rescue.run("plan", "--data-dir", data_dir, "--json", *wishes)
    check(done.status == 0, done.describe())
    done.json()
    changed = folder.differences(before, folder.fingerprint(parent))
    check(not changed, "plan changed something: %s" % "; ".join(changed[:5]))
    check(done.written == 0, "plan wrote %d bytes" % done.written)


def report_bytes(data_dir):
    """The reports' sizes: text for people, whose length has nothing to do with the change."""
    beside = data_dir + JOURNAL_FOLDER
    return sum(os.path.getsize(os.path.join(beside, name)) for name in
               (os.listdir(beside) if os.path.isdir(beside) else ()) if ".report." in name)


def apply(bench, data_dir, *wishes):
    """Returns what --json says, and how many bytes were written for data and journal as the kernel counted them."""
    done = bench.rescue.run("apply", "--data-dir", data_dir, "--yes", "--json", *wishes)
    check(done.status == 0, done.describe())
    answer, written = done.json(), done.written - report_bytes(data_dir)
    applied = answer["applied"]
    check(applied["data_bytes"] + applied["journal_bytes"] <= written,
          "apply wrote %d bytes for data and journal, and says %s" % (written, applied))
    return answer, written


def keep_log(bench, data_dir):
    """Strategy force-new-cluster: returns how many bytes it wrote for data and journal. Only the log changes;
    owner, mode and attributes stay."""
    before = folder.fingerprint(data_dir)
    _, written = apply(bench, data_dir, "--strategy", KEEP_LOG)
    check(written < LIMIT, "apply wrote %d bytes for data and journal" % written)
    after = folder.fingerprint(data_dir)
    new = [p for p in set(after) - set(before) if p == "member" or p.startswith("member/")]
    check(not new, "apply left new files in member/: %s" % new)
    changed = folder.differences(before, {p: after[p] for p in after if p in before},
                                 ignore=("ctime", "mtime", "content", "size"))
    check(not changed, "apply changed more than content: %s" % "; ".join(changed[:5]))
    touched = [p for p in before if before[p].get("content") != after[p].get("content")]
    segments = sorted(p for p in before if p.endswith(".wal"))
    check(touched == segments[-1:], "apply must change the last log segment and nothing else, it changed %s" % touched)
    return written


def apply_again_does_nothing(bench, data_dir, *wishes):
    before = folder.fingerprint(data_dir)
    done = bench.rescue.run("apply", "--data-dir", data_dir, "--yes", *wishes)
    check(done.status == 0, done.describe())
    check("nothing to do" in done.stdout + done.stderr, "the second apply does not say that there is nothing to do: "
          + done.stdout.strip()[-300:])
    changed = folder.differences(before, folder.fingerprint(data_dir))
    check(not changed, "the second apply changed something: %s" % "; ".join(changed[:5]))


def verify(bench, data_dir):
    done = bench.rescue.run("verify", "--data-dir", data_dir, "--json")
    check(done.status == 0, done.describe())
    done.json()


def is_sound(bench, data_dir):
    """Every page of the backend, as our checker sees it: after what we wrote, etcd has written more."""
    done = bench.rescue.run("inspect", "--data-dir", data_dir, "--json")
    check(done.status == 0, done.describe())
    found = done.json()["findings"]
    check(found["backend_check"]["problem_count"] == 0 and not found["backend"]["problems"] and
          not found["backend"]["meta_problem"] and found["backend_check"]["reachable"] > 0,
          "the backend that etcd went on writing is damaged: %s" % done.stdout[-2000:])


def undo_gives_everything_back(bench, data_dir, before):
    done = bench.rescue.run("undo", "--data-dir", data_dir, "--yes")
    check(done.status == 0, done.describe())
    after = folder.fingerprint(data_dir)
    # What undo itself leaves behind (a closed journal) may lie beside member/, never in it.
    after = {p: e for p, e in after.items() if p in before or p.startswith("member")}
    changed = folder.differences(folder.without_directory_times(before), folder.without_directory_times(after),
                                 ignore=("ctime",))
    check(not changed, "undo did not give everything back: %s" % "; ".join(changed[:5]))


def every_death_can_be_undone(bench, survivor, strategy):
    """The executor dies at each of its operations; undo gives back every byte (tests/crash)."""
    crashed = bench.copy(survivor, "crash-" + strategy)
    bench.tool(os.path.join(os.path.dirname(bench.rescue.program), "die-everywhere"), "--strategy", strategy, crashed)
    folder.remove_folder(os.path.dirname(crashed))
