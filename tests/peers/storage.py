"""Where and how etcd's files may lie: the log elsewhere, behind a link, on a file system without a free block.
Both strategies, judged by real etcd."""

import ctypes
import functools
import os
import shutil
import subprocess
import time

import promises
from bench import SUITES, check, folder
from etcdlab.process import LabError

STRATEGIES = (promises.KEEP_LOG, promises.RESTORE)
NO_SPACE_EXIT = 7
IMAGE_MIB = 640
FAR = (4 << 30) + (64 << 20)
APPLY_AND_UNDO_SECONDS = 120  # on a busy machine; the check reads the whole backend once
CLONE_NEWNS = 0x00020000  # linux/sched.h


def all_cases():
    """{name: function(bench)}, for run-tier."""
    found = {}
    for version in SUITES:
        found["log-elsewhere-" + version] = functools.partial(log_elsewhere_case, version=version)
        found["page-sizes-" + version] = functools.partial(page_sizes_case, version=version)
        found["full-disk-" + version] = functools.partial(full_disk_case, version=version)
    return found


def lost_survivor(bench, version):
    """An old leader, with .snap files; (data directory, path of what is expected)."""
    out = bench.path("run")
    bench.lose_quorum(version, out, "--keys", "300", "--survivor", "leader", "--snapshot-count", "150")
    survivor = os.path.join(out, "survivor")
    promises.dress_like_a_node(survivor)
    return survivor, os.path.join(out, "expected.json")


def run(bench, command, data_dir, *arguments):
    done = bench.rescue.run(command, "--data-dir", data_dir, "--json", *arguments)
    check(done.status == 0, done.describe())
    return done.json()


def same(before, after, what, ignore=("ctime",)):
    changed = folder.differences(before, after, ignore=ignore)
    check(not changed, "%s: %s" % (what, "; ".join(changed[:5])))


def judge(bench, data_dir, expected, version, plan, *arguments):
    """A leader had every acknowledged write in its log: nothing may be lost."""
    arguments = list(arguments)
    if plan["strategy"] == promises.RESTORE:
        arguments += ["--restored", plan["cluster_id"], plan["survivor"]["id"]]
    lost = bench.judge(data_dir, expected, version, *arguments)["lost_acknowledged"]
    check(lost == 0, "%d acknowledged writes are lost" % lost)


# -- the log elsewhere

def log_elsewhere_case(bench, version):
    survivor, expected = lost_survivor(bench, version)
    places = (("named", None), ("absolute", "{LOG}"), ("relative", "../../log"))
    for number, (kind, link) in enumerate(places):
        for strategy in STRATEGIES if number == 0 else STRATEGIES[number % 2:][:1]:
            one_place(bench, survivor, expected, version, "%s-%s" % (kind, strategy), link, strategy)
    return {"note": "the log elsewhere: named (both strategies), behind an absolute and a relative link; etcd starts, "
                    "nothing lost"}


def one_place(bench, survivor, expected, version, name, link, strategy):
    data_dir = bench.copy(survivor, name)
    beside = os.path.dirname(data_dir)
    log, usual = os.path.join(beside, "log"), os.path.join(data_dir, "member", "wal")
    os.rename(usual, log)
    if link:
        os.symlink(link.replace("{LOG}", log), usual)
    named = () if link else ("--wal-dir", log)
    before = folder.fingerprint(beside)
    wishes = ("--strategy", strategy, *named)
    check(run(bench, "plan", data_dir, *wishes)["log"] == log, "the plan is about another log")
    same(before, folder.fingerprint(beside), "plan changed something", ignore=())
    run(bench, "apply", data_dir, "--yes", *wishes)
    run(bench, "undo", data_dir, "--yes", *named)
    same(folder.without_directory_times(before), folder.without_directory_times(folder.fingerprint(beside)),
         "undo did not give everything back")
    plan = run(bench, "apply", data_dir, "--yes", *wishes)["plan"]
    run(bench, "verify", data_dir, *named)
    after = folder.fingerprint(beside)
    if link:
        check(os.readlink(usual) == link.replace("{LOG}", log), "the link changed")
    else:
        check(not os.path.lexists(usual), "there is a log at the usual place, too")
    for path, entry in after.items():
        if path.startswith(("etcd/member", "log")):
            check(entry["owner"] == after["etcd/member/snap/db"]["owner"], "%s belongs to %s" % (path, entry["owner"]))
    judge(bench, data_dir, expected, version, plan, *(() if link else ("--flag=--wal-dir=" + log,)))
    folder.remove_folder(beside)


# -- other shapes of the backend

def page_sizes_case(bench, version):
    survivor, expected = lost_survivor(bench, version)
    shapes = [(16384, 0), (65536, 0)] + ([(16384, FAR)] if version == "3.5.30" else [])
    for page_size, first in shapes:
        for strategy in STRATEGIES:
            one_shape(bench, survivor, expected, version, page_size, first, strategy)
    return {"note": "pages of 16 and 64 KiB%s, both strategies, undone and done: etcd starts, nothing lost"
                    % (", and more than 4 GiB" if len(shapes) > 2 else "")}


