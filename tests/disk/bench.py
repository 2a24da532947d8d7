"""What the disk tier's cases stand on: disks, guests, and what came of each step in a guest."""

import base64
import concurrent.futures
import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOOLS = os.path.realpath(os.path.join(HERE, "..", "uml"))
FIXTURES = os.path.realpath(os.path.join(HERE, "..", "fixtures"))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from etcdlab import folder  # noqa: E402

NODE_OWNER = (998, 997)       # etcd's files on a Constellation node
DISK_MIB = 64
LIVE_DISK_MIB = 208           # etcd preallocates two log segments of 64 MB
HEADER_BYTES = 16 << 20       # both metadata copies and all key slots
ARGON2_KIB = 8192             # a case opens disks many times; the cost is not what is tested
GUEST_SECONDS = 300

MANIFEST = """apiVersion: v1
kind: Pod
metadata: {name: etcd, namespace: kube-system, labels: {component: etcd, tier: control-plane}}
spec:
  containers:
  - name: etcd
    image: registry.k8s.io/etcd:3.5.16-0
    command:
    - etcd
    - --data-dir=/var/lib/etcd
    - --initial-cluster-state=existing
    volumeMounts:
    - {mountPath: /var/lib/etcd, name: etcd-data}
  volumes:
  - hostPath: {path: /var/lib/etcd, type: DirectoryOrCreate}
    name: etcd-data
"""


class Failed(Exception):
    """What was promised did not happen."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def header_bytes(path):
    with open(path, "rb") as file:
        return file.read(HEADER_BYTES)


class Step:
    """What a command in the guest said and left."""

    def __init__(self, out, name):
        def read(ending):
            with open(os.path.join(out, name + ending), errors="replace") as file:
                return file.read()
        self.name, self.out, self.err = name, read(".out"), read(".err")
        self.status = int(read(".status"))
        self.left = sorted(set(read(".after").splitlines()) - set(read(".before").splitlines()))

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise Failed("%s: standard output is not one JSON document: %s" % (self.name, error)) from error

    def describe(self):
        return "%s: exit %d: %s" % (self.name, self.status, (self.err + self.out).strip()[-600:])

    def expect(self, status, *texts):
        """This exit code, these texts (any case) in the output, nothing left open."""
        check(self.status == status, "expected exit %d, %s" % (status, self.describe()))
        check(not self.left, "%s left behind: %s" % (self.name, "; ".join(self.left)))
        said = (self.out + self.err).lower()
        for text in texts:
            check(text.lower() in said, "expected \"%s\", %s" % (text, self.describe()))
        return self


class Bench:
    """One case's folder. Disks that several cases need are made once, in the tier's folder."""

    def __init__(self, options, name):
        self.program, self.cache, self.fixtures = options.etcd_rescue, options.cache, options.fixtures
        self.tools = TOOLS
        self.work = os.path.join(options.work, name)
        self.base = os.path.join(options.work, "base")
        folder.remove_folder(self.work)
        os.makedirs(self.work)
        os.makedirs(self.base, exist_ok=True)
        self.guests = 0
        self.secret = self._once("secret.json", _make_secret)
        self.other_secret = self._once("other-secret.json", _make_secret)

    def path(self, name):
        return os.path.join(self.work, name)

    @contextlib.contextmanager
    def _lock(self, name):
        with open(os.path.join(self.base, name + ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _once(self, name, make):
        """A file or folder of the tier's, made by the first case that asks."""
        path = os.path.join(self.base, name)
        with self._lock(name):
            if not os.path.exists(path):
                make(path + ".new")
                os.rename(path + ".new", path)
        return path

    def tree(self):
        return self._once("tree", _make_tree)

    def disk(self, name, integrity=True):
        """A copy, for this case alone, of a good state disk with a survivor in it. Its path."""
        kind = "integrity" if integrity else "plain"
        tree = self.tree()
        base = self._once(kind + ".img", lambda path: self.make_disk(path, tree, integrity))
        return self.copy(base, name)

    def disk_for_etcd(self, name, integrity=True):
        """A state disk of a node on which etcd has not started yet, with room for it."""
        image = self.path(name)
        tree = self.path("empty-tree")
        _make_node(tree)
        self.make_disk(image, tree, integrity, LIVE_DISK_MIB)
        return image

    def make_disk(self, path, tree, integrity=True, size=DISK_MIB):
        """Its LUKS UUID."""
        command = [os.path.join(TOOLS, "make-state-disk"), "--out", path, "--size", str(size), "--secret", self.secret,
                   "--tree", tree, "--argon2-memory", str(ARGON2_KIB)] + ([] if integrity else ["--no-integrity"])
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def read_disk(self, image, out):
        subprocess.run([os.path.join(TOOLS, "read-state-disk"), "--image", image, "--secret", self.secret, "--out", out],
                       check=True)

    def copy(self, source, name):
        target = self.path(name)
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", "--", source, target], check=True)
        return target

    def tamper(self, image, *actions):
        """Edits the LUKS2 metadata; see tests/uml/edit-header."""
        subprocess.run([os.path.join(TOOLS, "edit-header"), image, *actions], check=True)
        return image

    def guest_with_line(self, steps, talk, *disks, seconds=GUEST_SECONDS):
        """The same, while talk(ADDRESS) speaks on the guest's /dev/ttyS0. {name: Step}."""
        address, give_up = self.path("line-%d" % self.guests), self.path("give-up-%d" % self.guests)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            guest = pool.submit(self.guest, steps, *disks, kill_when=give_up, may_end=True, serial=address, seconds=seconds)
            try:
                while not os.path.exists(address):
                    check(not guest.done(), "the guest ended before it had a line: %s" % guest.done())
                    time.sleep(0.02)
                talk(address)
            except BaseException:
                with open(give_up, "w"):
                    pass
                raise
            return guest.result()

    def guest(self, steps, *disks, kill_when=None, may_end=False, memory="768M", environment=(), serial=None,
              seconds=GUEST_SECONDS):
        """Runs the steps (shell, see ./guest) in a guest. {name: Step}, or None when it was killed. may_end: kill_when
        is for emergencies only."""
        self.guests += 1
        out = self.path("guest-%d" % self.guests)
        os.makedirs(out)
        with open(os.path.join(out, "steps"), "w") as file:
            file.write("set -u\n" + steps)
        log = self.path("guest-%d.log" % self.guests)
        command = [os.path.join(TOOLS, "run"), "--mem", memory, "--timeout", str(seconds), "--log", log]
        for disk in disks:
            command += ["--disk", disk]
        if kill_when:
            command += ["--kill-when", kill_when]
        if serial:
            command += ["--serial", serial]
        command += [os.path.join(HERE, "guest"), "TOOLS=" + TOOLS, "SECRET=" + self.secret,
                    "OTHER_SECRET=" + self.other_secret, "PROGRAM=" + self.program, "OUT=" + out,
                    "STEPS=" + os.path.join(out, "steps"), "WORK=" + self.work, "HERE=" + HERE,
                    "CACHE=" + self.cache, *environment]
        status = subprocess.run(command, check=False).returncode
        self.no_secret_in(log, *(os.path.join(out, name) for name in os.listdir(out)))
        if kill_when and not may_end:
            check(status == 137, "the guest was to be killed, but ended by itself with status %d; %s" % (status, log))
            return None
        check(status == 0, "the guest failed with status %d; see %s" % (status, log))
        return {name[:-7]: Step(out, name[:-7]) for name in os.listdir(out) if name.endswith(".status")}

    def no_secret_in(self, *paths):
        needles = {}
        for path in (self.secret, self.other_secret):
            with open(path) as file:
                for part, text in json.load(file).items():
                    raw = base64.b64decode(text)
                    for form in (text.rstrip("="), raw.hex(), base64.urlsafe_b64encode(raw).decode().rstrip("=")):
                        needles[form.lower()] = part
        for path in paths:
            with open(path, errors="replace") as file:
                text = file.read().lower()
            for needle, part in needles.items():
                check(needle not in text, "the secret's %s is in %s" % (part, path))


