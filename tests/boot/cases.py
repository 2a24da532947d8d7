"""The boot tier's cases: what the booted image does with jobs, secrets and consent, seen from its consoles.

Each case is a function of a Bench; it raises Failure (or vm.MachineError) and returns a summary line."""
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
REPOSITORY = os.path.realpath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(REPOSITORY, "image", "lib"))

import disaster  # noqa: E402
import vm  # noqa: E402
from disaster import Failure  # noqa: E402

BOOT_PATIENCE = 240    # seconds to a console line, emulated on a busy machine
OFF_PATIENCE = 60      # from the job's last line to power-off
STAYS_UP_SECONDS = 6   # a power-off takes under 2 s; longer than this is "stays up"
OTHER_UUID = "00000000-0000-4000-8000-000000000000"


class Bench:
    """Where a case works, and a small state disk that all cases of a run share."""

    def __init__(self, work, shared, cache):
        self.work, self.shared, self.cache = work, shared, cache
        os.makedirs(work)

    def path(self, name):
        return os.path.join(self.work, name)

    @contextlib.contextmanager
    def alone(self, what):
        """Two cases run at once: what they share is made by one of them while the other waits."""
        with open(os.path.join(os.path.dirname(self.shared), f"{what}.lock"), "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def state_disk(self):
        """(image of its own, secret file, UUID): made once a run, then copied."""
        ready = os.path.join(self.shared, "state.json")
        with self.alone("state-disk"):
            if not os.path.exists(ready):
                shutil.rmtree(self.shared, ignore_errors=True)
                os.makedirs(self.shared, mode=0o700)
                self._make_state_disk(ready)
        with open(ready, encoding="utf-8") as file:
            uuid = json.load(file)["uuid"]
        subprocess.run(["cp", "--sparse=always", os.path.join(self.shared, "state.img"), self.path("state.img")],
                       check=True)
        return self.path("state.img"), os.path.join(self.shared, "secret.json"), uuid

    def _make_state_disk(self, ready):
        cluster, tree = os.path.join(self.shared, "cluster"), os.path.join(self.shared, "tree")
        image, secret = os.path.join(self.shared, "state.img"), os.path.join(self.shared, "secret.json")
        disaster.run([os.path.join(REPOSITORY, "tests/peers/lose-quorum"), "--keys", "200", "--out", cluster,
                      "--etcd", os.path.join(self.cache, "etcd/trixie-server/usr/bin/etcd")])
        with open(os.path.join(cluster, "expected.json"), encoding="utf-8") as file:
            disaster.make_tree(os.path.join(cluster, "survivor"), json.load(file), tree)
        disaster.new_secret(secret)
        uuid = disaster.make_disk(image, secret, tree, os.path.join(self.shared, "uml.log"))
        disaster.save_snapshot(os.path.join(cluster, "survivor/member/snap/db"), os.path.join(self.shared, "snapshot.db"))
        shutil.rmtree(cluster)
        shutil.rmtree(tree)
        disaster.write(ready, json.dumps({"uuid": uuid}))

    def job(self, **changes):
        document = {"version": 1, "strategy": "force-new-cluster", "secret": {"from": "credential"}, **changes}
        disaster.write(self.path("job.json"), json.dumps(document))
        return self.path("job.json")

    def machine(self, **parts):
        return vm.Machine(log=self.path("console.log"), **parts)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expect(condition, words):
    if not condition:
        raise Failure(words)


def refused(running, status):
    """Waits for this RESULT; the machine must stay up with the reason on its screen. Returns the reason."""
    running.wait_for(vm.RESULT, BOOT_PATIENCE)
    result = running.result()
    expect(result[0] == status, f"exit {result[0]} instead of {status}: {result[1]}")
    expect(not running.wait_off(STAYS_UP_SECONDS), "the machine went off before anybody could read the reason")
    expect(running.is_running(), "QEMU says that the machine is not running")
    return result[1]


def on_screen(running, words):
    """Wrapped lines are joined: the screen has 80 columns."""
    screen = "".join(line.ljust(vm.SCREEN_COLUMNS) for line in running.screen())
    expect(re.sub(r"\s+", "", words) in re.sub(r"\s+", "", screen), f"the screen does not show {words!r}")


def a_wrong_secret_stays_on_the_screen(bench):
    image, _, uuid = bench.state_disk()
    disaster.new_secret(bench.path("wrong.json"))
    before = digest(image)
    credentials = {vm.JOB_CREDENTIAL: bench.job(consent={"luks-uuid": uuid}),
                   vm.SECRET_CREDENTIAL: bench.path("wrong.json")}
    with vm.Vm(bench.machine(disks=[image], credentials=credentials, direct=True)) as running:
        reason = refused(running, 4)
        on_screen(running, f"RESULT exit=4 {reason}")
    expect(uuid in reason, f"the reason does not name the disk: {reason}")
    expect(digest(image) == before, "the disk was changed")
    return reason


def consent_for_another_disk_is_refused(bench):
    image, secret, _ = bench.state_disk()
    before = digest(image)
    credentials = {vm.JOB_CREDENTIAL: bench.job(consent={"luks-uuid": OTHER_UUID}), vm.SECRET_CREDENTIAL: secret}
    with vm.Vm(bench.machine(disks=[image], credentials=credentials, via="fw_cfg", tpm=True)) as running:
        reason = refused(running, 7)
    expect(digest(image) == before, "the disk was changed")
    return reason


def a_misspelt_job_is_refused(bench):
    credentials = {vm.JOB_CREDENTIAL: bench.job(consent={"luks-uuid": OTHER_UUID}, stratgey="restore")}
    with vm.Vm(bench.machine(credentials=credentials, direct=True)) as running:
        reason = refused(running, 2)
    expect("stratgey" in reason, f"the reason does not name the field: {reason}")
    return reason


def a_second_run_has_nothing_to_do(bench):
    image, secret, uuid = bench.state_disk()
    credentials = {vm.JOB_CREDENTIAL: bench.job(consent={"luks-uuid": uuid}, disk={"luks-uuid": uuid}),
                   vm.SECRET_CREDENTIAL: secret}
    words = []
    for _ in range(2):
        with vm.Vm(bench.machine(disks=[image], credentials=credentials, via="fw_cfg", direct=True)) as running:
            running.wait_for(vm.RESULT, BOOT_PATIENCE)
            result = running.result()
            expect(result[0] == 0, f"exit {result[0]}: {result[1]}")
            expect(running.wait_off(OFF_PATIENCE), "the machine did not power off after its job")
            words.append(result[1])
    expect("nothing to do" in words[1], f"the second run said: {words[1]}")
    return words[1]


def a_backup_on_a_second_disk_is_restored(bench):
    image, secret, uuid = bench.state_disk()
    os.mkdir(bench.path("backup"))
    shutil.copy(os.path.join(bench.shared, "snapshot.db"), bench.path("backup/snapshot.db"))
    disaster.make_backup_disk(bench.path("backup.img"), bench.path("backup"))
    before = digest(bench.path("backup.img"))
    disaster.make_restore_job(bench.path("job.json"), uuid, "LABEL=BACKUP:/snapshot.db")
    credentials = {vm.JOB_CREDENTIAL: bench.path("job.json"), vm.SECRET_CREDENTIAL: secret}
    with vm.Vm(bench.machine(disks=[image, bench.path("backup.img")], credentials=credentials, via="fw_cfg",
                             direct=True)) as running:
        running.wait_for(vm.RESULT, BOOT_PATIENCE)
        result = running.result()
        expect(result[0] == 0, f"exit {result[0]}: {result[1]}")
        expect(running.wait_off(OFF_PATIENCE), "the machine did not power off after its job")
    expect(digest(bench.path("backup.img")) == before, "the backup's disk was changed")
    disaster.run([os.path.join(REPOSITORY, "tests/uml/read-state-disk"), "--image", image, "--secret", secret,
                  "--out", bench.path("after"), "--log", bench.path("uml-read.log")])
    data = bench.path("after/var/lib/etcd")
    for name in ("member/restored", "member/snap/db", "member.before-restore/snap/db"):
        expect(os.path.isfile(os.path.join(data, name)), f"there is no {name} on the volume")
    return result[1]


def the_demonstration_passes(bench):
    with open(bench.path("demo.log"), "wb") as log:
        status = subprocess.run([os.path.join(REPOSITORY, "image/demo")], stdin=subprocess.DEVNULL, stdout=log,
                                stderr=log, check=False).returncode
    with open(bench.path("demo.log"), encoding="utf-8", errors="replace") as log:
        lines = log.read().strip().splitlines()
    verdict = lines[-1] if lines else "no output"
    if status != 0 or not verdict.startswith("VERDICT: rescued: "):
        raise Failure("\n".join(lines[-60:]))
    return verdict


ALL = {
    "demonstration": the_demonstration_passes,
    "restore-from-a-backup-disk": a_backup_on_a_second_disk_is_restored,
    "second-run-has-nothing-to-do": a_second_run_has_nothing_to_do,
    "consent-for-another-disk": consent_for_another_disk_is_refused,
    "wrong-secret-stays-on-screen": a_wrong_secret_stays_on_the_screen,
    "misspelt-job": a_misspelt_job_is_refused,
}
