"""Disks as somebody who holds them could have made them, and what each must be answered with.

Nothing here needs a kernel: the header is judged before anything is opened. A row makes a disk from a real header
(tests/fixtures/disk), with valid checksums unless it says otherwise, and has `inspect` look at it. Whatever gets past
the header ends at the key slot, whose content is zeros: exit 4.
"""

import concurrent.futures
import json
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass, field

from bench import FIXTURES, Failed, check, sha256

DISK_BYTES = 20 << 20
DATA = 16 << 20                # where the segment starts
SLOT = "keyslots/0"
SEGMENT = "segments/0"
DIGEST = "digests/0"
PBKDF2 = '{"type":"pbkdf2","hash":"sha256","iterations":1000,"salt":"AAAA"}'
FOREIGN_TOKEN = '{"type":"systemd-tpm2","keyslots":["0"],"tpm2-pcrs":[7]}'
STATE_TOKEN = '{"type":"constellation-state-disk","keyslots":[],"diskIsInitialized":true}'
PARTITION = "00000200830000000008000000200000"    # an entry of an MBR, which ends at 510 with the mark
MBR_MARK = "55aa"


@dataclass
class Row:
    """One disk."""
    name: str
    edits: list                                    # for tests/uml/edit-header; one argument a word, or a list
    status: int                                    # exit code
    code: str                                      # of the error
    findings: list = field(default_factory=list)   # codes of what is to be said about the header
    texts: list = field(default_factory=list)      # somewhere in the answer
    options: list = field(default_factory=list)
    boot: str = "yes"                              # "safe to boot", as far as it was judged; None: not asked


def refused(name, code, *edits, options=(), texts=(), findings=()):
    return Row(name, list(edits), 5, code, list(findings), list(texts), list(options), None)


def opened(name, *edits, findings=(), options=(), texts=(), boot="yes", code="wrong-secret", status=4):
    """The header is taken, with these findings."""
    return Row(name, list(edits), status, code, list(findings), list(texts), list(options), boot)


def slot(path, value):
    return ["set", SLOT + "/" + path, value]


def segment(path, value):
    return ["set", SEGMENT + "/" + path, value]


def digest(path, value):
    return ["set", DIGEST + "/" + path, value]


NO_INTEGRITY = ["remove", SEGMENT + "/integrity"]

