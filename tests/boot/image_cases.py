"""The boot tier's cases that look at the image without booting it: its size, what is in it, its exports, its bytes.

Cases as in cases.py."""
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import stat
import subprocess
import tarfile

import cases
import disaster
import vm
from cases import REPOSITORY, expect

MIB, GIB = 1 << 20, 1 << 30
LARGEST_UKI, LARGEST_DISK = 45 * MIB, 50 * MIB
EXPOSURE_TENTHS = 20
SERVICES = os.path.join(REPOSITORY, "initramfs/units")
# Anything that would take commands, or start what takes commands.
INTERPRETERS = re.compile(r"^(?:.*sh|busybox|perl.*|python.*|awk|mawk|sed|vi|login|.*getty|su|sudo|ssh.*|systemctl|systemd-run|gdb|ed)$")
EXPENSIVE_KIB = 1 << 20


def part(ending):
    return os.path.join(vm.IMAGE_DIR, "etcd-rescue." + ending)


def certificate():
    keys = os.environ.get("ETCD_RESCUE_IMAGE_KEYS") or os.path.join(REPOSITORY, "image/keys")
    return os.path.join(keys, "image.crt")


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- what is in it -----------------------------------------------------------------------------------------------


def unpacked_initrd(bench):
    tree = bench.path("initrd")
    os.makedirs(tree)
    disaster.run(["sh", "-c", "cd \"$1\" && zstd -qdc \"$2\" | cpio -idm --quiet", "sh", tree, os.path.abspath(part("initrd"))])
    return tree


def files_of(tree):
    """(path below tree, its status) of everything."""
    for folder, folders, names in os.walk(tree):
        for name in folders + names:
            path = os.path.join(folder, name)
            yield os.path.relpath(path, tree), os.lstat(path)


def exposure(tree, unit):
    """What systemd-analyze makes of a unit in the image; its exit status decides, its words are for people."""
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", f"--root={tree}",
                           f"--threshold={EXPOSURE_TENTHS}", unit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    match = re.search(r"Overall exposure level for \S+: (\d+\.\d)", done.stdout)
    expect(match, f"systemd-analyze says nothing about {unit}: {done.stdout[-500:]}")
    expect(done.returncode == 0, f"{unit} is exposed by {match[1]}, more than {EXPOSURE_TENTHS / 10}")
    return f"{unit.removeprefix('etcd-rescue-').removesuffix('.service')} {match[1]}"


def the_image_holds_what_it_needs_and_no_more(bench):
    size, disk = os.path.getsize(part("efi")), os.path.getsize(part("raw"))
    expect(size <= LARGEST_UKI and disk <= LARGEST_DISK, f"kernel image {size} bytes, disk {disk} bytes")
    tree = unpacked_initrd(bench)
    for path, status in files_of(tree):
        kind = stat.S_IFMT(status.st_mode)
        expect(kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), f"{path} is a device, socket or pipe")
        if kind == stat.S_IFLNK:
            continue
        expect(not status.st_mode & (stat.S_ISUID | stat.S_ISGID), f"{path} is setuid or setgid")
        expect(not status.st_mode & stat.S_IWOTH, f"{path} can be written by everybody")
        expect(status.st_uid == 0, f"{path} is not root's")
        expect("security.capability" not in os.listxattr(os.path.join(tree, path)), f"{path} carries capabilities")
        if kind == stat.S_IFREG and status.st_mode & 0o111:
            expect(not INTERPRETERS.match(os.path.basename(path)), f"{path} takes commands")
    with open(os.path.join(tree, "etc/machine-id"), encoding="ascii") as file:
        expect(not file.read().strip(), "the image has a machine ID of its own")
    units = sorted(name for name in os.listdir(SERVICES) if name.endswith(".service"))
    found = [exposure(tree, unit) for unit in units]
    with open(part("manifest"), encoding="utf-8") as file:
        packages = json.load(file)["packages"]
    expect(packages and all(package["name"] and package["version"] for package in packages), "the manifest lacks versions")
    return (f"kernel image {size / MIB:.1f} MiB, disk {disk / MIB:.0f} MiB, {len(packages)} packages; exposure: "
            + ", ".join(found))


