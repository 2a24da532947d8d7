"""Seeds for the fuzz targets, taken from tests/fixtures: real files of etcd 3.4 to 3.7, cut to what matters."""

import glob
import hashlib
import json
import lzma
import os
import sys

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


def write(target, folder):
    """Writes the seeds of a target into a folder, named by their content. Returns how many."""
    os.makedirs(folder, exist_ok=True)
    make = globals().get(target)
    for seed in make() if make else ():
        if seed:
            with open(os.path.join(folder, hashlib.sha256(seed).hexdigest()[:16]), "wb") as out:
                out.write(seed)
    return len(os.listdir(folder))
