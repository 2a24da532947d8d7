"""The disk tier's cases: what is done to a disk, and what the program must say and leave."""

import glob
import hashlib
import json
import lzma
import os
import shutil
import subprocess

import automation
import closing
import other_disks
import tampered
import tpm
from bench import NODE_OWNER, check, derived_key, folder, header_bytes, sha256

FLAGS = "--secret $SECRET --json"


def unchanged(image, before, text):
    check(sha256(image) == before, "%s changed the disk image" % text)


def fingerprints(bench, name, image):
    """Step text that writes the volume's fingerprint, by cryptsetup's hand, to WORK/NAME."""
    return "by_hand %s \"$HERE/fingerprint\" . >\"$WORK/%s\" || exit 1\n" % (image, name)


def read_fingerprints(bench, name):
    with open(bench.path(name)) as file:
        return json.load(file)


def differences(before, after):
    # A change time moves with any change at all, taken back or not.
    return folder.differences(before, after, ignore=("ctime",))


def round_trip(bench, integrity):
    """apply changes the end of the log only; verify agrees; undo gives every byte and every attribute back."""
    image = bench.disk("disk.img", integrity)
    header = header_bytes(image)
    steps = bench.guest(
        fingerprints(bench, "before", "/dev/ubda") + """
rescue inspect inspect --disk /dev/ubda """ + FLAGS + """
rescue unconfirmed apply --disk /dev/ubda """ + FLAGS + """
rescue apply apply --disk /dev/ubda --yes """ + FLAGS + "\n"
        + fingerprints(bench, "applied", "/dev/ubda") + """
rescue verify verify --disk /dev/ubda """ + FLAGS + """
rescue again apply --disk auto --yes """ + FLAGS + """
rescue undo undo --disk /dev/ubda --yes """ + FLAGS + "\n"
        + fingerprints(bench, "undone", "/dev/ubda"), image)
    findings = steps["inspect"].expect(0).json()["findings"]
    check(len(findings["backend"]["members"]) == 3, "the survivor was a member of three")
    steps["unconfirmed"].expect(7, "--yes")
    applied = steps["apply"].expect(0).json()
    check(applied["sealed"]["header_identical"], "apply did not compare the header")
    steps["verify"].expect(0)
    steps["again"].expect(0, "nothing to do")
    steps["undo"].expect(0)
    check(header_bytes(image) == header, "the header area is not what it was")

    before, after = read_fingerprints(bench, "before"), read_fingerprints(bench, "applied")
    changed = {line.split(":")[0] for line in differences(before, after)
               if "etcd.etcd-rescue" not in line}
    check(all("member/wal/" in name for name in changed) and changed,
          "apply changed more than the log: %s" % sorted(changed))
    for name in changed:
        same = [before[name][aspect] == after[name][aspect] for aspect in ("mode", "owner", "attributes")]
        check(all(same), "%s has another owner, mode or attribute" % name)
    left = differences(before, read_fingerprints(bench, "undone"))
    check(not left, "undo did not give everything back: %s" % "; ".join(left))
    return "%d file changed and taken back" % len(changed)


def restore_from_a_backup_disk(bench):
    """A snapshot on a disk with label BACKUP takes the member's place; the backup stays as it is, undo gives all back."""
    image, backup = bench.disk("disk.img"), bench.path("backup.img")
    os.mkdir(bench.path("backup"))
    with open(os.path.join(bench.tree(), "var/lib/etcd/member/snap/db"), "rb") as file:
        backend = file.read()
    with open(bench.path("backup/snapshot.db"), "wb") as file:
        file.write(backend + hashlib.sha256(backend).digest())
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "BACKUP", "-d", bench.path("backup"), backup, "64M"], check=True)
    before_backup, wishes = sha256(backup), " --strategy restore --from LABEL=BACKUP:/snapshot.db "
    steps = bench.guest(
        fingerprints(bench, "before", "/dev/ubda") + """
rescue plan plan --disk auto """ + wishes + FLAGS + """
rescue apply apply --disk auto --yes """ + wishes + FLAGS + "\n"
        + fingerprints(bench, "applied", "/dev/ubda") + """
rescue verify verify --disk /dev/ubda """ + FLAGS + """
rescue undo undo --disk /dev/ubda --yes """ + FLAGS + "\n"
        + fingerprints(bench, "undone", "/dev/ubda"), image, backup)
    steps["plan"].expect(0)
    applied = steps["apply"].expect(0).json()
    texts = {stage["stage"]: stage["text"] for stage in applied["stages"]}
    check("its digest matches" in texts["apply"], "the snapshot's digest was not compared: %s" % texts)
    check(applied["sealed"]["header_identical"], "apply did not compare the header")
    steps["verify"].expect(0)
    steps["undo"].expect(0)
    check(sha256(backup) == before_backup, "the backup's disk was changed")
    before, after = read_fingerprints(bench, "before"), read_fingerprints(bench, "applied")
    data = "var/lib/etcd/"
    for name, entry in before.items():
        if name.startswith(data + "member/"):
            kept = after[name.replace(data + "member/", data + "member.before-restore/", 1)]
            check(not differences({name: entry}, {name: kept}), "%s is not what it was" % name)
    check(after[data + "member/snap/db"]["owner"] == before[data + "member/snap/db"]["owner"], "the backend has another owner")
    left = differences(before, read_fingerprints(bench, "undone"))
    check(not left, "undo did not give everything back: %s" % "; ".join(left))
    return "restored from a second disk, and taken back"


