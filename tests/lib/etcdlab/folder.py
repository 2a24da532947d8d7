"""Copies and fingerprints of data directories."""

import hashlib
import os
import shutil
import stat
import subprocess

_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)


def copy_folder(source, target):
    """Everything with owner, mode, times and attributes; preallocated files stay sparse."""
    subprocess.run(["cp", "-a", "--sparse=always", "--", source, target], check=True)


def content_hash(path):
    """Of a file's bytes. Stretches of zeros are cheap: a log segment is 64 MB, nearly all of it zeros."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            if chunk == _ZEROS[:len(chunk)]:
                digest.update(b"zeros %d;" % len(chunk))
            else:
                digest.update(b"bytes %d;" % len(chunk))
                digest.update(chunk)
    return digest.hexdigest()


def _attributes(path):
    try:
        return {name: os.getxattr(path, name, follow_symlinks=False).hex()
                for name in sorted(os.listxattr(path, follow_symlinks=False))}
    except OSError:
        return {}


def fingerprint(root):
    """{relative path: everything that can be told apart} of a folder; `ctime` moves with any change at all."""
    seen = {}
    for folder, _, names in os.walk(root):
        for path in [folder] + [os.path.join(folder, name) for name in names]:
            info = os.lstat(path)
            entry = {"type": stat.S_IFMT(info.st_mode), "mode": oct(stat.S_IMODE(info.st_mode)),
                     "owner": (info.st_uid, info.st_gid), "mtime": info.st_mtime_ns, "ctime": info.st_ctime_ns,
                     "attributes": _attributes(path)}
            if stat.S_ISREG(info.st_mode):
                entry.update(size=info.st_size, content=content_hash(path))
            elif stat.S_ISLNK(info.st_mode):
                entry["link"] = os.readlink(path)
            seen[os.path.relpath(path, root)] = entry
    return seen


def differences(before, after, ignore=()):
    """Sentences; `ignore` names aspects (such as ctime) that may differ."""
    found = ["%s is gone" % path for path in sorted(set(before) - set(after))]
    found += ["%s is new" % path for path in sorted(set(after) - set(before))]
    for path in sorted(set(before) & set(after)):
        for aspect, value in before[path].items():
            if aspect not in ignore and after[path].get(aspect) != value:
                found.append("%s: %s was %s, is %s" % (path, aspect, value, after[path].get(aspect)))
    return found


def without_directory_times(prints):
    """A directory's own times change when an entry comes and goes; its content is what counts."""
    return {path: {k: v for k, v in entry.items() if not (stat.S_ISDIR(entry["type"]) and k in ("mtime", "ctime"))}
            for path, entry in prints.items()}


def remove_folder(path):
    shutil.rmtree(path, ignore_errors=True)
