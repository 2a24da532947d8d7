"""Cases of the disk tier: what happens between check and activation, while a disk is open, and when it is closed.

A secret that comes through a FIFO makes the program wait at a known point: the first disk's header is checked (one
disk), or the first disk is open and its survivor inspected (the second disk of `compare`).
"""

import os

from bench import check, sha256

# Runs the commands while the program waits for its secret, then gives the secret.
AT_THE_SECRET = """
mkfifo /run/secret
while_waiting() {
  (
    exec 3>/run/secret
    %s
    cat "$SECRET" >&3
  ) >"$OUT/meanwhile" 2>&1 &
}
"""


def header_changed_after_the_check(bench):
    """Somebody rewrites the header between check and activation, or while the disk is open: the first is refused (5)
    before anything is opened, the second is heard of when the disk is closed."""
    image, second = bench.disk("disk.img", integrity=False), bench.disk("second.img", integrity=False)
    before = sha256(image)
    steps = bench.guest(AT_THE_SECRET % '"$TOOLS/edit-header" /dev/ubda set segments/0/encryption cipher_null-ecb' + """
while_waiting
rescue changed apply --yes --disk /dev/ubda --secret /run/secret --json
wait
rescue again inspect --disk /dev/ubda --secret "$SECRET" --json
""", image + ",cow", second)
    steps["changed"].expect(5, "header-changed")
    stages = [stage["stage"] for stage in steps["changed"].json()["stages"]]
    check(stages == ["find", "unlock"], "it went on to %s" % stages)
    steps["again"].expect(5, "null-cipher-segment")
    steps = bench.guest(AT_THE_SECRET % '"$TOOLS/edit-header" /dev/ubda set tokens/0/diskIsInitialized false' + """
while_waiting
rescue open compare --disk /dev/ubda --disk /dev/ubdb --secret "$SECRET" --secret /run/secret --json
wait
""", image + ",cow", second)
    steps["open"].expect(1, "header-changed")
    check(sha256(image) == before, "the image itself was changed")
    return "before activation, and before closing"


def held_open(bench):
    """A file of the volume that another process has open: closing fails, names process and file, and what the hint says
    then works."""
    image, second = bench.disk("disk.img"), bench.disk("second.img", integrity=False)
    before = sha256(image)
    steps = bench.guest("""
mkfifo /run/secret /run/hold
while_waiting() {
  (
    exec 3>/run/secret
    exec 4<"$(echo /run/etcd-rescue/*/constellation/node_state.json)"
    echo $BASHPID >"$OUT/holder"
    cat "$SECRET" >&3
    exec 3>&-
    read -r _ </run/hold
  ) >"$OUT/meanwhile" 2>&1 &
}
while_waiting
rescue held compare --disk /dev/ubda --disk /dev/ubdb --secret "$SECRET" --secret /run/secret --json
echo >/run/hold
wait
umount /run/etcd-rescue/* && rmdir /run/etcd-rescue/*
name=$(dmsetup ls | awk '/-view/ {sub("-view", "", $1); print $1}')
dmsetup remove "$name" && dmsetup remove "${name}_dif" && dmsetup remove "$name-view"
rescue after inspect --disk /dev/ubda --secret "$SECRET" --json
""", image, second)
    with open(bench.path("guest-1/holder")) as file:
        holder = file.read().strip()
    held = steps["held"]
    check(held.status == 1, "expected exit 1, %s" % held.describe())
    error = held.json()["error"]
    check(error["code"] == "not-sealed", "not called not-sealed: %s" % error)
    check("process %s (" % holder in error["message"] and "node_state.json open" in error["message"],
          "the holder %s is not named: %s" % (holder, error))
    check("umount" in error["hint"], "no way out is named: %s" % error["hint"])
    check(any("/run/etcd-rescue/" in line for line in held.left), "it was closed after all")
    steps["after"].expect(0)
    check(sha256(image) == before, "the disk was changed")
    return "named, and closed by hand"


def view_full(bench):
    """The view's store in memory overflows: exit 7 by name, everything closed, the disk unchanged."""
    image, second = bench.disk("disk.img", integrity=False), bench.disk("second.img", integrity=False)
    # More than the guest has memory for: without that, every chunk of a small disk has room in the store.
    os.truncate(image, 512 << 20)
    before = sha256(image)
    steps = bench.guest(AT_THE_SECRET % 'dd if=/dev/zero of="$(ls /dev/mapper/etcd-rescue-*-view)" bs=256k' + """
while_waiting
rescue full compare --disk /dev/ubda --disk /dev/ubdb --secret "$SECRET" --secret /run/secret --json
wait
""", image, second, memory="320M")
    steps["full"].expect(7, "view-full", "the disk itself is unchanged")
    check(sha256(image) == before, "the disk was changed")
    return "refused, closed, unchanged"
