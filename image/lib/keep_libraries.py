"""Removes every shared library that no kept program needs: keep_libraries.py ROOT LIST PROGRAM...

ROOT is the image's tree, LIST names libraries that are loaded by name at run time, PROGRAMs are paths below ROOT.
Called by image/finalize."""
import os
import re
import subprocess
import sys

FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib64")


def needed(path):
    """The libraries that an ELF file is linked with."""
    done = subprocess.run(["objdump", "-p", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return re.findall(r"^\s+NEEDED\s+(\S+)$", done.stdout, re.MULTILINE)


def libraries(root):
    """{name: path} of all files and links that are libraries by their name."""
    return {name: os.path.join(folder, name) for start in FOLDERS
            for folder, _, names in os.walk(os.path.join(root, start)) for name in names if ".so" in name}


def closure(there, names):
    """All that these libraries need, themselves included."""
    wanted, queue = set(), list(names)
    while queue:
        name = queue.pop()
        if name in wanted:
            continue
        if name not in there:
            sys.exit(f"error: the image lacks the library {name}")
        wanted.add(name)
        queue += needed(there[name])
    return wanted


def main():
    root, listing, *programs = sys.argv[1:]
    with open(listing, encoding="utf-8") as file:
        names = [line.split("#")[0].strip() for line in file]
    there = libraries(root)
    for program in programs:
        names += needed(os.path.join(root, program))
    kept = closure(there, filter(None, names))
    kept |= {os.path.basename(os.path.realpath(there[name])) for name in kept}
    for name in set(there) - kept:
        os.unlink(there[name])


if __name__ == "__main__":
    main()