def round_trip_integrity(bench):
    return round_trip(bench, integrity=True)


def round_trip_plain(bench):
    return round_trip(bench, integrity=False)


def looking_writes_nothing(bench):
    """Whatever only looks works on a read-only device and leaves a writable one as it is, also with both open at once;
    apply refuses (7)."""
    image = bench.disk("disk.img")
    locked = bench.disk("locked.img", integrity=False)
    before = sha256(image), sha256(locked)
    steps = bench.guest("""
for disk in a b; do
  rescue inspect-$disk inspect --disk /dev/ubd$disk """ + FLAGS + """
  rescue plan-$disk plan --disk /dev/ubd$disk """ + FLAGS + """
  rescue verify-$disk verify --disk /dev/ubd$disk """ + FLAGS + """
done
for verb in hash status members keys; do
  rescue $verb $verb --disk /dev/ubda """ + FLAGS + """
done
rescue compare compare --disk /dev/ubda --disk /dev/ubdb """ + FLAGS + """
rescue apply apply --disk /dev/ubdb --yes """ + FLAGS + """
step getro blockdev --getro /dev/ubdb
""", image, locked + ",ro")
    check(steps["getro"].out.strip() == "1", "the guest's second disk is not read-only")
    for disk in "ab":
        steps["inspect-" + disk].expect(0)
        plan = steps["plan-" + disk].expect(0).json()
        check(plan["plan"]["edits"], "the plan has no edits")
        check(steps["verify-" + disk].status == 10, "verify must fail before apply, %s"
              % steps["verify-" + disk].describe())
        check(not steps["verify-" + disk].left, "verify left something behind")
    for verb in ("hash", "status", "members", "keys"):
        check(steps[verb].expect(0).json()[verb], "%s says nothing" % verb)
    compared = steps["compare"].expect(0).json()
    check([disk["path"] for disk in compared["disks"]] == ["/dev/ubda", "/dev/ubdb"], "two disks were to be compared")
    hashes = {survivor["hash"] for survivor in compared["compare"]["survivors"]}
    check(hashes == {steps["hash"].json()["hash"]["hash"]}, "two disks with one survivor differ: %s" % hashes)
    steps["apply"].expect(7, "disk-read-only")
    check((sha256(image), sha256(locked)) == before, "looking changed a disk image")
    return "every command that only looks, on a writable and a read-only device"


