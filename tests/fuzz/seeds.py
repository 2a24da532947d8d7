"""Seeds for the fuzz targets, taken from tests/fixtures: real files of etcd 3.4 to 3.7, cut to what matters."""

import base64
import glob
import gzip
import hashlib
import json
import lzma
import os
import sys
import zlib

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

from etcdlab.wal import first, frames  # noqa: E402

FIXTURES = os.path.join(HERE, "..", "fixtures")
FEW_RECORDS = 24     # short logs mutate faster than long ones
ENTRIES = 40         # of each log, as seeds for single messages
METADATA, ENTRY, STATE, CRC, SNAPSHOT = 1, 2, 3, 4, 5
# The first byte of an input of raft_fuzzer: position in its table of checks.
(RAFT_ENTRY, RAFT_REQUEST, RAFT_CONF_CHANGE, RAFT_CONF_CHANGE_V2, RAFT_HARD_STATE, RAFT_CONF_STATE, RAFT_METADATA,
 RAFT_MARK, RAFT_RECORD) = range(9)


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _logs():
    return [_read(path) for path in sorted(glob.glob(os.path.join(FIXTURES, "raftlog", "*", "wal", "*.wal")))]


def _snaps():
    return [_read(path) for path in sorted(glob.glob(os.path.join(FIXTURES, "raftlog", "*", "snap", "*.snap")))]


def _records(log):
    """[(type, data, whole record)]"""
    return [(first(record, 1), first(record, 3, b""), record) for _, record in frames(log)]


