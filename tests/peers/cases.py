"""The peers tier's cases: what is killed, and what is then asked of the program under test."""

import json
import os
import stat
import subprocess

import promises
import restore
import simple_fixture
from bench import SUITES, check, folder, process

ROLES = ("leader", "follower")


class Kill:
    """One round of the disaster. Rounds go through all versions, roles and kinds of log before they repeat."""

    def __init__(self, number):
        self.number = number
        self.version = tuple(SUITES)[number % 3]
        self.role = ROLES[number // 3 % 2]
        self.snapshots = number // 6 % 2 == 1
        self.rotated = self.snapshots and number // 12 == 1 and self.role == ROLES[self.number % 2]
        kind = "rotated" if self.rotated else "snap" if self.snapshots else "nosnap"
        # Hundreds of deaths with their syncs take 10 to 20 s: once for each version and kind of log. The role makes no
        # difference to what restore writes.
        self.restore_dies = self.role == "leader" and (number < 12 or self.rotated)
        self.name = "%02d-%s-%s-%s" % (number + 1, self.version, self.role, kind)

    def arguments(self):
        arguments = ["--keys", str(300 + 37 * self.number % 300), "--survivor", self.role, "--keep-former"]
        if self.snapshots:
            arguments += ["--snapshot-count", str((50, 150, 400)[self.number % 3])]
        if self.rotated:
            arguments += ["--log-mib", "66"]
        return arguments


def shared_fixtures(root):
    """{name: folder or description file} of the larger fixtures beside the repository, when they are there."""
    found = {}
    for kind, ending in (("survivors", ""), ("survivors-basic", ".json")):
        path = os.path.join(root, kind)
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else ():
            if name.endswith(ending):
                found[name[:len(name) - len(ending)]] = os.path.join(path, name)
    return found


# -- cases; each returns its result for the table

def kill_case(bench, case):
    run = bench.path("run")
    bench.lose_quorum(case.version, run, *case.arguments())
    survivor, expected_path = os.path.join(run, "survivor"), os.path.join(run, "expected.json")
    with open(expected_path) as text:
        expected = json.load(text)
    observed = expected["observed"]
    check(bool(observed["snap_files"]) == case.snapshots, "%d .snap files" % len(observed["snap_files"]))
    check((len(observed["wal_files"]) > 1) == case.rotated, "%d log segments" % len(observed["wal_files"]))
    promises.every_death_can_be_undone(bench, survivor, promises.KEEP_LOG)
    if case.restore_dies:
        promises.every_death_can_be_undone(bench, survivor, promises.RESTORE)
    result = rescue_and_judge(bench, survivor, expected_path, case.version,
                              "voter" if case.number % 10 == 9 else "learner")
    result.update(restore.restore_and_judge(bench, survivor, expected_path, case.version,
                                            "voter" if case.number % 10 == 4 else "learner", os.path.join(run, "former")))
    check(result["restore_lost"] == result["lost"], "restore lost %d writes, keeping the log %d"
          % (result["restore_lost"], result["lost"]))
    # An old leader has every acknowledged write: check-survivor fails if it lacks one; said here once more.
    check(case.role == "follower" or result["lost"] == 0, "an old leader lost %d writes" % result["lost"])
    result.update(role=case.role, kind=case.name.split("-")[-1], acked=expected["acked_writes"])
    return result


def rescue_and_judge(bench, survivor, expected_path, version, join):
    """All promises on copies of one survivor; `version` None: there is no etcd of that version here."""
    promises.dress_like_a_node(survivor)
    promises.plan_writes_nothing(bench, survivor)
    before = folder.fingerprint(survivor)

    undone = bench.copy(survivor, "undo")
    promises.keep_log(bench, undone)
    promises.undo_gives_everything_back(bench, undone, before)
    folder.remove_folder(os.path.dirname(undone))

    result = {"version": version, "lost": 0, "lost_stock": None}
    if version:
        stock = bench.judge(bench.copy(survivor, "stock"), expected_path, version, "--count-losses",
                            "--flag=--force-new-cluster") if has_acks(expected_path) else None
        result["lost_stock"] = stock and stock["lost_acknowledged"]
        folder.remove_folder(bench.path("stock"))
    ours = bench.copy(survivor, "ours")
    result["written"] = promises.keep_log(bench, ours)
    promises.apply_again_does_nothing(bench, ours, "--strategy", promises.KEEP_LOG)
    promises.verify(bench, ours)
    if version:
        result.update(lost=bench.judge(ours, expected_path, version, "--join", join)["lost_acknowledged"])
    folder.remove_folder(os.path.dirname(ours))
    return result


def has_acks(expected_path):
    return os.path.exists(os.path.join(os.path.dirname(expected_path), "acks"))


def fixture_case(bench, fixture):
    """A survivor of the shared fixtures; 3.6 and 3.7 have no package, there our own verify must do."""
    survivor = os.path.join(make(bench.path("given")), "etcd")
    expected_path = os.path.join(fixture, "expected.json")
    if os.path.isdir(fixture):
        subprocess.run(["tar", "-xJf", os.path.join(fixture, "data.tar.xz"), "-C", os.path.dirname(survivor)], check=True)
    else:
        expected_path = bench.path("expected.json")
        simple_fixture.unpack(fixture, survivor, expected_path)
    with open(expected_path) as text:
        expected = json.load(text)
    version = expected["etcd"] if expected["etcd"] in SUITES else None
    process.hold_ports(expected["old_flags"])
    result = rescue_and_judge(bench, survivor, expected_path, version, "learner")
    result.update(restore.restore_and_judge(bench, survivor, expected_path, version, "learner"))
    result.update(version=expected["etcd"], role=expected["killed_as"], kind="fixture",
                  acked=expected.get("acked_writes"))
    return result


def size_case(bench):
    """The same log behind a backend of 1 GiB and behind one of 20 MiB costs the same number of bytes."""
    version, run = "3.5.30", bench.path("run")
    early = bench.path("early.db")
    bench.lose_quorum(version, run, "--keys", "600", "--backend-mib", "1024", "--early-backend", early,
                      "--kill-after", "1")
    # Paths of the same length, since the journal may name them.
    small, large = make(bench.path("small", "etcd")), bench.path("large", "etcd")
    os.makedirs(os.path.dirname(large))
    os.rename(os.path.join(run, "survivor"), large)
    # All but the backend, so that no second gigabyte is copied.
    subprocess.run("cd %s && tar -cS --exclude=member/snap/db . | tar -xSp -C %s" % (large, small),
                   shell=True, check=True)
    os.rename(early, os.path.join(small, "member", "snap", "db"))
    os.chmod(os.path.join(small, "member", "snap", "db"), 0o600)
    sizes, written = [], []
    for data_dir in (small, large):
        promises.dress_like_a_node(data_dir)
        before = folder.fingerprint(data_dir)
        sizes.append(before["member/snap/db"]["size"])
        written.append(promises.keep_log(bench, data_dir))  # compares the backend's hash, too
        if data_dir == large:
            promises.undo_gives_everything_back(bench, data_dir, before)
            promises.keep_log(bench, data_dir)
    text = ("apply wrote %d bytes with a backend of %d MiB and %d bytes with one of %d MiB, journal included"
            % (written[0], sizes[0] >> 20, written[1], sizes[1] >> 20))
    check(15 << 20 < sizes[0] < 40 << 20 and sizes[1] >= 1 << 30, "the sizes are wrong: " + text)
    check(written[0] == written[1] < promises.LIMIT, text)
    for data_dir in (small, large):
        bench.judge(data_dir, os.path.join(run, "expected.json"), version)
    return {"note": text}


def make(path):
    os.makedirs(path, mode=stat.S_IRWXU)
    return path