def killed_in_full_write(bench, integrity):
    """A node dies while etcd writes: what etcd had synced is seen, and looking changes nothing."""
    server = os.path.join(bench.cache, "etcd", "trixie-server", "usr/bin/etcd")
    check(os.access(server, os.X_OK), "etcd is not there: %s (tests/run fetches it)" % server)
    image = bench.disk_for_etcd("disk.img", integrity)
    bench.guest("""
busybox ip link set lo up
export GOLANG_PROTOBUF_REGISTRATION_CONFLICT=ignore
by_hand /dev/ubda sh -c '
  "$ETCD" --name solo --data-dir var/lib/etcd >"$WORK/etcd.log" 2>&1 &
  "$HERE/write-until-killed" "$WORK/acknowledged" 60 "$WORK/kill-now"'
""", image, kill_when=bench.path("kill-now"), environment=["ETCD=" + server])
    # The last line may have been cut by the kill.
    with open(bench.path("acknowledged")) as file:
        acknowledged = [json.loads(line) for line in file.read().split("\n")[:-1]]
    check(len(acknowledged) >= 60, "only %d writes were acknowledged before the kill" % len(acknowledged))
    before = sha256(image)
    steps = bench.guest("""
"$TOOLS/derive-key" "$(cryptsetup luksUUID /dev/ubdb)" "$SECRET" >/run/key
cryptsetup open --key-file /run/key /dev/ubdb by-hand
step journal dumpe2fs -h /dev/mapper/by-hand
cryptsetup close by-hand
rescue inspect inspect --disk /dev/ubda """ + FLAGS + """
rescue plan plan --disk /dev/ubda """ + FLAGS + "\n", image, image + ",cow")
    check("needs_recovery" in steps["journal"].out,
          "the file system's journal is clean, so this proves nothing; " + steps["journal"].describe())
    seen = steps["inspect"].expect(0, "not shut down cleanly").json()["findings"]["log"]["last_index"]
    synced = acknowledged[-1]["index"]
    check(seen >= synced, "etcd had synced entry %d, inspect sees only up to %d" % (synced, seen))
    steps["plan"].expect(0)
    unchanged(image, before, "looking at a killed node's disk")
    return "%d acknowledged writes up to entry %d, seen up to %d" % (len(acknowledged), synced, seen)


def killed_in_full_write_integrity(bench):
    return killed_in_full_write(bench, integrity=True)


def killed_in_full_write_plain(bench):
    return killed_in_full_write(bench, integrity=False)


def damaged_headers(bench):
    """One good copy of the header is enough, and the bad one is not repaired by looking."""
    images = {
        "first-damaged": bench.tamper(bench.disk("1.img", False), "damage", "first"),
        "first-zeroed": bench.tamper(bench.disk("2.img", False), "zero", "first"),
        "second-damaged": bench.tamper(bench.disk("3.img", False), "damage", "second"),
        "both-damaged": bench.tamper(bench.disk("4.img", False), "damage", "first", "damage", "second"),
    }
    before = {name: sha256(image) for name, image in images.items()}
    steps = bench.guest("".join("rescue %s plan --disk %s %s\n" % (name, image, FLAGS)
                                for name, image in images.items()))
    steps["first-damaged"].expect(0, "first copy")
    steps["first-zeroed"].expect(0, "first copy")
    steps["second-damaged"].expect(0, "second copy")
    steps["both-damaged"].expect(5, "header-damaged")
    for name, image in images.items():
        unchanged(image, before[name], name)
    return "%d images" % len(images)


def hostile_headers(bench):
    """What an attacker can write into the unauthenticated header is refused by name (5), before anything opens."""
    changes = {
        "null-cipher-keyslot": ("set", "keyslots/0/area/encryption", "cipher_null-ecb"),
        "null-cipher-segment": ("set", "segments/0/encryption", "cipher_null-ecb"),
        "foreign-requirement": ("set", "config/requirements", '{"mandatory":["online-reencrypt-v2"]}'),
        "foreign-field": ("set", "config/flags", '["no-journal"]'),
        "foreign-segment": ("set", "segments/0/sector_size", "512"),
        "foreign-keyslot": ("set", "keyslots/0/kdf/type", "argon2i"),
        "kdf-cost": ("set", "keyslots/0/kdf/memory", "4194305"),
        "header-bounds": ("set", "segments/0/offset", '"1099511627776"'),
    }
    images = {code: bench.tamper(bench.disk(code + ".img", False), *action) for code, action in changes.items()}
    before = {code: sha256(image) for code, image in images.items()}
    steps = bench.guest("".join("rescue %s apply --yes --disk %s %s\n" % (code, image, FLAGS)
                                for code, image in images.items()))
    for code, image in images.items():
        steps[code].expect(5, code)
        unchanged(image, before[code], code)
    return "%d kinds" % len(images)


