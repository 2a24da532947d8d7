"""An independent look into a backend (bbolt file), without any of the product's code. Reads only.
Layout: bbolt internal/common/{page,meta,bucket,inode}.go; summary in rescue/bolt/FORMAT.md."""

import json
import mmap
import struct

_MAGIC = 0xED0CDAED
_PAGE, _META = struct.Struct("<QHHI"), struct.Struct("<IIIIQQQQQQ")
_BRANCH_ELEMENT, _LEAF_ELEMENT = struct.Struct("<IIQ"), struct.Struct("<IIII")
_BRANCH, _LEAF, _SUB_BUCKET = 0x01, 0x02, 0x01
NO_FREELIST = 0xFFFFFFFFFFFFFFFF


def _fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


class Meta:
    def __init__(self, data):
        (self.magic, self.version, self.page_size, _, self.root, _, self.freelist, self.high_water_mark,
         self.transaction, self.checksum) = _META.unpack_from(data)
        self.valid = (self.magic == _MAGIC and self.version == 2 and
                      _fnv1a(data[:_META.size - 8]) == self.checksum)


class Backend:
    """The newest valid state of the file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        metas = [Meta(self.data[at + _PAGE.size:at + _PAGE.size + _META.size]) for at in self._meta_places()]
        valid = [meta for meta in metas if meta.valid]
        if not valid:
            raise ValueError("%s: no valid meta page" % path)
        self.meta = max(valid, key=lambda meta: meta.transaction)

    def _meta_places(self):
        first = Meta(self.data[_PAGE.size:_PAGE.size + _META.size])
        size = first.page_size if first.valid else 4096
        return [0, size]

    def _elements(self, page):
        """Yields (flags, key, value), in key order. `page` is a view of one page with its overflow."""
        _, flags, count, _ = _PAGE.unpack_from(page)
        for number in range(count):
            if flags & _BRANCH:
                at = _PAGE.size + number * _BRANCH_ELEMENT.size
                _, _, child = _BRANCH_ELEMENT.unpack_from(page, at)
                yield from self._elements(self._page(child))
            elif flags & _LEAF:
                at = _PAGE.size + number * _LEAF_ELEMENT.size
                kind, pos, key_size, value_size = _LEAF_ELEMENT.unpack_from(page, at)
                start = at + pos
                key, value = page[start:start + key_size], page[start + key_size:start + key_size + value_size]
                if len(key) != key_size or len(value) != value_size:
                    raise ValueError("an element reaches past its page")
                yield kind, bytes(key), bytes(value)
            else:
                raise ValueError("page with flags %#x in the tree" % flags)

    def _page(self, number):
        start = number * self.meta.page_size
        found, _, _, overflow = _PAGE.unpack_from(self.data, start)
        if found != number or number + overflow >= self.meta.high_water_mark:
            raise ValueError("page %d says it is page %d, with %d more" % (number, found, overflow))
        return memoryview(self.data)[start:start + (overflow + 1) * self.meta.page_size]

    def _bucket(self, value):
        """{key: value} of a bucket, whose own value says where it is; etcd nests no buckets."""
        root, _ = struct.unpack_from("<QQ", value)
        page = self._page(root) if root else memoryview(value)[16:]
        return {key: content for kind, key, content in self._elements(page) if not kind & _SUB_BUCKET}

    def buckets(self):
        """{name: {key: value}}"""
        return {key.decode(): self._bucket(value) for kind, key, value in self._elements(self._page(self.meta.root))
                if kind & _SUB_BUCKET}

    def bucket(self, name):
        """One bucket's {key: value}; empty when there is none."""
        for kind, key, value in self._elements(self._page(self.meta.root)):
            if kind & _SUB_BUCKET and key == name.encode():
                return self._bucket(value)
        return {}


def consistent_index(meta_bucket):
    return int.from_bytes(meta_bucket.get(b"consistent_index", b"\0"), "big")


def members(members_bucket):
    """{ID in hex: the member as JSON says it}"""
    return {key.decode(): json.loads(value) for key, value in members_bucket.items()}


def revision(key_bucket):
    """The highest revision in the bucket `key`."""
    return max((int.from_bytes(key[:8], "big") for key in key_bucket), default=1)
