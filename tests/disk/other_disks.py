"""Cases of the disk tier: disks that are not Constellation's. kubeadm nodes on plain ext4 and xfs, LUKS2 as cryptsetup
makes it by default, and what an attacker could write into a file system."""

import os
import secrets
import struct

from bench import MANIFEST, check, folder, sha256

SMALL_XFS_MIB = 320            # mkfs.xfs makes nothing below 300 MiB
PARTITION_SECTOR = 2048


def kubeadm_tree(bench):
    """The survivor of the other disks, as it lies on a node made with kubeadm."""
    tree = bench.path("kubeadm")
    os.makedirs(os.path.join(tree, "etc/kubernetes/manifests"))
    os.makedirs(os.path.join(tree, "var/lib"))
    with open(os.path.join(tree, "etc/kubernetes/manifests/etcd.yaml"), "w") as file:
        file.write(MANIFEST)
    folder.copy_folder(os.path.join(bench.tree(), "var/lib/etcd"), os.path.join(tree, "var/lib/etcd"))
    return tree


def empty_image(bench, name, mib):
    path = bench.path(name)
    with open(path, "wb") as file:
        file.truncate(mib << 20)
    return path


def add_partition(image):
    """One Linux partition from PARTITION_SECTOR to the end."""
    sectors = os.path.getsize(image) // 512 - PARTITION_SECTOR
    entry = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", PARTITION_SECTOR, sectors)
    with open(image, "r+b") as file:
        file.seek(446)
        file.write(entry + bytes(48) + b"\x55\xaa")


FILL = """
fill() {
  mkdir -p /run/filled && mount "$1" /run/filled && cp -a --sparse=always "$TREE/." /run/filled && umount /run/filled
}
"""

LOOK_AND_RESCUE = """
rescue %(name)s-inspect inspect --disk %(disk)s %(how)s --json
rescue %(name)s-plan plan --disk %(disk)s %(how)s --json
"""

RESCUE = """
rescue %(name)s-apply apply --yes --disk %(disk)s %(how)s --json
rescue %(name)s-verify verify --disk %(disk)s %(how)s --json
rescue %(name)s-undo undo --yes --disk %(disk)s %(how)s --json
rescue %(name)s-undone verify --disk %(disk)s %(how)s --json
"""


def check_rescue(steps, name, file_system):
    applied = steps[name + "-apply"].expect(0).json()
    check(applied["disk"]["file_system"] == file_system, "the file system is %s" % applied["disk"]["file_system"])
    check(applied["disk"]["boot"]["safe"] == "not-judged", "boot: %s" % applied["disk"]["boot"])
    check(applied["disk"]["boot"]["basis"] == "sealed-disk", "the verdict is not about the closed disk")
    check(applied["node"]["layout"] == "kubeadm", "layout %s" % applied["node"]["layout"])
    steps[name + "-verify"].expect(0)
    steps[name + "-undo"].expect(0)
    check(steps[name + "-undone"].status == 10, "undo left a rescued survivor, %s" % steps[name + "-undone"].describe())


def without_encryption(bench):
    """kubeadm nodes on a plain ext4 partition and a whole xfs disk: same view, same way back, never by 'auto'."""
    ext4, xfs = empty_image(bench, "ext4.img", 96), empty_image(bench, "xfs.img", SMALL_XFS_MIB)
    add_partition(ext4)
    tree = ["TREE=" + kubeadm_tree(bench)]
    bench.guest(FILL + """
mkfs.ext4 -q -L root-a /dev/ubda1 && fill /dev/ubda1 || exit 1
mkfs.xfs -q -L root-b /dev/ubdb && fill /dev/ubdb || exit 1
""", ext4, xfs, environment=tree)
    before = sha256(ext4), sha256(xfs)
    places = {"ext4": "/dev/ubda1", "xfs": "LABEL=root-b"}
    steps = bench.guest("".join(LOOK_AND_RESCUE % {"name": name, "disk": disk, "how": ""}
                                for name, disk in places.items()) + """
rescue disks disks --json
rescue auto inspect --disk auto --json
rescue table inspect --disk /dev/ubda --json
rescue both compare --disk /dev/ubda1 --disk /dev/ubdb --json
rescue uuid inspect --disk UUID=$(blkid -p -s UUID -o value /dev/ubdb) --json
""", ext4, xfs)
    for name in places:
        found = steps[name + "-inspect"].expect(0).json()
        check(len(found["findings"]["backend"]["members"]) == 3, "the survivor was a member of three")
        check(steps[name + "-plan"].expect(0).json()["plan"]["edits"], "the plan has no edits")
    kinds = {disk["path"]: disk["kind"] for disk in steps["disks"].expect(0).json()["disks"]}
    check(kinds == {"/dev/ubda1": "file-system", "/dev/ubdb": "file-system"}, "disks: %s" % kinds)
    steps["auto"].expect(3, "no-state-disk", "without encryption")
    steps["table"].expect(5, "partition-table")
    steps["both"].expect(0)
    check(steps["uuid"].expect(0).json()["disk"]["path"] == "/dev/ubdb", "the UUID led to another disk")
    check((sha256(ext4), sha256(xfs)) == before, "looking changed a disk")

    steps = bench.guest("""
mkdir /run/busy && mount -o ro /dev/ubdb /run/busy
rescue mounted inspect --disk /dev/ubdb --json
umount /run/busy
""" + "".join(RESCUE % {"name": name, "disk": disk, "how": ""} for name, disk in places.items()), ext4, xfs)
    steps["mounted"].expect(7, "disk-in-use", "/run/busy")
    for name in places:
        check_rescue(steps, name, name)
    return "ext4 in a partition, xfs on a whole disk"


