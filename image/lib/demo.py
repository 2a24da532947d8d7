"""The program behind image/demo: plays the loss of a quorum, boots the appliance on the survivor's disk, and lets
a real etcd judge the result. The steps are numbered as in image/README.md."""
import argparse
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import disaster
import vm
from disaster import Failure

MEMORY_MIB = 2048
# What image/build says while it works.
MKOSI_STEP = re.compile(r"\u2023 +(.*)")
NINJA_STEP = re.compile(r"\[(\d+)/(\d+)\] ")
BOOT_PATIENCE = 180   # seconds to the agent's first line; TCG on a busy machine
JOB_PATIENCE = 300    # and from there to power-off


class Talk:
    """Prints, and keeps what was printed, so that it can be searched for secrets."""

    def __init__(self, log):
        self._log = open(log, "wb")

    def line(self, text=""):
        self.bytes((text + "\n").encode())

    def bytes(self, content):
        self._log.write(content)
        self._log.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


class Demo:
    """State that the steps hand on."""

    def __init__(self, options, work):
        self.etcd, self.etcdctl, self.keys = options.etcd, options.etcdctl, options.keys
        self.from_backup = options.from_backup
        self.work = work
        self.secret_file = self.path("secret/master-secret.json")
        self.talk = Talk(self.path("demo.log"))
        self.times = []
        self.expected = None
        self.uuid = ""
        self.stages = {}
        self.console_seconds = 0.0
        self.facts = {}

    def path(self, name):
        return os.path.join(self.work, name)

    def step(self, number, title, action):
        """Runs one step; its time is in the final table."""
        self.talk.line(f"\n[{number}] {title}")
        started = time.monotonic()
        action()
        self.times.append((title, time.monotonic() - started))

    # 0
    def build_image(self):
        """Compiling takes minutes: each step of mkosi and each tenth of the compiler's is shown while it is under way."""
        tail, shown = collections.deque(maxlen=15), -1
        with subprocess.Popen([os.path.join(disaster.ROOT, "image/build")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace") as build:
            for line in build.stdout:
                line = line.rstrip()
                tail.append(line)
                step, done = MKOSI_STEP.match(line), NINJA_STEP.match(line)
                if step:
                    self.talk.line("    " + step[1])
                if done and (tenth := 10 * int(done[1]) // int(done[2])) != shown:
                    shown = tenth
                    self.talk.line(f"    compiling: {done[1]} of {done[2]}")
        if build.returncode != 0:
            raise Failure("\n".join(["image/build failed:", *tail]))
        self.talk.line("    " + tail[-1])

    # 1
    def lose_quorum(self):
        words = disaster.run([os.path.join(disaster.ROOT, "tests/peers/lose-quorum"), "--etcd", self.etcd,
                              "--out", self.path("cluster"), "--survivor", "leader", "--keys", str(self.keys)])
        self.talk.line("    " + words.strip().splitlines()[-1])
        with open(self.path("cluster/expected.json"), encoding="utf-8") as file:
            self.expected = json.load(file)

    # 2
    def make_disk(self):
        key, salt = disaster.new_secret(self.secret_file)
        tree = self.path("tree")
        disaster.make_tree(self.path("cluster/survivor"), self.expected, tree)
        self.before = disaster.inventory(tree)
        self.uuid = disaster.make_disk(self.path("state.img"), self.secret_file, tree, self.path("uml-make.log"))
        self.secrets = disaster.Secrets(key, salt, self.uuid, self.secret_file)
        self.header, header_bytes = disaster.header_digest(self.path("state.img"))
        if self.from_backup:
            self.make_backup()
        else:
            disaster.make_job(self.path("job.json"), self.uuid)
        size = os.path.getsize(self.path("state.img")) >> 20
        self.talk.line(f"    LUKS2 {self.uuid}, {size} MiB (header {header_bytes >> 20} MiB), AES-XTS + HMAC-SHA256,"
                       f" {len(self.before)} files and folders")

    def make_backup(self):
        """The backend as a snapshot, on a second disk with label BACKUP."""
        os.mkdir(self.path("backup"))
        disaster.save_snapshot(self.path("cluster/survivor/member/snap/db"), self.path("backup/snapshot.db"))
        disaster.make_backup_disk(self.path("backup.img"), self.path("backup"))
        self.backup_digest = disaster.file_digest(self.path("backup.img"))
        disaster.make_restore_job(self.path("job.json"), self.uuid, "LABEL=BACKUP:/snapshot.db")
        self.talk.line("    and a disk with label BACKUP, which holds snapshot.db")

    def disks(self):
        return [self.path(name) for name in ("state.img", "backup.img") if os.path.exists(self.path(name))]

    # 3
    def boot(self):
        machine = vm.Machine(disks=self.disks(), memory=MEMORY_MIB, log=self.path("console.log"),
                             credentials={vm.JOB_CREDENTIAL: self.path("job.json"),
                                          vm.SECRET_CREDENTIAL: self.secret_file})
        with vm.Vm(machine) as running:
            self.talk.line(f"    UEFI, {running.accelerator}, {MEMORY_MIB} MiB; its console:\n")
            running.wait_for(disaster.FIRST_LINE, BOOT_PATIENCE, self.show)
            first = running.seconds()
            while (text := running.read(1.0)) is not None:
                self.show(text)
                result = running.result()
                if result and result[0] != 0:
                    raise Failure(f"the job ended with exit {result[0]}: {result[1]}")
                if disaster.KERNEL_DIED.search(running.console):
                    raise Failure("the machine's kernel died")
                if running.seconds() - first > JOB_PATIENCE:
                    raise Failure(f"the machine was still on {JOB_PATIENCE} s after its first line")
            result, total = running.result(), running.seconds()
            console = running.console
        self.talk.line()
        if not result:
            raise Failure("the machine ended without a result")
        self.stages = {match[1].decode(): float(match[3])
                       for match in disaster.STAGE.finditer(console.replace(b"\r\n", b"\n"))}
        missing = [name for name in ("unlock", "inspect", "apply", "verify", "seal") if name not in self.stages]
        if missing:
            raise Failure(f"the console shows no stage {', '.join(missing)}")
        self.stages = {"boot (power-on to first line)": first, **self.stages,
                       "power-on to power-off": total}

    def show(self, content):
        self.talk.bytes(content.replace(b"\r\n", b"\n"))

    # 4
    def check_disk(self):
        header, header_bytes = disaster.header_digest(self.path("state.img"))
        if header != self.header:
            raise Failure("the LUKS header area was changed")
        self.talk.line(f"    LUKS header area ({header_bytes} bytes) as before")
        disaster.run([os.path.join(disaster.ROOT, "tests/uml/read-state-disk"), "--image", self.path("state.img"),
                      "--secret", self.secret_file, "--out", self.path("after"), "--log", self.path("uml-read.log")])
        if self.from_backup:
            self.check_restored()
            return
        changed, new = disaster.compare_trees(self.before, disaster.inventory(self.path("after")))
        self.new = new
        self.talk.line(f"    owner and mode of all {len(self.before)} files as before; changed: {', '.join(changed)}")
        journal = sorted({path for path in new if os.path.isdir(self.path(os.path.join("after", path)))})
        if len(journal) != 1 or not all(path.startswith(journal[0]) for path in new):
            raise Failure(f"new on the volume, and more than the journal: {new}")
        self.talk.line(f"    new: {', '.join(new)}")
        if not changed:
            raise Failure("nothing was changed on the volume")

    def check_restored(self):
        """The old member stands beside the restored one, as it was; the backup's disk is as it was, too."""
        old, kept = "var/lib/etcd/member/", "var/lib/etcd/member.before-restore/"
        after = disaster.inventory(self.path("after"))
        expected = {path.replace(old, kept, 1): entry for path, entry in self.before.items() if path.startswith(old)}
        for path, entry in expected.items():
            if after.get(path) != entry:
                raise Failure(f"{path} is not what it was as {path.replace(kept, old, 1)}")
        if disaster.file_digest(self.path("backup.img")) != self.backup_digest:
            raise Failure("the disk with the backup was changed")
        self.new = sorted(set(after) - set(self.before) - set(expected))
        self.talk.line(f"    the old member's {len(expected)} files stand beside, as they were; the backup's disk is as it was")

    def check_etcd(self):
        # What came after the backup is lost, and counted.
        accept = ["--count-losses"] if self.from_backup else []
        words = disaster.run([os.path.join(disaster.ROOT, "tests/peers/check-survivor"), "--etcd", self.etcd,
                              "--etcdctl", self.etcdctl, "--join", "--json", self.path("facts.json"), *accept,
                              self.path("after/var/lib/etcd"), self.path("cluster/expected.json")])
        self.talk.line("    " + words.strip().splitlines()[-1])
        with open(self.path("facts.json"), encoding="utf-8") as file:
            self.facts = json.load(file)
        if not self.facts["passed"]:
            raise Failure("the rescued etcd is not what was acknowledged")

    def check_secrets(self, watch):
        """Everything that was written or shown; the process listing was watched all the time."""
        places = [self.path(name) for name in ("console.log", "demo.log", "uml-make.log", "uml-read.log", "job.json")]
        places += [path for path in (self.path(os.path.join("after", name)) for name in self.new)
                   if os.path.isfile(path)]
        for path in places:
            found = self.secrets.search_file(path)
            if found:
                raise Failure(f"{path} holds the {found[0]}")
        for line in watch.seen:
            found = self.secrets.search(line)
            if found:
                raise Failure(f"the process listing showed the {found[0]}: {line.split(bytes(1))[0].decode()}")
        self.talk.line(f"    no form of master key, salt or disk key in {len(places)} logs, journals and reports, nor"
                       f" in {watch.samples} process listings")

    def summary(self, since):
        self.talk.line("\nHow long it took:")
        for title, seconds in self.times:
            self.talk.line(f"    {title:<44} {seconds:7.1f} s")
            if title.startswith("boot"):
                for name, stage in self.stages.items():
                    self.talk.line(f"        {name:<40} {stage:7.1f} s")
        self.talk.line(f"    {'all of it':<44} {time.monotonic() - since:7.1f} s")


def arguments():
    parser = argparse.ArgumentParser(prog="image/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave disk, logs and secret for a look")
    parser.add_argument("--from-backup", action="store_true",
                        help="restore from a snapshot on a second disk with label BACKUP instead of rescuing what is there")
    parser.add_argument("--keys", type=int, default=2000, help="keys in the cluster (2000)")
    parser.add_argument("--etcd", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--etcdctl", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def play(demo, since):
    """The whole play; raises where it goes wrong."""
    demo.step(0, "build the image", demo.build_image)
    with disaster.ProcessWatch() as watch:
        demo.step(1, "three members of etcd lose their quorum", demo.lose_quorum)
        demo.step(2, "the survivor's state disk", demo.make_disk)
        demo.step(3, "boot the appliance beside that disk", demo.boot)
        demo.step(4, "look at the disk from outside", demo.check_disk)
        demo.step(5, "a real etcd starts from it, with the old flags", demo.check_etcd)
    demo.step(6, "look for secrets", lambda: demo.check_secrets(watch))
    demo.summary(since)


def main():
    since = time.monotonic()
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = tempfile.mkdtemp(prefix="etcd-rescue-demo-", dir="/var/tmp")
    # Not in /dev/shm or /run: User-Mode Linux, which makes the disk, has its own there.
    os.mkdir(os.path.join(work, "secret"))
    disaster.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", os.path.join(work, "secret")])
    demo = Demo(options, work)
    status = 1
    try:
        play(demo, since)
        written = demo.expected["acked_writes"]
        if demo.from_backup:
            demo.talk.line(f"\nVERDICT: restored from the backup: of {written} acknowledged writes,"
                           f" {demo.facts.get('lost_acknowledged', 0)} came after it; member"
                           f" {demo.expected['survivor']['name']} leads a new cluster")
        else:
            demo.talk.line(f"\nVERDICT: rescued: {written} acknowledged writes, 0 lost; cluster"
                           f" {demo.expected['cluster_id']} lives on with member {demo.expected['survivor']['name']}")
        status = 0
    except (Failure, vm.MachineError, OSError, KeyError, ValueError) as error:
        demo.talk.line(f"\nVERDICT: FAILED: {error}")
    finally:
        if options.keep:
            if os.path.exists(demo.secret_file):
                shutil.copy(demo.secret_file, demo.path("master-secret.json"))  # keeps 0600
            print(f"kept: state.img, its master-secret.json, logs and copies in {work}")
        disaster.run(["umount", os.path.join(work, "secret")])
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
