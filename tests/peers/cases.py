"""The peers tier's cases: what is killed, and what is then asked of the program under test."""

import json
import os
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "lib"))

import simple_fixture  # noqa: E402
from etcdlab import folder, process  # noqa: E402
from etcdlab.process import LabError  # noqa: E402
from etcdlab.rescue import Rescue  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
SUITES = {"3.4.23": "bookworm", "3.5.16": "trixie", "3.5.30": "forky"}  # Debian's packages
ROLES = ("leader", "follower")
NODE_OWNER = (998, 997)  # what etcd's files belong to on a Constellation node
JOURNAL_FOLDER = ".etcd-rescue"  # beside the data directory, with this ending
LIMIT = 64 * 1024        # bytes that apply may write, journal included, reports not


def check(condition, text):
    if not condition:
        raise LabError(text)


class Kill:
    """One round of the disaster. Rounds go through all versions, roles and kinds of log before they repeat."""

    def __init__(self, number):
        self.number = number
        self.version = tuple(SUITES)[number % 3]
        self.role = ROLES[number // 3 % 2]
        self.snapshots = number // 6 % 2 == 1
        self.rotated = self.snapshots and number // 12 == 1 and self.role == ROLES[self.number % 2]
        kind = "rotated" if self.rotated else "snap" if self.snapshots else "nosnap"
        self.name = "%02d-%s-%s-%s" % (number + 1, self.version, self.role, kind)

    def arguments(self):
        arguments = ["--keys", str(300 + 37 * self.number % 300), "--survivor", self.role]
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

    def tool(self, *arguments, accept=(0,)):
        """Runs a program; its output goes to this case's log. Returns its standard output."""
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        sys.stderr.write(done.stdout + done.stderr)
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
                  "--json", figures, "--keep-log", data_dir + ".etcd.log", *arguments)
        with open(figures) as text:
            return json.load(text)

    def copy(self, source, name):
        # A folder of its own for each copy: the undo journal lies beside the data directory.
        os.makedirs(self.path(name))
        target = self.path(name, "etcd")
        folder.copy_folder(source, target)
        return target


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


# -- promises; each leaves the directory in the state that its name says

def plan_writes_nothing(bench, data_dir):
    parent = os.path.dirname(data_dir)
    before = folder.fingerprint(parent)
    done = bench.rescue.run("plan", "--data-dir", data_dir, "--json")
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


def apply_once(bench, data_dir):
    """Returns how many bytes it wrote for data and journal, as the kernel counted them. Only the log changes;
    owner, mode and attributes stay."""
    before = folder.fingerprint(data_dir)
    done = bench.rescue.run("apply", "--data-dir", data_dir, "--yes", "--json")
    check(done.status == 0, done.describe())
    applied = done.json()["applied"]
    written = done.written - report_bytes(data_dir)
    check(applied["data_bytes"] + applied["journal_bytes"] <= written < LIMIT,
          "apply wrote %d bytes for data and journal, and says %s" % (written, applied))
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


def apply_again_does_nothing(bench, data_dir):
    before = folder.fingerprint(data_dir)
    done = bench.rescue.run("apply", "--data-dir", data_dir, "--yes")
    check(done.status == 0, done.describe())
    check("nothing to do" in done.stdout + done.stderr, "the second apply does not say that there is nothing to do: "
          + done.stdout.strip()[-300:])
    changed = folder.differences(before, folder.fingerprint(data_dir))
    check(not changed, "the second apply changed something: %s" % "; ".join(changed[:5]))


def verify(bench, data_dir):
    done = bench.rescue.run("verify", "--data-dir", data_dir, "--json")
    check(done.status == 0, done.describe())
    done.json()


def undo_gives_everything_back(bench, data_dir, before):
    done = bench.rescue.run("undo", "--data-dir", data_dir, "--yes")
    check(done.status == 0, done.describe())
    after = folder.fingerprint(data_dir)
    # What undo itself leaves behind (a closed journal) may lie beside member/, never in it.
    after = {p: e for p, e in after.items() if p in before or p.startswith("member")}
    changed = folder.differences(folder.without_directory_times(before), folder.without_directory_times(after),
                                 ignore=("ctime",))
    check(not changed, "undo did not give everything back: %s" % "; ".join(changed[:5]))


def every_death_can_be_undone(bench, survivor):
    """The executor dies at each of its operations; undo gives back every byte (tests/crash)."""
    crashed = bench.copy(survivor, "crash")
    bench.tool(os.path.join(os.path.dirname(bench.rescue.program), "die-everywhere"), crashed)
    folder.remove_folder(os.path.dirname(crashed))


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
    every_death_can_be_undone(bench, survivor)
    result = rescue_and_judge(bench, survivor, expected_path, case.version,
                              "voter" if case.number % 10 == 9 else "learner")
    # An old leader has every acknowledged write: check-survivor fails if it lacks one; said here once more.
    check(case.role == "follower" or result["lost"] == 0, "an old leader lost %d writes" % result["lost"])
    result.update(role=case.role, kind=case.name.split("-")[-1], acked=expected["acked_writes"])
    return result


def rescue_and_judge(bench, survivor, expected_path, version, join):
    """All promises on copies of one survivor; `version` None: there is no etcd of that version here."""
    dress_like_a_node(survivor)
    plan_writes_nothing(bench, survivor)
    before = folder.fingerprint(survivor)

    undone = bench.copy(survivor, "undo")
    apply_once(bench, undone)
    undo_gives_everything_back(bench, undone, before)
    folder.remove_folder(os.path.dirname(undone))

    result = {"version": version, "lost": 0, "lost_stock": None}
    if version:
        stock = bench.judge(bench.copy(survivor, "stock"), expected_path, version, "--count-losses",
                            "--flag=--force-new-cluster") if has_acks(expected_path) else None
        result["lost_stock"] = stock and stock["lost_acknowledged"]
    ours = bench.copy(survivor, "ours")
    result["written"] = apply_once(bench, ours)
    apply_again_does_nothing(bench, ours)
    verify(bench, ours)
    if version:
        result.update(lost=bench.judge(ours, expected_path, version, "--join", join)["lost_acknowledged"])
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
    result = rescue_and_judge(bench, survivor, expected_path, version, "learner")
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
        dress_like_a_node(data_dir)
        before = folder.fingerprint(data_dir)
        sizes.append(before["member/snap/db"]["size"])
        written.append(apply_once(bench, data_dir))  # compares the backend's hash, too
        if data_dir == large:
            undo_gives_everything_back(bench, data_dir, before)
            apply_once(bench, data_dir)
    text = ("apply wrote %d bytes with a backend of %d MiB and %d bytes with one of %d MiB, journal included"
            % (written[0], sizes[0] >> 20, written[1], sizes[1] >> 20))
    check(15 << 20 < sizes[0] < 40 << 20 and sizes[1] >= 1 << 30, "the sizes are wrong: " + text)
    check(written[0] == written[1] < LIMIT, text)
    for data_dir in (small, large):
        bench.judge(data_dir, os.path.join(run, "expected.json"), version)
    return {"note": text}


def make(path):
    os.makedirs(path, mode=stat.S_IRWXU)
    return path
