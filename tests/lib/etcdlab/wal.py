"""An independent look into a member's log: what the WAL segments hold, without any of the product's code.
Layout: etcd server/storage/wal/{encoder,decoder,wal}.go; summary in rescue/raftlog/FORMAT.md."""

import hashlib
import os
import struct

_CASTAGNOLI = []
_CHECKED_FRAMES = 64  # how many frames at the end have their checksum verified: only those can be torn


def _crc_table():
    if not _CASTAGNOLI:
        for n in range(256):
            for _ in range(8):
                n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
            _CASTAGNOLI.append(n)
    return _CASTAGNOLI


def crc32c(crc, data):
    table, crc = _crc_table(), crc ^ 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def fields(message):
    """Yields (field number, value) of a protobuf message: int for varints, bytes for length-delimited."""
    at, end = 0, len(message)

    def varint(at):
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7

    while at < end:
        tag, at = varint(at)
        if tag & 7 == 0:
            value, at = varint(at)
        elif tag & 7 == 2:
            size, at = varint(at)
            value, at = message[at:at + size], at + size
        else:
            raise ValueError("wire type %d" % (tag & 7))
        yield tag >> 3, value


def first(message, number, default=0):
    return next((value for n, value in fields(message) if n == number), default)


def frames(data):
    """Yields (end offset, record bytes); ends at the first zero length word or where a frame is cut off."""
    at = 0
    while at + 8 <= len(data):
        word, = struct.unpack_from("<Q", data, at)
        size = word & 0x00FFFFFFFFFFFFFF
        padding = (word >> 56) & 7 if word >> 63 else 0
        if word == 0 or at + 8 + size + padding > len(data):
            return
        yield at + 8 + size + padding, data[at + 8:at + 8 + size]
        at += 8 + size + padding


class Log:
    """The log as etcd would read it: entries {index: (term, type, data)}, the last hard state, the IDs."""

    def __init__(self, member_folder, wal_folder=None):
        folder = wal_folder or os.path.join(member_folder, "wal")
        self.wal_files = sorted(x for x in os.listdir(folder) if x.endswith(".wal"))
        self.snap_files = sorted(x for x in os.listdir(os.path.join(member_folder, "snap")) if x.endswith(".snap"))
        self.entries, self.hard_state, self.snapshot_records = {}, None, []
        self.node_id = self.cluster_id = None
        self.used_bytes = 0
        for name in self.wal_files:
            with open(os.path.join(folder, name), "rb") as file:
                records = list(frames(file.read()))
            if name == self.wal_files[-1]:
                records = _without_torn_tail(records)
            for end, record in records:
                self.used_bytes = end
                self._take(first(record, 1), first(record, 3, b""))

    def _take(self, kind, data):
        if kind == 1:
            self.node_id, self.cluster_id = "%x" % first(data, 1), "%x" % first(data, 2)
        elif kind == 2:
            index = first(data, 3)
            # An entry with a known index replaces it and everything behind it.
            for stale in range(index, self.last_index + 1):
                self.entries.pop(stale, None)
            self.entries[index] = (first(data, 2), first(data, 1), first(data, 4, b""))
        elif kind == 3:
            self.hard_state = {"term": first(data, 1), "vote": "%x" % first(data, 2), "commit": first(data, 3)}
        elif kind == 5:
            self.snapshot_records.append(first(data, 1))

    @property
    def last_index(self):
        # Entries arrive in order, so the newest key of the dictionary is the last index.
        return next(reversed(self.entries), 0)

    def last_term(self):
        return self.entries[self.last_index][0] if self.entries else 0

    def puts(self):
        """{(key, SHA-256 of the value in hex)} of every put in the log, alone or in a transaction."""
        found = set()
        for _, kind, data in self.entries.values():
            # Field 100 is InternalRaftRequest's header; a member's attributes come as a request of the old
            # v2 store, which is another message.
            if kind == 0 and data and first(data, 100, None) is not None:
                for number, body in fields(data):
                    if number == 4:
                        found.add(_put(body))
                    elif number == 6:
                        found.update(_puts_of_transaction(body))
        return found

    def summary(self, db_path):
        return {"wal_files": self.wal_files, "snap_files": self.snap_files, "db_size": os.path.getsize(db_path),
                "first_index": next(iter(self.entries), 0), "last_index": self.last_index,
                "hardstate": self.hard_state, "snapshot_records": self.snapshot_records,
                "conf_changes": sum(1 for e in self.entries.values() if e[1] == 1),
                "last_wal_used_bytes": self.used_bytes}


def _without_torn_tail(records):
    """Drops frames at the end whose checksum is wrong: a SIGKILL may cut a write(2) between two pages."""
    start = max(1, len(records) - _CHECKED_FRAMES)
    for position in range(start, len(records)):
        before, record = records[position - 1][1], records[position][1]
        data = first(record, 3, b"")
        if first(record, 1) != 4 and crc32c(first(before, 2), data) != first(record, 2):
            return records[:position]
    return records


def _put(body):
    return first(body, 1, b""), hashlib.sha256(first(body, 2, b"")).hexdigest()


def _puts_of_transaction(body):
    for number, operation in fields(body):
        if number in (2, 3):
            for kind, request in fields(operation):
                if kind == 2:
                    yield _put(request)
                elif kind == 4:
                    yield from _puts_of_transaction(request)