# -- exports -----------------------------------------------------------------------------------------------------


def exports_folder(bench):
    return os.path.join(os.path.dirname(bench.shared), "exports")


def make_exports(bench):
    """Once for each image; returns the folder."""
    folder = exports_folder(bench)
    ready = os.path.join(folder, "SHA256SUMS")
    with bench.alone("exports"):
        if not os.path.exists(ready) or os.path.getmtime(ready) < os.path.getmtime(part("raw")):
            shutil.rmtree(folder, ignore_errors=True)
            disaster.run([os.path.join(REPOSITORY, "image/export"), "--out", folder])
    return folder


def check_vhd(path):
    """The footer of a fixed disk (Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer Format"; big-endian), and
    what Azure wants besides: whole MiB."""
    with open(path, "rb") as file:
        file.seek(-512, os.SEEK_END)
        footer = file.read()
    number = lambda start, length: int.from_bytes(footer[start:start + length], "big")  # noqa: E731
    expect(footer[:8] == b"conectix", "the VHD has no footer")
    expect(number(12, 4) == 0x00010000, "the VHD is not of version 1.0")
    expect(number(16, 8) == 0xFFFFFFFFFFFFFFFF and number(60, 4) == 2, "the VHD is not a fixed disk")
    size = number(48, 8)
    expect(size == number(40, 8) == os.path.getsize(path) - 512, f"the VHD says {size} bytes")
    expect(size % MIB == 0, f"the VHD's {size} bytes are no whole MiB")
    total = sum(footer) - sum(footer[64:68])
    expect(number(64, 4) == ~total & 0xFFFFFFFF, "the VHD's checksum is wrong")


def esp_offset(image):
    table = disaster.run(["sfdisk", "--dump", image])
    return int(re.search(r"start= *(\d+),", table)[1]) * 512


def check_gcp(bench, path, source):
    with tarfile.open(path, "r:gz") as archive:
        members = archive.getmembers()
        expect([member.name for member in members] == ["disk.raw"], f"GCP's archive holds {[member.name for member in members]}")
        size = members[0].size
        expect(size % GIB == 0, f"GCP's disk is {size} bytes, no whole GiB")
        archive.extract(members[0], bench.path("gcp"))
    disk = bench.path("gcp/disk.raw")
    table = disaster.run(["sfdisk", "--verify", disk])
    expect("No errors" in table, f"GCP's partition table: {table}")
    # Without the second table at its end, the rest is the image itself.
    with open(disk, "rb") as copy, open(source, "rb") as original:
        start = esp_offset(source)
        for file in (copy, original):
            file.seek(start)
        length = os.path.getsize(source) - start - MIB
        expect(copy.read(length) == original.read(length), "GCP's ESP differs from the image's")
    os.unlink(disk)


def check_iso(path):
    """The El Torito catalogue (El Torito 1.0, section 2): sector 17 leads to it; entry 0xEF is for UEFI."""
    with open(path, "rb") as file:
        file.seek(17 * 2048)
        record = file.read(2048)
        expect(record[7:30] == b"EL TORITO SPECIFICATION", "the ISO has no boot record")
        file.seek(int.from_bytes(record[71:75], "little") * 2048)
        catalogue = file.read(2048)
        expect(catalogue[0] == 1 and catalogue[1] == 0xEF and catalogue[32] == 0x88, "the ISO's boot entry is not UEFI's")
        file.seek(int.from_bytes(catalogue[40:44], "little") * 2048)
        boot = file.read(512)
    expect(boot[82:90] == b"FAT32   " and boot[510:] == b"\x55\xaa", "the ISO's boot entry does not lead to the ESP")