def refusals(bench):
    """Wrong secret (4, names disk and slots tried), LUKS1 and cut-off disks (5), disks in use (7), no disk (3)."""
    image = bench.disk("disk.img")
    for name, size in (("cut-data", 20 << 10), ("cut-header", 5000), ("cut-slots", 1 << 20), ("cut-volume", 17 << 20)):
        os.truncate(bench.copy(image, name + ".img"), size)
    before = sha256(image)
    steps = bench.guest("""
rescue wrong-secret plan --disk "$WORK/disk.img" --secret "$OTHER_SECRET" --json
echo 'correct horse battery staple' >/run/words
rescue no-secret plan --disk "$WORK/disk.img" --secret /run/words --json
truncate -s 20M "$WORK/luks1.img" /run/empty.img
echo words | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 "$WORK/luks1.img" -
for name in luks1 cut-data cut-header cut-slots cut-volume; do
  rescue $name plan --disk "$WORK/$name.img" --secret "$SECRET" --json
done
rescue empty plan --disk /run/empty.img --secret "$SECRET" --json
rescue missing plan --disk /dev/nonsense --secret "$SECRET" --json
loop=$(losetup --find --show "$WORK/disk.img")
rescue in-use plan --disk "$WORK/disk.img" --secret "$SECRET" --json
losetup --detach "$loop"
mkfs.ext4 -q /dev/ubdb && mkdir /run/busy && mount /dev/ubdb /run/busy
rescue mounted plan --disk /dev/ubdb --secret "$SECRET" --json
umount /run/busy
by_hand /dev/ubda sh -c '"$PROGRAM" plan --disk /dev/ubda --secret "$SECRET" --json >"$OUT/mapped.out" 2>"$OUT/mapped.err"
  echo $? >"$OUT/mapped.status"; : >"$OUT/mapped.before"; : >"$OUT/mapped.after"'
""", image + ",cow", bench.copy(bench.path("cut-volume.img"), "scratch.img"))
    uuid = json.loads(steps["wrong-secret"].out)["disk"]["luks_uuid"]
    steps["wrong-secret"].expect(4, "wrong-secret", uuid, "1 tried")
    steps["no-secret"].expect(4, "bad-secret")
    check("horse" not in steps["no-secret"].out + steps["no-secret"].err, "the secret's text is quoted")
    steps["luks1"].expect(5, "luks1")
    for name in ("cut-data", "cut-header", "cut-slots"):
        steps[name].expect(5, "header-truncated")
    check(steps["cut-volume"].status in (5, 6), "a cut volume must be refused, %s" % steps["cut-volume"].describe())
    check(not steps["cut-volume"].left, "a cut volume was left open")
    steps["empty"].expect(5, "not-luks")
    steps["missing"].expect(3, "no-such-disk")
    steps["in-use"].expect(7, "disk-in-use")
    check(steps["mounted"].status in (5, 7), steps["mounted"].describe())
    steps["mapped"].expect(7, "disk-in-use")
    key = derived_key(bench.secret, uuid)
    check(all(key not in step.out + step.err for step in steps.values()), "the disk key is in the output")
    unchanged(image, before, "a refusal")
    return "%d ways" % len(steps)


def no_state_disk(bench):
    """Without a state disk: exit 3 and the list of what is there."""
    for name in ("plain.img", "luks1.img"):
        with open(bench.path(name), "wb") as file:
            file.truncate(24 << 20)
    steps = bench.guest("""
mkfs.ext4 -q /dev/ubda
echo words | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 /dev/ubdb -
rescue auto plan --disk auto --secret "$SECRET"
rescue disks disks --json
rescue uuid plan --disk UUID=00000000-0000-0000-0000-000000000000 --secret "$SECRET"
""", bench.path("plain.img"), bench.path("luks1.img"))
    steps["auto"].expect(3, "/dev/ubda", "ext4", "/dev/ubdb", "LUKS1")
    steps["uuid"].expect(3)
    steps["disks"].expect(0, "/dev/ubda", "/dev/ubdb")
    return "ext4 and LUKS1 are told apart from it"


def two_candidates(bench):
    """Two state disks: exit 3 with the list, and naming one by UUID works."""
    first, second = bench.disk("first.img", integrity=False), bench.disk("second.img", integrity=True)
    before = sha256(first), sha256(second)
    steps = bench.guest("""
rescue auto apply --yes --disk auto --secret "$SECRET"
rescue disks disks
rescue named inspect --disk UUID="$(cryptsetup luksUUID /dev/ubdb)" """ + FLAGS + "\n", first, second)
    steps["auto"].expect(3, "/dev/ubda", "/dev/ubdb", "--disk")
    steps["disks"].expect(0, "/dev/ubda", "/dev/ubdb")
    check(steps["named"].expect(0).json()["disk"]["path"] == "/dev/ubdb", "the UUID led to another disk")
    check((sha256(first), sha256(second)) == before, "a disk was changed")
    return "refused, then chosen by UUID"


