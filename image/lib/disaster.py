"""The pieces of the disaster that image/demo and tests/boot play: a killed cluster's survivor on a state disk in
Constellation's format, the job and the secret, and what to look for afterwards."""
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import stat
import subprocess
import threading

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))

# Constellation's etcd user (image/base/mkosi.skeleton, sysusers and tmpfiles of the node image).
ETCD_UID, ETCD_GID = 998, 997

STAGE = re.compile(rb"^(find|unlock|inspect|plan|rehearse|apply|verify|seal) +(ok|FAILED) +([0-9.]+) s +(.*)$",
                   re.MULTILINE)
FIRST_LINE = re.compile(rb"^(?:etcd-rescue |find )", re.MULTILINE)
KERNEL_DIED = re.compile(rb"Kernel panic - not syncing|\] Oops: ")

MANIFEST = """apiVersion: v1
kind: Pod
metadata:
  labels:
    component: etcd
    tier: control-plane
  name: etcd
  namespace: kube-system
spec:
  containers:
  - command:
    - etcd
{flags}
    image: registry.k8s.io/etcd:{version}-0
    imagePullPolicy: IfNotPresent
    name: etcd
    volumeMounts:
    - mountPath: /var/lib/etcd
      name: etcd-data
    - mountPath: /etc/kubernetes/pki/etcd
      name: etcd-certs
  hostNetwork: true
  priorityClassName: system-node-critical
  volumes:
  - hostPath:
      path: /etc/kubernetes/pki/etcd
      type: DirectoryOrCreate
    name: etcd-certs
  - hostPath:
      path: /var/lib/etcd
      type: DirectoryOrCreate
    name: etcd-data
status: {{}}
"""


class Failure(Exception):
    """A step of the demonstration did not do what it promises."""