def wal():
    for log in _logs():
        ends = [end for end, _ in frames(log)]
        yield log[:ends[-1]] + bytes(64)
        yield log[:ends[min(FEW_RECORDS, len(ends) - 1)]] + bytes(64)
        # Torn in the middle of a record.
        yield log[:ends[FEW_RECORDS // 2] - 9]


def snap():
    yield from _snaps()


def _stores():
    """(v2 store as JSON, encoded snapshot metadata) of each .snap file"""
    for content in _snaps():
        snapshot = first(content, 2, b"")
        yield first(snapshot, 1, b""), first(snapshot, 2, b"")


def _without_watchers(store):
    """The history of events is nine tenths of the JSON, and nobody reads it."""
    tree = json.loads(store)
    return json.dumps({k: v for k, v in tree.items() if k in ("Root", "CurrentIndex", "CurrentVersion")},
                      separators=(",", ":")).encode()


def store_json():
    for store, _ in _stores():
        yield store
        yield _without_watchers(store)


def _member_values(node):
    if node.get("Children"):
        for child in node["Children"].values():
            yield from _member_values(child)
    elif node["Value"].startswith("{"):
        yield node["Value"].encode()


def member_json():
    for store, _ in _stores():
        yield from _member_values(json.loads(store)["Root"])
    for log in _logs():
        for kind, data, _ in _records(log):
            if kind == ENTRY and first(data, 1) == 1:
                yield first(first(data, 4, b""), 4, b"{}")


def raft():
    for log in _logs():
        seen = 0
        for kind, data, record in _records(log):
            yield bytes([RAFT_RECORD]) + record if seen < 4 else b""
            if kind == METADATA:
                yield bytes([RAFT_METADATA]) + data
            elif kind == STATE:
                yield bytes([RAFT_HARD_STATE]) + data
            elif kind == SNAPSHOT:
                yield bytes([RAFT_MARK]) + data
            elif kind == ENTRY and seen < ENTRIES:
                seen += 1
                yield bytes([RAFT_ENTRY]) + data
                yield bytes([RAFT_CONF_CHANGE if first(data, 1) else RAFT_REQUEST]) + first(data, 4, b"")
    for _, metadata in _stores():
        yield bytes([RAFT_CONF_STATE]) + first(metadata, 1, b"")
    # ConfChangeV2, which etcd never writes: transition 1, one change (add 7), context.
    yield bytes([RAFT_CONF_CHANGE_V2]) + bytes.fromhex("0801 1204 0800 1007 1a02 7b7d".replace(" ", ""))


def bolt():
    for path in sorted(glob.glob(os.path.join(FIXTURES, "bolt", "*.db.xz"))):
        with lzma.open(path) as packed:
            yield packed.read()


def secret():
    key, salt = bytes(range(32)), bytes(range(32, 64))
    plain = [base64.b64encode(part).decode() for part in (key, salt)]
    web = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (key, salt)]
    yield json.dumps({"key": plain[0], "salt": plain[1]}, indent=2).encode()
    yield ("kms://cluster-kms?key=%s&salt=%s" % tuple(web)).encode()
    yield ("kms://cluster-kms?key=%s%%3D&salt=%s%%3D" % tuple(web)).encode()
    yield key.hex().encode()
    yield plain[0].encode() + b"\r\n"


def tpm_blob():
    """Of every kind, with and without what may be missing; the sealed object is not a TPM's."""
    for kind, flags in ((1, 0), (1, 7), (2, 2), (3, 5)):
        fields = bytes(32)  # PCR 12
        fields += bytes([0x11]) * 32 if flags & 2 else b""
        fields += bytes([0x22]) * 32 + b"\0\x0b" + bytes([0x33]) * 32
        fields += b"\0\x0b" + bytes([0x44]) * 32 if flags & 4 else b""
        for field in (b"78587c41-ed99-4337-8022-dc28be882f72", b"\0\4pub!", b"\0\4priv"):
            fields += len(field).to_bytes(2, "big") + field
        head = b"etcdSEAL\0\1" + (18 + len(fields) + 32).to_bytes(2, "big") + bytes([kind, flags]) + b"\0\0\x10\0"
        blob = head + fields + hashlib.sha256(head + fields).digest()
        yield blob
        lines = [base64.b64encode(blob)[at:at + 64] for at in range(0, len(blob) * 4 // 3 + 4, 64)]
        yield b"-----BEGIN ETCD-RESCUE TPM SECRET-----\n" + b"\n".join(lines) + b"\n-----END ETCD-RESCUE TPM SECRET-----\n"
    entry = {"pcrs": [11], "pkfp": "ab" * 32, "pol": "cd" * 32, "sig": base64.b64encode(bytes(256)).decode()}
    yield json.dumps({"sha256": [entry, dict(entry, pcrs=[7])]}).encode()


# What hostile headers are made of: a second slot, other functions, flags, requirements, tokens.
LUKS2_PARTS = [
    {}, {"keyslots": {"1": None}}, {"tokens": {}}, {"config": {"flags": ["allow-discards"]}},
    {"config": {"requirements": {"mandatory": ["online-reencrypt-v2"]}}},
    {"tokens": {"1": {"type": "systemd-tpm2", "keyslots": ["0"], "tpm2-pcrs": [7], "tpm2-blob": "AAAA"}}},
    {"segments": {"0": {"integrity": None, "sector_size": 512}}},
    {"keyslots": {"0": {"kdf": {"type": "pbkdf2", "hash": "sha256", "iterations": 1000, "salt": "AAAA"}}}},
]


def _merge(into, part):
    for name, value in part.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif value is None:
            into.pop(name, None)
        else:
            into[name] = value


def _luks2_texts():
    area = _read(os.path.join(FIXTURES, "disk", "luks2-header.bin"))
    text = area[4096:].split(b"\0", 1)[0]
    for part in LUKS2_PARTS:
        document = json.loads(text)
        _merge(document, part)
        if "keyslots" in part and "1" in part["keyslots"]:
            second = json.loads(text)["keyslots"]["0"]
            second["area"]["offset"] = "1048576"
            document["keyslots"]["1"] = second
            document["digests"]["0"]["keyslots"] = ["0", "1"]
        yield json.dumps(document, separators=(",", ":")).encode()


def luks2_json():
    yield from _luks2_texts()


def luks2():
    area = bytearray(_read(os.path.join(FIXTURES, "disk", "luks2-header.bin")))
    half = len(area) // 2
    for text in _luks2_texts():
        for at in (0, half):
            area[at + 4096:at + half] = text.ljust(half - 4096, b"\0")
            area[at + 448:at + 512] = bytes(64)
            area[at + 448:at + 480] = hashlib.sha256(area[at:at + half]).digest()
        yield bytes(area)


def rpc():
    calls = [
        {"id": 1, "method": "status"},
        {"id": "a", "method": "find", "params": {}},
        {"id": "b", "method": "unlock", "params": {"disk": {"label": "State"}, "secret": {"key": "a\"}{", "salt": "b"}}},
        {"id": 2, "method": "unlock", "params": {"secret": "\u00e9\ud83d\ude00\\\"\n", "secret-is": "passphrase"}},
        {"id": 3, "method": "plan", "params": {"strategy": "restore", "secret": {"from": "tpm"}, "quick": True}},
        {"id": 4, "method": "apply", "params": {"plan": "f00d", "consent": {"luks-uuid": "a"}}},
        {"method": "cancel"},
    ]
    records = [json.dumps({"jsonrpc": "2.0", **call}).encode() for call in calls]
    yield from records
    yield b"[    1.5] kernel\r\n" + b"\x1b]104\x07".join(b"\x1e" + record + b"\n" for record in records)
    yield b"\x1e" + records[0][:20] + b"[ 2.0] kernel\n" + b"\x1e" + records[2][:40] + b"\x1e" + records[1] + b"\n"


def _event(revision, key, **fields):
    kv = {"key": base64.b64encode(key).decode(), "mod_revision": revision}
    event = {"kv": kv}
    if "value" in fields:
        kv.update(create_revision=fields.get("create", revision), version=fields.get("version", 1),
                  value=base64.b64encode(fields["value"]).decode())
        if "lease" in fields:
            kv["lease"] = fields["lease"]
    else:
        event = {"type": 1, "kv": kv}
    return {"etcdEvent": event, "time": "2026-11-21T09:08:00.1Z"}


def delta_json():
    """First byte: start revision; second: how many more; third: 255 for a wrong SHA-256."""
    put = _event(7, b"/registry/a", value=b"one", lease=77)
    again = _event(8, b"/registry/a", value=b"two" * 90, create=7, version=2)
    gone = _event(8, b"/registry/b")
    for last, wrong, events in ((0, 0, [put]), (1, 0, [put, again, gone]), (1, 255, [put, again]), (2, 0, [put, gone]),
                                (0, 0, [])):
        yield bytes([7, last, wrong]) + json.dumps(events, separators=(",", ":")).encode()
    yield bytes([7, 1, 0]) + json.dumps([put, again, gone], indent=1).encode()


def backup_names():
    full, first, second = ("Full-00000000-00000310-1795252070", "Incr-00000311-00000336-1795252071",
                           "Incr-00000337-00000536-1795252072")
    for ending in ("", ".gz", ".zlib", ".Z"):
        yield "\n".join(name + ending for name in (full, first, second)).encode()
    yield "\n".join((full, second)).encode()
    yield "\n".join((full, first, "Full-00000000-00000500-1795252073.gz.final", second)).encode()
    yield "\n".join((first, second, "README.txt", "Full-1-2-3", "Incr-0-9223372036854775807-1")).encode()


def _lzw(plain):
    """As Go's compress/lzw with LSB order and 8-bit literals."""
    table, width, following, bits, count, out = {}, 9, 258, 0, 0, bytearray()

    def put(code):
        nonlocal bits, count
        bits |= code << count
        count += width
        while count >= 8:
            out.append(bits & 255)
            bits >>= 8
            count -= 8

    put(256)
    known = b""
    for at in range(len(plain)):
        longer = known + plain[at:at + 1]
        if len(longer) == 1 or longer in table:
            known = longer
            continue
        put(known[0] if len(known) == 1 else table[known])
        if following == 4095:
            put(256)
            table, width, following = {}, 9, 257
        else:
            table[longer] = following
            if following == 1 << width:
                width += 1
        following += 1
        known = longer[-1:]
    if known:
        put(known[0] if len(known) == 1 else table[known])
        if following == 1 << width:
            width += 1
    put(257)
    return bytes(out) + (bytes([bits & 255]) if count else b"")


def lzw():
    """First byte: 1 lzw, 4 gzip, 0 zlib."""
    text = b"".join(delta_json())
    for plain in (b"", b"a", b"aaaaaaaaaaaaaaaa", text, text * 9, bytes(5000), hashlib.sha512(text).digest() * 70):
        yield b"\1" + _lzw(plain)
    yield b"\4" + gzip.compress(text)
    yield b"\0" + zlib.compress(text)


def write(target, folder):
    """Writes the seeds of a target into a folder, named by their content. Returns how many."""
    os.makedirs(folder, exist_ok=True)
    make = globals().get(target)
    for seed in make() if make else ():
        if seed:
            with open(os.path.join(folder, hashlib.sha256(seed).hexdigest()[:16]), "wb") as out:
                out.write(seed)
    return len(os.listdir(folder))
