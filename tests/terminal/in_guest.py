"""Cases on an encrypted disk: tmux and the wizard run inside User-Mode Linux, with real dm-crypt and ext4.

The guest runs ./play NAME, which is the case's person at the keyboard; here is what is held against it afterwards."""

import os

from bench import check, header_bytes, sha256

HERE = os.path.dirname(os.path.realpath(__file__))


def play(bench, name, *disks, after=""):
    """The steps' results; ./play NAME is step "play"."""
    return bench.guest('step play python3 "$TERMINAL/play" %s\n' % name + after, *disks,
                       environment=("TERMINAL=" + HERE,))


def disk_in_tmux(bench):
    """Disks, a pasted secret, and the whole way on a real state disk with integrity; header unchanged."""
    image = bench.disk("disk.img")
    header = header_bytes(image)
    steps = play(bench, "whole-way", image, after="rescue verify verify --disk /dev/ubda --secret $SECRET --json\n")
    said = steps["play"].expect(0, "RESCUED", "safe to boot", "closed, nothing left open")
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


ALL = {
    "disk-in-tmux": disk_in_tmux,
    "disk-wrong-secret-thrice": disk_left_before_apply,
    "disk-in-line-mode": disk_in_line_mode,
    "disk-undo": disk_undone,
}