def run(command, **options):
    """Runs a program to its end; its error output is part of the failure."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False, **options)
    if done.returncode != 0:
        tail = "\n".join((done.stderr + done.stdout).strip().splitlines()[-15:])
        raise Failure(f"{os.path.basename(command[0])} failed with status {done.returncode}:\n{tail}")
    return done.stdout


def write(path, text, mode=0o600, owner=(0, 0)):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, mode)) as file:
        file.write(text)
    os.chmod(path, mode)
    os.chown(path, *owner)


def new_secret(path):
    """A random master secret, 0600; returns (key, salt)."""
    key, salt = os.urandom(32), os.urandom(32)
    write(path, json.dumps({"key": base64.b64encode(key).decode(), "salt": base64.b64encode(salt).decode()}))
    return key, salt


def make_tree(survivor, expected, tree):
    """Constellation's layout of a volume, around the survivor's data directory."""
    data = os.path.join(tree, "var/lib/etcd")
    os.makedirs(os.path.dirname(data))
    shutil.copytree(survivor, data)
    for folder, folders, files in os.walk(data):
        os.chown(folder, ETCD_UID, ETCD_GID)
        os.chmod(folder, 0o700)
        for name in files:
            os.chown(os.path.join(folder, name), ETCD_UID, ETCD_GID)
    flags = [flag.replace("{DATA_DIR}", "/var/lib/etcd") for flag in expected["old_flags"]]
    write(os.path.join(tree, "kubernetes/manifests/etcd.yaml"),
          MANIFEST.format(flags="\n".join("    - " + json.dumps(flag) for flag in flags), version=expected["etcd"]))
    for name in ("ca.crt", "ca.key", "server.crt", "server.key", "peer.crt", "peer.key"):
        write(os.path.join(tree, "kubernetes/pki/etcd", name), f"stands for the node's {name}\n",
              0o644 if name.endswith(".crt") else 0o600)
    write(os.path.join(tree, "constellation/node_state.json"),
          json.dumps({"Role": "ControlPlane", "MeasurementSalt": base64.b64encode(os.urandom(32)).decode()}))


def disk_mib(tree):
    """Room for the tree, LUKS2's header, integrity tags and journal, and ext4's own."""
    size = sum(os.lstat(os.path.join(folder, name)).st_size
               for folder, _, files in os.walk(tree) for name in files)
    return max(192, int(size / (1 << 20) * 1.15) + 96)


def make_disk(image, secret, tree, log):
    """Returns the LUKS UUID."""
    return run([os.path.join(ROOT, "tests/uml/make-state-disk"), "--out", image, "--size", str(disk_mib(tree)),
                "--secret", secret, "--tree", tree, "--log", log]).split()[-1]


def make_job(path, uuid):
    write(path, json.dumps({"version": 1, "strategy": "force-new-cluster", "consent": {"luks-uuid": uuid},
                            "secret": {"from": "credential"}}))


# -- a backup on a disk of its own

def save_snapshot(backend, path):
    """What `etcdctl snapshot save` would have written of this backend: its bytes and their SHA-256."""
    digest = hashlib.sha256()
    with open(backend, "rb") as source, open(path, "wb") as copy:
        while piece := source.read(1 << 20):
            digest.update(piece)
            copy.write(piece)
        copy.write(digest.digest())


def make_backup_disk(image, folder):
    """An ext4 file system with label BACKUP that holds this folder's files."""
    size = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "BACKUP", "-d", folder, image, "%dM" % (size * 5 // 4 // (1 << 20) + 32)])


def make_restore_job(path, uuid, place):
    write(path, json.dumps({"version": 1, "strategy": "restore", "consent": {"luks-uuid": uuid},
                            "disk": {"luks-uuid": uuid}, "secret": {"from": "credential"},
                            "backup": {"from": place}}))


# -- checks from outside ---------------------------------------------------------------------------------


def header_digest(image):
    """SHA-256 of everything before the first data segment: both headers, key slots, and what lies between."""
    with open(image, "rb") as file:
        binary = file.read(4096)
        if binary[:8] != b"LUKS\xba\xbe\x00\x02":
            raise Failure(f"{image} does not start with a LUKS2 header")
        area = file.read(int.from_bytes(binary[8:16], "big") - 4096)
        segments = json.loads(area[:area.index(b"\0")])["segments"]
        end = min(int(segment["offset"]) for segment in segments.values())
        file.seek(0)
        return hashlib.sha256(file.read(end)).hexdigest(), end


def file_digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inventory(tree):
    """{path: (kind and mode, uid, gid, SHA-256 or link target)} of everything below tree."""
    found = {}
    for folder, folders, files in os.walk(tree):
        for name in folders + files + ([""] if folder == tree else []):
            path = os.path.join(folder, name) if name else folder
            status = os.lstat(path)
            content = ""
            if stat.S_ISREG(status.st_mode):
                content = file_digest(path)
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[os.path.relpath(path, tree)] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def compare_trees(before, after):
    """What the rescue changed: (list of changed paths, list of new paths); raises when it is too much."""
    missing = sorted(set(before) - set(after))
    if missing:
        raise Failure(f"files are gone from the volume: {missing[:5]}")
    for path, (mode, uid, gid, _) in before.items():
        if path != "." and after[path][:3] != (mode, uid, gid):
            raise Failure(f"{path}: mode and owner were {oct(mode)} {uid}:{gid}, now "
                          f"{oct(after[path][0])} {after[path][1]}:{after[path][2]}")
    changed = sorted(path for path in before if before[path][3] != after[path][3])
    strangers = [path for path in changed if not path.startswith("var/lib/etcd/member/")]
    if strangers:
        raise Failure(f"files outside member/ were changed: {strangers[:5]}")
    if "var/lib/etcd/member/snap/db" in changed:
        raise Failure("the backend was changed")
    return changed, sorted(set(after) - set(before))


class Secrets:
    """Every form in which a secret could be printed, and who was seen printing it."""

    def __init__(self, key, salt, uuid, secret_file):
        derived = hmac.new(hmac.new(salt, key, hashlib.sha256).digest(), b"key-" + uuid.encode() + b"\x01",
                           hashlib.sha256).digest()
        self.forms = {}
        for name, value in (("master key", key), ("salt", salt), ("disk key", derived)):
            self.forms[name + ", raw"] = value
            self.forms[name + ", hex"] = value.hex().encode()
            self.forms[name + ", HEX"] = value.hex().upper().encode()
            self.forms[name + ", base64"] = base64.b64encode(value).rstrip(b"=")
            self.forms[name + ", base64url"] = base64.urlsafe_b64encode(value).rstrip(b"=")
        with open(secret_file, "rb") as file:
            # What a credential looks like on its way: base64 of the whole document.
            self.forms["document, base64"] = base64.b64encode(file.read()).rstrip(b"=")[:-4]
        # A search that finds nothing proves something only if it can find.
        if not self.search(b"x" + key.hex().encode()) or not self.search_file(secret_file):
            raise Failure("the search for secrets does not find a secret")

    def search(self, content):
        return [name for name, form in self.forms.items() if form in content]

    def search_file(self, path):
        with open(path, "rb") as file:
            return self.search(file.read())


class ProcessWatch:
    """Looks at all processes' argument lists, again and again, as any user of the machine could."""

    def __init__(self, interval=0.1):
        self.seen = set()
        self.samples = 0
        self._interval = interval
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _watch(self):
        while not self._end.wait(self._interval):
            self.samples += 1
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        self.seen.add(file.read())
                except OSError:
                    continue  # it has ended