def exports_hold_the_image(bench):
    """Each looked at by a reader that is not its writer's caller: qemu-img compare, our own footer check, tar, sfdisk."""
    folder, source = make_exports(bench), part("raw")
    at = lambda name: os.path.join(folder, name)  # noqa: E731
    for name, kind in (("etcd-rescue.qcow2", "qcow2"), ("etcd-rescue.vmdk", "vmdk"), ("etcd-rescue.vhd", "vpc"),
                       ("etcd-rescue.raw", "raw")):
        facts = json.loads(disaster.run(["qemu-img", "info", "--output=json", "-f", kind, at(name)]))
        expect(facts["virtual-size"] == os.path.getsize(source), f"{name}: {facts['virtual-size']} bytes")
        disaster.run(["qemu-img", "compare", "-f", kind, "-F", "raw", at(name), source])
    details = json.loads(disaster.run(["qemu-img", "info", "--output=json", at("etcd-rescue.vmdk")]))
    expect(details["format-specific"]["data"]["create-type"] == "streamOptimized", "the VMDK is not stream-optimised")
    check_vhd(at("etcd-rescue.vhd"))
    check_gcp(bench, at("etcd-rescue-gcp.tar.gz"), source)
    check_iso(at("etcd-rescue.iso"))
    with open(at("SHA256SUMS"), encoding="ascii") as file:
        sums = dict(reversed(line.split()) for line in file)
    for name, digest in sums.items():
        expect(sha256(at(name)) == digest, f"{name} is not what SHA256SUMS says")
    sizes = ", ".join(f"{name.removeprefix('etcd-rescue').lstrip('.-')} {os.path.getsize(at(name)) / MIB:.1f} MiB"
                      for name in sorted(sums))
    return f"{len(sums)} exports: {sizes}"


# -- a header that wants much memory -----------------------------------------------------------------------------


def make_expensive(bench, image, secret_file, uuid):
    """Gives the disk's key slot argon2id with 1 GiB, as Constellation's nodes have it; the disk key stays."""
    with open(secret_file, encoding="utf-8") as file:
        fields = json.load(file)
    key, salt = base64.b64decode(fields["key"]), base64.b64decode(fields["salt"])
    derived = hmac.new(hmac.new(salt, key, hashlib.sha256).digest(), b"key-" + uuid.encode() + b"\x01", hashlib.sha256).digest()
    path = bench.path("disk.key")
    with open(path, "wb", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.write(derived)
    try:
        disaster.run(["cryptsetup", "luksConvertKey", "--batch-mode", "--key-file", path, "--pbkdf", "argon2id", "--pbkdf-memory",
                      str(EXPENSIVE_KIB), "--pbkdf-parallel", "4", "--pbkdf-force-iterations", "4", image])
    finally:
        os.unlink(path)


# -- the same again ----------------------------------------------------------------------------------------------


def a_second_build_gives_the_same_image(bench):
    """From scratch, beside all caches; the image under test was built with them."""
    again = bench.path("again")
    disaster.run([os.path.join(REPOSITORY, "image/build"), "--output", again])
    versions = []
    for folder in (vm.IMAGE_DIR, again):
        with open(os.path.join(folder, "etcd-rescue.manifest"), encoding="utf-8") as file:
            versions.append(json.load(file)["packages"])
    expect(versions[0] == versions[1], "Debian's mirror has other packages than when the image was built: build it anew")
    for ending in ("initrd", "efi", "raw"):
        mine, other = part(ending), os.path.join(again, "etcd-rescue." + ending)
        expect(sha256(mine) == sha256(other), f"etcd-rescue.{ending} differs between two builds from the same inputs")
    return f"kernel image SHA-256 {sha256(part('efi'))}"


cases.ALL.update({
    "image-contents": the_image_holds_what_it_needs_and_no_more,
    "exports": exports_hold_the_image,
    "reproducible-build": a_second_build_gives_the_same_image,
})