ROWS = [
    opened("as it was"),
    # Both copies.
    opened("first copy damaged", ["damage", "first"], findings=["copy-damaged"], texts=["first copy"]),
    opened("first copy gone", ["zero", "first"], findings=["copy-damaged"]),
    opened("second copy damaged", ["damage", "second"], findings=["copy-damaged"], texts=["second copy"]),
    opened("second copy gone", ["zero", "second"], findings=["copy-damaged"]),
    refused("both copies damaged", "header-damaged", ["damage", "first"], ["damage", "second"]),
    refused("the only whole copy is hostile", "null-cipher-segment", segment("encryption", "cipher_null-ecb"),
            ["damage", "first"], findings=["copy-damaged"]),
    # Epoch games.
    opened("second copy newer", ["sequence", "second", "5"], findings=["epoch-game"], texts=["they say the same"]),
    opened("second copy newer, token reset", ["set-in", "second", "tokens/0/diskIsInitialized", "false"],
           ["sequence", "second", "5"], findings=["epoch-game"], texts=["tokens.0.diskIsInitialized"],
           boot="no", code="disk-not-initialised"),
    refused("second copy newer and hostile", "null-cipher-keyslot",
            ["set-in", "second", SLOT + "/area/encryption", "cipher_null-ecb"], ["sequence", "second", "5"],
            findings=["epoch-game"], texts=["keyslots.0.area.encryption"]),
    opened("first copy far ahead", ["sequence", "first", "99"], findings=["epoch-game"]),
    opened("largest epoch", ["sequence", "second", "18446744073709551615"], findings=["epoch-game"]),
    opened("interrupted write", ["remove-in", "first", "tokens/0"], ["sequence", "first", "5"],
           findings=["interrupted-write"], texts=["tokens.0"], boot="no"),
    opened("same epoch, hostile second copy", ["set-in", "second", SEGMENT + "/encryption", "cipher_null-ecb"],
           findings=["copies-differ"], texts=["segments.0.encryption"]),
    opened("same epoch, another UUID", ["field", "second", "uuid", "00000000-0000-0000-0000-000000000001"],
           findings=["copies-differ"], texts=["UUID"]),
    refused("no UUID", "bad-uuid", ["field", "first", "uuid", "key-derivation"],
            ["field", "second", "uuid", "key-derivation"]),
    # Null ciphers.
    refused("null cipher in the slot", "null-cipher-keyslot", slot("area/encryption", "cipher_null-ecb"),
            texts=["any secret"]),
    refused("null cipher in the slot, spelt otherwise", "null-cipher-keyslot", slot("area/encryption", '"null"')),
    refused("null cipher in the segment", "null-cipher-segment", segment("encryption", "cipher_null-ecb")),
    refused("null cipher in the segment, spelt otherwise", "null-cipher-segment",
            segment("encryption", "capi:ecb(cipher_null)-null")),
    refused("null cipher, other nodes' profile", "null-cipher-segment", segment("encryption", "cipher_null-ecb"),
            options=["--profile", "luks2"]),
    Row("null cipher, to be accepted", [segment("encryption", "cipher_null-ecb")], 2, "unknown-accept",
        options=["--accept", "header:null-cipher-segment"], boot=None),
    # The allow-list, field by field.
    refused("another cipher", "foreign-segment", segment("encryption", "aes-cbc-essiv:sha256")),
    refused("another IV", "foreign-segment", segment("encryption", "aes-xts-plain")),
    refused("small sectors", "foreign-segment", segment("sector_size", "512")),
    refused("shifted IVs", "foreign-segment", segment("iv_tweak", '"8"')),
    refused("linear segment", "foreign-segment", segment("type", "linear")),
    refused("other integrity", "foreign-segment", segment("integrity/type", "poly1305")),
    refused("integrity without its journal's cipher", "foreign-segment",
            segment("integrity/journal_encryption", "cipher_null-ecb")),
    refused("integrity taken away", "foreign-keyslot", NO_INTEGRITY, texts=["key size 96"]),
    opened("made without integrity", NO_INTEGRITY, slot("key_size", "64"), findings=["no-integrity"]),
    refused("segment flag", "foreign-segment", segment("flags", '["backup-final"]')),
    refused("two segments", "several-segments",
            ["set", "segments/1", '{"type":"crypt","offset":"16777216","size":"dynamic","iv_tweak":"0",'
             '"encryption":"aes-xts-plain64","sector_size":4096}']),
    refused("no segments", "several-segments", ["set", "segments", "{}"]),
    refused("no key slots", "no-keyslots", ["set", "keyslots", "{}"]),
    refused("slot with another cipher", "foreign-keyslot", slot("area/encryption", "aes-cbc-plain64")),
    refused("slot with a short cipher key", "foreign-keyslot", slot("area/key_size", "32")),
    refused("slot without stripes", "foreign-keyslot", slot("af/stripes", "1")),
    refused("slot with SHA-1", "foreign-keyslot", slot("af/hash", "sha1")),
    refused("argon2i", "foreign-keyslot", slot("kdf/type", "argon2i")),
    refused("pbkdf2", "foreign-keyslot", slot("kdf", PBKDF2)),
    refused("no salt", "foreign-keyslot", slot("kdf/salt", '""')),
    refused("digest with SHA-1", "foreign-digest", digest("hash", "sha1")),
    refused("digest of nothing", "foreign-digest", digest("segments", "[]")),
    refused("slot of no digest", "foreign-keyslot", digest("keyslots", "[]")),
    # Places.
    refused("segment over the header", "header-bounds", segment("offset", '"0"')),
    refused("segment over the key slots", "header-bounds", segment("offset", '"32768"')),
    refused("segment behind the disk", "header-bounds", segment("offset", '"1099511627776"')),
    refused("segment longer than the disk", "header-bounds", segment("size", '"1099511627776"')),
    refused("slot over the header", "header-bounds", slot("area/offset", '"0"')),
    refused("slot over the segment", "header-bounds", slot("area/offset", '"%d"' % DATA)),
    refused("slot too short", "header-bounds", slot("area/size", '"4096"')),
    refused("slot with an offset that wraps", "header-bounds", slot("area/offset", '"18446744073709551615"')),
    refused("slots over each other", "header-bounds",
            ["insert", '"x":0,'], ["remove", "x"], ["copy-slot"], texts=["overlap"]),
    refused("giant key slot area", "header-bounds", ["set", "config/keyslots_size", '"1073741824"']),
    refused("disk cut off behind the header", "header-bounds", ["size", str(DATA)]),
    refused("disk cut off in the key slots", "header-truncated", ["size", str(1 << 20)]),
    refused("disk cut off in the first copy", "header-truncated", ["size", "5000"]),
    # Costs, both ways.
    refused("4 TiB of memory", "kdf-cost", slot("kdf/memory", "4294967296")),
    opened("4 TiB of memory, accepted", slot("kdf/memory", "4294967295"), options=["--accept", "header:kdf-cost"],
           findings=["kdf-cost"], code="not-enough-memory", texts=["4194351 MiB"]),
    refused("years of work", "kdf-cost", slot("kdf/time", "4294967295")),
    refused("no memory", "kdf-cost", slot("kdf/memory", "8")),
    refused("no passes", "kdf-cost", slot("kdf/time", "0")),
    refused("a thousand threads", "kdf-cost", slot("kdf/cpus", "1000")),
    refused("years of digest", "kdf-cost", digest("iterations", "4294967295")),
    # Re-encryption and requirements (CVE-2021-4122).
    refused("re-encryption demanded", "foreign-requirement",
            ["set", "config/requirements", '{"mandatory":["online-reencrypt-v2"]}']),
    refused("unknown requirement", "foreign-requirement", ["set", "config/requirements", '{"mandatory":["x"]}']),
    refused("re-encryption, to be accepted, other profile", "foreign-requirement",
            ["set", "config/requirements", '{"mandatory":["online-reencrypt"]}'], options=["--profile", "luks2"]),
    refused("re-encryption slot", "foreign-keyslot",
            ["set", "keyslots/1", '{"type":"reencrypt","mode":"decrypt","direction":"forward","key_size":1,"area":'
             '{"type":"none","offset":"1048576","size":"4096"}}']),
    refused("activation flag", "foreign-flag", ["set", "config/flags", '["no-journal"]']),
    # Fields and tokens that nobody knows.
    refused("unknown field", "foreign-field", ["set", "surprise", "1"], texts=["--accept header:foreign-field"]),
    opened("unknown field, accepted", ["set", "surprise", "1"], options=["--accept", "header:foreign-field"],
           findings=["foreign-field"], boot="no"),
    opened("priority", slot("priority", "2"), boot="no"),
    refused("foreign token", "foreign-token", ["set", "tokens/1", FOREIGN_TOKEN]),
    opened("foreign token, accepted", ["set", "tokens/1", FOREIGN_TOKEN], options=["--accept", "header:foreign-token"],
           findings=["foreign-token"]),
    refused("second state token", "foreign-token", ["set", "tokens/1", STATE_TOKEN]),
    refused("another node's disk", "foreign-token", ["set", "tokens/0", FOREIGN_TOKEN],
            texts=["--profile luks2"]),
    opened("another node's disk, by its profile", ["set", "tokens/0", FOREIGN_TOKEN], options=["--profile", "luks2"],
           boot="not-judged"),
    opened("no token", ["set", "tokens", "{}"], boot="no", texts=["format it"]),
    opened("reset token", ["set", "tokens/0/diskIsInitialized", "false"], boot="no", code="disk-not-initialised",
           texts=["never initialised"]),
    opened("two answers in the token", ["set", "tokens/0/DiskIsInitialized", "false"], boot="no",
           code="disk-not-initialised"),
    # JSON that two parsers could read differently.
    refused("a name twice", "header-json", ["insert", '"tokens":{},']),
    refused("not ASCII", "header-json", ["insert", '"t\u00f6kens":{},']),
    refused("deeply nested", "header-json", ["insert", '"x":%s%s,' % ("[" * 500, "]" * 500)]),
    refused("not an object", "header-json", ["json", "[]"]),
    refused("nothing in it", "header-json", ["json", "{}"]),
    refused("text behind the text", "header-json", ["raw", "16300", "78"], ["bytes", "0x108", "00"]),
    # Partition tables and other formats.
    refused("partition table in the header", "header-padding", ["bytes", "494", PARTITION + MBR_MARK]),
    refused("GPT in the header", "header-padding", ["bytes", "512", b"EFI PART".hex()]),
    opened("partition table, accepted", ["bytes", "494", PARTITION + MBR_MARK],
           options=["--accept", "header:header-padding"],
           findings=["header-padding"]),
    refused("partition table instead", "partition-table", ["wipe"],
            ["raw", "446", PARTITION], ["raw", "510", MBR_MARK]),
    refused("nothing on it", "not-luks", ["wipe"]),
    refused("LUKS1", "luks1", ["raw", "6", "0001"], ["zero", "second"]),
    refused("a physical volume", "lvm", ["lvm"]),
    refused("a RAID member", "raid", ["raid"]),
]