def other_nodes_luks2(bench):
    """LUKS2 as cryptsetup makes it for other nodes: refused with the option's name, opened with it by key file and by
    typed passphrase; every slot is tried and named."""
    image = empty_image(bench, "disk.img", SMALL_XFS_MIB + 24)
    key, words = bench.path("key"), bench.path("words")
    with open(key, "wb") as file:
        file.write(b"\0" + secrets.token_bytes(30) + b"\n")
    with open(words, "w") as file:
        file.write("correct horse battery staple\n")
    environment = ["TREE=" + kubeadm_tree(bench), "KEY=" + key, "WORDS=" + words]
    bench.guest(FILL + """
cryptsetup luksFormat -q --type luks2 --label other --sector-size 512 --pbkdf pbkdf2 --pbkdf-force-iterations 2000 \
  --key-file "$KEY" /dev/ubda || exit 1
head -c -1 "$WORDS" >/run/words
cryptsetup luksAddKey -q --pbkdf argon2i --pbkdf-force-iterations 4 --pbkdf-memory 4096 --key-file "$KEY" \
  /dev/ubda /run/words || exit 1
cryptsetup config --priority prefer --key-slot 1 /dev/ubda || exit 1
cryptsetup open --key-file "$KEY" --allow-discards --persistent /dev/ubda other || exit 1
mkfs.xfs -q /dev/mapper/other && fill /dev/mapper/other && cryptsetup close other || exit 1
""", image, environment=environment)
    before = sha256(image)
    steps = bench.guest("""
rescue refused inspect --disk /dev/ubda --key-file "$KEY" --json
rescue wrong inspect --disk /dev/ubda --profile luks2 --key-file "$WORDS" --json
rescue master inspect --disk /dev/ubda --profile luks2 --secret "$SECRET" --json
typed() { "$PROGRAM" inspect --disk LABEL=other --profile luks2 --passphrase-file - --json <"$WORDS"; }
step typed typed
rescue token inspect --disk /dev/ubda --profile luks2 --token --json
""" + LOOK_AND_RESCUE % {"name": "key", "disk": "/dev/ubda", "how": '--profile luks2 --key-file "$KEY"'},
                        image, environment=environment)
    steps["refused"].expect(5, "--profile luks2")
    # The key file's last byte is a line end, which a passphrase's is not: the whole file counts.
    steps["wrong"].expect(4, "wrong-secret", "2 tried")
    steps["master"].expect(4, "wrong-secret", "2 tried")
    check(steps["typed"].expect(0).json()["disk"]["key_slot"] == 1, "the passphrase is in slot 1")
    steps["token"].expect(4, "no-token")
    disk = steps["key-inspect"].expect(0).json()["disk"]
    check(disk["key_slot"] == 0 and disk["profile"] == "luks2", "opened with slot %s" % disk["key_slot"])
    steps["key-plan"].expect(0)
    for step in steps.values():
        check("horse" not in step.out + step.err, "the passphrase is in the output of %s" % step.name)
    check(sha256(image) == before, "looking changed the disk")
    steps = bench.guest(RESCUE % {"name": "key", "disk": "UUID=$(cryptsetup luksUUID /dev/ubda)",
                                  "how": '--profile luks2 --key-file "$KEY"'}, image, environment=environment)
    check_rescue(steps, "key", "xfs")
    return "xfs in LUKS2 with pbkdf2 and argon2i slots"


def lying_file_systems(bench):
    """A file system that claims more than its volume has is not even offered to the kernel."""
    good = bench.disk("good.img", integrity=False)
    cut = bench.copy(good, "cut.img")
    plain = empty_image(bench, "plain.img", 64)
    bench.guest(FILL + """
"$TOOLS/derive-key" "$(cryptsetup luksUUID /dev/ubda)" "$SECRET" >/run/key
cryptsetup open --key-file /run/key /dev/ubda by-hand || exit 1
debugfs -w -R 'set_super_value blocks_count 4294967296' /dev/mapper/by-hand || exit 1
cryptsetup close by-hand
mkfs.ext4 -q /dev/ubdb && fill /dev/ubdb || exit 1
debugfs -w -R 'set_super_value blocks_count 65537' /dev/ubdb || exit 1
""", good, plain, environment=["TREE=" + kubeadm_tree(bench)])
    # The segment reaches to the end of the disk, wherever that is: the header cannot tell.
    os.truncate(cut, 40 << 20)
    images = {"edited": good, "cut": cut, "plain": plain}
    before = {name: sha256(image) for name, image in images.items()}
    steps = bench.guest("".join("""
rescue %s apply --yes --disk %s --secret "$SECRET" --json
""" % (name, image) for name, image in images.items()))
    for name, image in images.items():
        steps[name].expect(5, "file-system-bounds", "claims")
        check(sha256(image) == before[name], "%s: refusing changed the disk" % name)
    return "%d images" % len(images)