def unsafe_to_boot(bench):
    """What would make the node format the disk, or stop while it boots, is said loudly and is no refusal."""
    images = {
        "reset": bench.tamper(bench.disk("1.img", False), "set", "tokens/0/diskIsInitialized", "false"),
        "missing": bench.tamper(bench.disk("2.img", False), "remove", "tokens/0"),
        "good": bench.disk("3.img", False),
    }
    bare = bench.disk("bare.img", integrity=False)
    steps = bench.guest("".join("rescue %s inspect --disk %s %s\nrescue %s-text plan --disk %s --secret \"$SECRET\"\n"
                                % (name, image, FLAGS, name, image) for name, image in images.items()) + """
by_hand /dev/ubda rm constellation/node_state.json
rescue no-state inspect --disk /dev/ubda """ + FLAGS + """
rescue no-state-text inspect --disk /dev/ubda --secret "$SECRET"
""", bare)
    for name in ("reset", "missing"):
        disk = steps[name].expect(0).json()["disk"]
        check(disk["boot_safe"] is False and disk["boot_unsafe_reason"], "%s: boot_safe is not false" % name)
        check(disk["boot"]["safe"] == "no" and disk["boot"]["basis"] == "sealed-disk", "boot: %s" % disk["boot"])
        steps[name + "-text"].expect(0, "not safe to boot", "format")
    check(steps["good"].expect(0).json()["disk"]["boot_safe"] is True, "a good disk is called unsafe")
    check("not safe to boot" not in steps["good-text"].expect(0, "safe to boot: yes").out.lower(),
          "a good disk is called unsafe")
    boot = steps["no-state"].expect(0).json()["disk"]["boot"]
    check(boot["safe"] == "no" and "node_state.json is missing" in boot["because"][0], "boot: %s" % boot)
    steps["no-state-text"].expect(0, "not safe to boot", "node_state.json is missing")
    return "reset token, no token, no node_state.json"


def unfinished_journal(bench):
    """An apply that did not come to its end blocks the next one (9), and undo takes it back to the byte."""
    image = bench.disk("disk.img")
    steps = bench.guest(
        fingerprints(bench, "before", "/dev/ubda") + """
rescue apply apply --disk /dev/ubda --yes """ + FLAGS + """
by_hand /dev/ubda "$HERE/unfinish-journal" var/lib/etcd.etcd-rescue || exit 1
rescue inspect inspect --disk /dev/ubda """ + FLAGS + """
rescue plan plan --disk /dev/ubda """ + FLAGS + """
rescue apply-again apply --disk /dev/ubda --yes """ + FLAGS + """
rescue undo undo --disk /dev/ubda --yes """ + FLAGS + "\n"
        + fingerprints(bench, "undone", "/dev/ubda"), image)
    steps["apply"].expect(0)
    for name in ("plan", "apply-again"):
        steps[name].expect(9, "unfinished-journal", "undo")
    check(steps["inspect"].status in (0, 9), steps["inspect"].describe())
    check("unfinished" in steps["inspect"].out, "inspect does not tell of the unfinished journal")
    steps["undo"].expect(0)
    left = differences(read_fingerprints(bench, "before"), read_fingerprints(bench, "undone"))
    check(not left, "undo did not give everything back: %s" % "; ".join(left))
    return "refused, then taken back"


def torn_log(bench):
    """The last record was cut by the power loss: looking names it and changes nothing; apply writes over it."""
    image = bench.disk("disk.img", integrity=False)
    bench.guest("""
by_hand /dev/ubda "$HERE/tear-log" var/lib/etcd/member/wal || exit 1
""", image)
    before = sha256(image)
    steps = bench.guest("""
rescue inspect inspect --disk /dev/ubda """ + FLAGS + """
rescue plan plan --disk /dev/ubda """ + FLAGS + """
rescue on-copy apply --disk /dev/ubdb --yes """ + FLAGS + """
rescue verify-copy verify --disk /dev/ubdb """ + FLAGS + """
""", image, image + ",cow")
    tail = steps["inspect"].expect(0).json()["findings"]["log"]["tail"]
    check(tail["state"] != "clean", "the torn record was not noticed: %s" % tail)
    steps["plan"].expect(0)
    steps["on-copy"].expect(0)
    steps["verify-copy"].expect(0)
    unchanged(image, before, "looking at a torn log")
    return "tail: %s" % tail["state"]


