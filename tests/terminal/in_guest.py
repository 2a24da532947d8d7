"""Cases on an encrypted disk: tmux and the wizard run inside User-Mode Linux, with real dm-crypt and ext4.

The guest runs ./play NAME, which is the case's person at the keyboard; here is what is held against it afterwards."""

import os

from bench import check, header_bytes, sha256

BEHIND_RECORDS = 3
STICK_MIB = 16
PLAY_SECONDS = 900    # on a machine that does much else

HERE = os.path.dirname(os.path.realpath(__file__))


def play(bench, name, *disks, after=""):
    """The steps' results; ./play NAME is step "play"."""
    return bench.guest('step play python3 "$TERMINAL/play" %s\n' % name + after, *disks,
                       environment=("TERMINAL=" + HERE,), seconds=PLAY_SECONDS)


def disk_in_tmux(bench):
    """Disks, a pasted secret, and the whole way on a real state disk with integrity; header unchanged. Log screen and
    saved report are among what the play prints, and so are searched for the secret."""
    image = bench.disk("disk.img")
    header = header_bytes(image)
    steps = play(bench, "whole-way", image, after="rescue verify verify --disk /dev/ubda --secret $SECRET --json\n")
    said = steps["play"].expect(0, "RESCUED", "safe to boot: yes", "closed, nothing left open", '"edits"', "unlock    ok")
    steps["verify"].expect(0)
    check(header_bytes(image) == header, "the header area is not what it was")
    return said.out.strip().splitlines()[-1]


def disk_left_before_apply(bench):
    """A wrong secret three times, the right one, then leaving at the review: the disk is the same to the byte."""
    image = bench.disk("disk.img")
    before = sha256(image)
    steps = play(bench, "wrong-thrice", image)
    said = steps["play"].expect(0, "Three tries did not open the disk")
    check(sha256(image) == before, "the disk was changed")
    return said.out.strip().splitlines()[-1]


def disk_in_line_mode(bench):
    """The same rescue by a script on a dumb terminal."""
    image = bench.disk("disk.img", integrity=False)
    steps = play(bench, "line-mode", image, after="rescue verify verify --disk /dev/ubda --secret $SECRET --json\n")
    said = steps["play"].expect(0, "RESCUED", "[9/9] Report")
    steps["verify"].expect(0)
    return said.out.strip().splitlines()[-1]


def disk_undone(bench):
    """Undo from the report asks for the secret again, because the key was wiped after the apply."""
    image = bench.disk("disk.img", integrity=False)
    steps = play(bench, "undo", image, after="rescue inspect inspect --disk /dev/ubda --secret $SECRET --json\n")
    said = steps["play"].expect(0, "UNDONE")
    members = steps["inspect"].expect(0).json()["findings"]["backend"]["members"]
    check(len(members) == 3, "undo did not give the members back")
    return said.out.strip().splitlines()[-1]


def two_survivors(bench):
    """Two disks of one cluster: they are compared, the one that is ahead is recommended and rescued, and the other one
    stays the same to the byte."""
    behind, ahead = bench.disk("behind.img", integrity=False), bench.disk("ahead.img")
    bench.guest('by_hand /dev/ubda "$TERMINAL/trim-log" var/lib/etcd/member/wal %d || exit 1\n' % BEHIND_RECORDS, behind,
                environment=("TERMINAL=" + HERE,))
    before = sha256(behind)
    steps = play(bench, "two-survivors", behind, ahead,
                 after="rescue verify verify --disk /dev/ubdb --secret $SECRET --json\n")
    said = steps["play"].expect(0, "rescue /dev/ubdb  (recommended)", "RESCUED")
    steps["verify"].expect(0)
    check(sha256(behind) == before, "the survivor that was not chosen was changed")
    return said.out.strip().splitlines()[-1]


def stick(bench, name):
    path = bench.path(name)
    with open(path, "wb") as file:
        file.truncate(STICK_MIB << 20)
    return path


def secret_and_report_on_sticks(bench):
    """As on an appliance: the secret is read from one disk (ext4), the report saved on another one (vfat)."""
    image, keys, reports = bench.disk("disk.img", integrity=False), stick(bench, "keys.img"), stick(bench, "reports.img")
    bench.guest("""
mkfs.ext4 -q /dev/ubda && mkdir /run/stick && mount /dev/ubda /run/stick && mkdir /run/stick/keys || exit 1
cp "$SECRET" /run/stick/keys/secret.json && umount /run/stick || exit 1
mkfs.vfat --mbr=no /dev/ubdb || exit 1
""", keys, reports)
    before = sha256(keys)
    steps = play(bench, "sticks", image, keys, reports, after="""
mkdir /run/stick && mount -o ro /dev/ubdc /run/stick || exit 1
step names ls /run/stick
step text cat /run/stick/rescued.txt
step json cat /run/stick/rescued.json
umount /run/stick
""")
    said = steps["play"].expect(0, "RESCUED", "The report was saved")
    check(sha256(keys) == before, "reading the secret changed its disk")
    check(steps["names"].out.split() == ["rescued.json", "rescued.txt"], "on the stick: " + steps["names"].out)
    steps["text"].expect(0, "RESCUED", "next")
    report = steps["json"].expect(0).json()
    check(report["disk"]["path"] == "/dev/ubda" and report["plan"]["edits"], "the saved report is not about the rescue")
    return said.out.strip().splitlines()[-1]


ALL = {
    "disk-in-tmux": disk_in_tmux,
    "disk-wrong-secret-thrice": disk_left_before_apply,
    "disk-in-line-mode": disk_in_line_mode,
    "disk-undo": disk_undone,
    "disk-two-survivors": two_survivors,
    "disk-secret-and-report-on-sticks": secret_and_report_on_sticks,
}