def put(image, offset, content):
    with open(image, "r+b") as file:
        file.seek(offset)
        file.write(content)


def wipe_header(image):
    put(image, 0, bytes(32 << 10))


def make_lvm(image):
    """The label that pvcreate writes into the second sector (LVM2, lib/label/label.h), with its checksum."""
    wipe_header(image)
    body = struct.pack("<I8s", 32, b"LVM2 001") + b"a" * 32 + struct.pack("<Q", DISK_BYTES)
    body = body.ljust(512 - 20, b"\0")
    crc = 0xf597a6cf                                     # LVM's own start value
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xedb88320 if crc & 1 else 0)
    put(image, 512, b"LABELONE" + struct.pack("<QI", 1, crc) + body)


def make_raid(image):
    """The superblock of a Linux RAID, version 1.2 (Linux, include/uapi/linux/raid/md_p.h)."""
    wipe_header(image)
    block = bytearray(256)
    struct.pack_into("<II", block, 0, 0xa92b4efc, 1)     # magic, major version
    block[16:32] = b"u" * 16                             # UUID of the array
    block[32:36] = b"name"
    struct.pack_into("<Q", block, 80, DISK_BYTES // 512)
    struct.pack_into("<QQQ", block, 128, 2048, DISK_BYTES // 512 - 2048, 8)    # data offset and size, own sector
    total = sum(struct.unpack("<64I", block))
    struct.pack_into("<I", block, 216, (total & 0xffffffff) + (total >> 32))
    put(image, 4096, bytes(block))


def copy_slot(image, editor):
    """A second slot in the first one's place."""
    with open(image, "rb") as file:
        data = file.read(16 << 10)
    document = json.loads(data[4096:].split(b"\0", 1)[0])
    subprocess.run([editor, image, "set", "keyslots/1", json.dumps(document["keyslots"]["0"]),
                    "set", "digests/0/keyslots", '["0","1"]'], check=True)


def make(row, base, image, editor):
    shutil.copyfile(base, image)
    os.truncate(image, DISK_BYTES)
    for edit in row.edits:
        if edit == ["wipe"]:
            wipe_header(image)
        elif edit == ["lvm"]:
            make_lvm(image)
        elif edit == ["raid"]:
            make_raid(image)
        elif edit == ["copy-slot"]:
            copy_slot(image, editor)
        else:
            subprocess.run([editor, image, *edit], check=True)


def look(row, image, program, secret):
    before = sha256(image)
    done = subprocess.run([program, "inspect", "--disk", image, "--secret", secret, "--json", *row.options],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          text=True)
    said = done.stdout + done.stderr
    check(done.returncode == row.status, "%s: expected exit %d, got %d: %s" % (
        row.name, row.status, done.returncode, said[-800:]))
    answer = json.loads(done.stdout)
    check(answer["error"]["code"] == row.code, "%s: expected %s, got %s" % (row.name, row.code, answer["error"]))
    check(answer["error"]["hint"], "%s: no hint" % row.name)
    for text in row.texts:
        check(text in said, "%s: \"%s\" is not said: %s" % (row.name, text, said[-1500:]))
    if row.status != 2:
        disk = answer["disk"]
        codes = [finding["code"] for finding in disk["findings"]]
        check(codes == row.findings, "%s: findings %s, expected %s" % (row.name, codes, row.findings))
        if row.boot:
            check(disk["boot"]["safe"] == row.boot, "%s: boot %s" % (row.name, disk["boot"]))
    check(sha256(image) == before, "%s: looking changed the disk" % row.name)


def run(bench):
    """Whatever may be written into an unauthenticated header has its named answer, and the disk stays as it is."""
    base = bench.path("base.img")
    shutil.copyfile(os.path.join(FIXTURES, "disk", "luks2-header.bin"), base)
    editor = os.path.join(bench.tools, "edit-header")
    os.truncate(base, DISK_BYTES)
    # The cost is not what is tested.
    subprocess.run([editor, base, "set", SLOT + "/kdf/memory", "32"], check=True)
    subprocess.run([editor, base, "sequence", "first", "4", "sequence", "second", "4"], check=True)

    def one(numbered):
        number, row = numbered
        image = bench.path("%d.img" % number)
        try:
            make(row, base, image, editor)
            look(row, image, bench.program, bench.secret)
        except (Failed, ValueError, KeyError) as error:
            return "%s: %s" % (row.name, error)
        finally:
            os.remove(image)
        return None

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        failures = [failure for failure in pool.map(one, enumerate(ROWS)) if failure]
    check(not failures, "%d rows: %s" % (len(failures), "\n".join(failures)))
    hostile = sum(1 for row in ROWS if row.edits)
    check(hostile >= 40 and len({row.name for row in ROWS}) == len(ROWS), "the table is not what it says")
    return "%d disks, %d refused" % (hostile, sum(1 for row in ROWS if row.status == 5))