def tools_keep_everything(bench):
    """The tools that make and read disks keep every attribute, do not change the image, and agree on the key."""
    tree, image, out = bench.path("tree"), bench.path("disk.img"), bench.path("out")
    os.makedirs(os.path.join(tree, "folder"))
    with open(os.path.join(tree, "folder", "file"), "wb") as file:
        file.write(b"content")
        file.truncate(3 << 20)
    os.setxattr(os.path.join(tree, "folder", "file"), "user.label", b"kept")
    os.symlink("file", os.path.join(tree, "folder", "link"))
    os.chown(os.path.join(tree, "folder", "file"), *NODE_OWNER)
    os.chmod(os.path.join(tree, "folder", "file"), 0o640)
    os.chmod(os.path.join(tree, "folder"), 0o701)
    os.utime(os.path.join(tree, "folder", "file"), ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    uuid = bench.make_disk(image, tree, integrity=False)
    before = sha256(image)
    bench.read_disk(image, out)
    unchanged(image, before, "read-state-disk")
    # The root's own mode is mkfs's.
    prints = [{name: entry for name, entry in folder.fingerprint(path).items() if name != "."} for path in (tree, out)]
    left = folder.differences(*prints, ignore=("ctime",))
    check(not left, "the tree came back different: %s" % "; ".join(left))
    key = subprocess.run([bench.program, "derive-key", "--luks-uuid", uuid.upper(), "--secret", bench.secret],
                         check=True, stdout=subprocess.PIPE, text=True).stdout
    check(key == derived_key(bench.secret, uuid) + "\n", "derive-key prints another key, or more than the key")
    return "%d entries" % len(prints[0])


def shared_image(bench, name, facts):
    """An image that others made, with its documented expectation."""
    disk = facts["disks"][name]
    image = bench.path("image")
    with lzma.open(os.path.join(bench.fixtures, "disks", disk["file"])) as packed, open(image, "wb") as file:
        shutil.copyfileobj(packed, file)
    secret = bench.path("key.hex")
    with open(secret, "w") as file:
        file.write(disk["passphrase_hex"])
    before = sha256(image)
    steps = bench.guest("rescue inspect inspect --disk /dev/ubda --secret %s --json\n" % secret, image)
    expected = {"luks1": 5, "nullslot": 5, "wrongkey": 4}.get(name, 0)
    steps["inspect"].expect(expected)
    unchanged(image, before, "inspect")
    return "exit %d" % expected


CASES = {
    "killed-in-full-write-integrity": killed_in_full_write_integrity,
    "killed-in-full-write-plain": killed_in_full_write_plain,
    "apply-and-undo-integrity": round_trip_integrity,
    "apply-and-undo-plain": round_trip_plain,
    "unfinished-journal": unfinished_journal,
    "looking-writes-nothing": looking_writes_nothing,
    "unsafe-to-boot": unsafe_to_boot,
    "hostile-headers": hostile_headers,
    "damaged-headers": damaged_headers,
    "tampered-headers": tampered.run,
    "header-changed-after-the-check": closing.header_changed_after_the_check,
    "held-open": closing.held_open,
    "view-full": closing.view_full,
    "without-encryption": other_disks.without_encryption,
    "other-nodes-luks2": other_disks.other_nodes_luks2,
    "lying-file-systems": other_disks.lying_file_systems,
    "tpm-opens": tpm.opens,
    "tpm-refuses": tpm.refuses,
    "torn-log": torn_log,
    "refusals": refusals,
    "restore-from-a-backup-disk": restore_from_a_backup_disk,
    "two-candidates": two_candidates,
    "no-state-disk": no_state_disk,
    "tools-keep-everything": tools_keep_everything,
    "automation-refusals": automation.refusals,
    "automation-jobs": automation.jobs,
    "automation-stages": automation.stages,
}


def all_cases(fixtures):
    """{name: function(bench)}; images beside the repository are additional cases, when they are there."""
    cases = dict(CASES)
    for path in glob.glob(os.path.join(fixtures, "disks", "fixtures.json")):
        with open(path) as file:
            facts = json.load(file)
        for name in sorted(facts["disks"]):
            cases["image-" + name] = lambda bench, name=name: shared_image(bench, name, facts)
    return cases