def one_shape(bench, survivor, expected, version, page_size, first, strategy):
    data_dir = bench.copy(survivor, "%d-%d-%s" % (page_size, first, strategy))
    bench.tool(os.path.join(os.path.dirname(bench.rescue.program), "reshape-backend"), data_dir, str(page_size),
               str(first))
    backend = os.path.join(data_dir, "member", "snap", "db")
    check(os.path.getsize(backend) > first, "the backend has %d bytes" % os.path.getsize(backend))
    before = folder.fingerprint(data_dir)
    started = time.monotonic()
    run(bench, "apply", data_dir, "--yes", "--strategy", strategy)
    run(bench, "undo", data_dir, "--yes")
    took = time.monotonic() - started
    check(took < APPLY_AND_UNDO_SECONDS, "apply and undo took %.0f s" % took)
    same(folder.without_directory_times(before), folder.without_directory_times(folder.fingerprint(data_dir)),
         "undo did not give everything back")
    plan = run(bench, "apply", data_dir, "--yes", "--strategy", strategy)["plan"]
    run(bench, "verify", data_dir)
    check(os.stat(backend).st_blocks * 512 < 1 << 30, "the backend's hole was filled")
    # More than etcd's default quota of 2 GiB.
    judge(bench, data_dir, expected, version, plan, "--flag=--quota-backend-bytes=%d" % (8 << 30))
    folder.remove_folder(os.path.dirname(data_dir))


# -- a full disk

def enter_private_mounts():
    """What this process mounts is seen by nobody else, and gone with it, however it ends."""
    check(os.geteuid() == 0, "a file system of its own needs root")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise LabError("unshare: %s" % os.strerror(ctypes.get_errno()))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class FullDisk:
    """An ext4 file system of its own."""

    def __init__(self, bench, name):
        self.image, self.root = bench.path(name + ".ext4"), bench.path(name)
        self.filler = os.path.join(self.root, "filler")
        self.data_dir = os.path.join(self.root, "etcd")

    def __enter__(self):
        os.makedirs(self.root)
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_MIB << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-b", "4096", self.image], check=True)
        subprocess.run(["mount", "-o", "loop", self.image, self.root], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.root], check=False)
        os.unlink(self.image)

    def take(self, survivor):
        """A copy; its log segments with all their blocks, as etcd makes them."""
        folder.copy_folder(survivor, self.data_dir)
        log = os.path.join(self.data_dir, "member", "wal")
        for name in os.listdir(log):
            with open(os.path.join(log, name), "rb+") as segment:
                os.posix_fallocate(segment.fileno(), 0, os.fstat(segment.fileno()).st_size)
        subprocess.run(["sync", "-f", self.root], check=True)

    def free(self):
        return os.statvfs(self.root).f_bavail

    def fill(self):
        """To the last block."""
        step = 64 << 20
        with open(self.filler, "ab") as filler:
            while step >= 4096:
                try:
                    os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, step)
                except OSError:
                    step //= 2
        subprocess.run(["sync", "-f", self.root], check=True)
        check(self.free() == 0, "%d blocks are still free" % self.free())

    def empty(self):
        os.unlink(self.filler)


def full_disk_case(bench, version):
    enter_private_mounts()
    survivor, expected = lost_survivor(bench, version)
    for strategy in STRATEGIES:
        with FullDisk(bench, "full-" + strategy) as disk:
            disk.take(survivor)
            disk.fill()
            refused(bench, disk, "--strategy", strategy)
            rescued_with_the_journal_elsewhere(bench, disk, expected, version, strategy)
    return {"note": "a full ext4: both strategies with the journal elsewhere, undone and done, etcd starts, nothing lost; "
                    "with the journal on it, refused before the first write"}


def refused(bench, disk, *wishes):
    """Nothing at all is changed, and the reason and the way out are said."""
    before, free = folder.fingerprint(disk.root), disk.free()
    done = bench.rescue.run("apply", "--data-dir", disk.data_dir, "--yes", "--json", *wishes)
    same(before, folder.fingerprint(disk.root), "the refused apply changed something", ignore=())
    check(done.status == NO_SPACE_EXIT, done.describe())
    error = done.json()["error"]
    check(error["code"] == "no-space" and "--journal" in error["hint"], "refused with %s" % error)
    check(done.written == 0 and disk.free() == free, "the refused apply wrote %d bytes" % done.written)


def rescued_with_the_journal_elsewhere(bench, disk, expected, version, strategy):
    journal = bench.path("journal-" + strategy)
    before = folder.fingerprint(disk.data_dir)
    wishes = ("--strategy", strategy, "--journal", journal)
    run(bench, "apply", disk.data_dir, "--yes", *wishes)
    run(bench, "undo", disk.data_dir, "--yes", "--journal", journal)
    same(folder.without_directory_times(before), folder.without_directory_times(folder.fingerprint(disk.data_dir)),
         "undo did not give everything back")
    disk.fill()  # what undo brought back is the content; its zeros need no blocks any more
    plan = run(bench, "apply", disk.data_dir, "--yes", *wishes)["plan"]
    aside = [name for place in ("wal", "snap") for name in os.listdir(os.path.join(disk.data_dir, "member", place))
             if name.startswith("before-restore")]
    check(not aside, "the old log was kept although there is no room: %s" % aside)
    run(bench, "verify", disk.data_dir)
    # Room is the operator's next step: etcd writes wherever it likes.
    disk.empty()
    judge(bench, disk.data_dir, expected, version, plan)
    shutil.rmtree(journal)