def _make_secret(path):
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump({part: base64.b64encode(secrets.token_bytes(32)).decode() for part in ("key", "salt")}, file)


def derived_key(secret_path, uuid):
    """The disk key, in hexadecimal (HKDF with one block of output)."""
    with open(secret_path) as file:
        secret = json.load(file)
    key, salt = (base64.b64decode(secret[part]) for part in ("key", "salt"))
    pseudo_random_key = hmac.new(salt, key, hashlib.sha256).digest()
    return hmac.new(pseudo_random_key, b"key-" + uuid.encode() + b"\x01", hashlib.sha256).hexdigest()


def _make_node(path):
    """What a Constellation control plane node has on its volume beside etcd."""
    shutil.rmtree(path, ignore_errors=True)
    for name in ("var/lib", "kubernetes/manifests", "kubernetes/pki/etcd", "constellation"):
        os.makedirs(os.path.join(path, name))
    with open(os.path.join(path, "kubernetes/manifests/etcd.yaml"), "w") as file:
        file.write(MANIFEST)
    with open(os.path.join(path, "constellation/node_state.json"), "w") as file:
        json.dump({"Role": "ControlPlane", "MeasurementSalt": base64.b64encode(bytes(range(32))).decode()}, file)


def _make_tree(path):
    """A node with a survivor of a real three-member cluster, as SIGKILL left it."""
    _make_node(path)
    packed = path + ".unpacked"
    folder.remove_folder(packed)
    os.makedirs(packed)
    subprocess.run(["tar", "-xf", os.path.join(FIXTURES, "survivors", "3516-leader.tar.xz"), "-C", packed], check=True)
    # With holes: etcd preallocates 64 MB for every log segment, more than these disks have.
    folder.copy_folder(os.path.join(packed, "etcd"), os.path.join(path, "var/lib/etcd"))
    folder.remove_folder(packed)
    for root, folders, files in os.walk(os.path.join(path, "var/lib/etcd")):
        for name in [root] + [os.path.join(root, x) for x in folders + files]:
            os.chown(name, *NODE_OWNER)
