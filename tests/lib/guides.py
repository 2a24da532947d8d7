"""Checks what a machine can check about guides: guides.py FOLDER...

Links lead somewhere; indented blocks are commands that bash can read and that begin with a word we know, or JSON, or a
drawing; variables that commands use were exported before, in the same file; libvirt's domains fit its schema."""
import glob
import json
import os
import re
import subprocess
import sys

COMMANDS = {"aws", "az", "azcopy", "constellation", "etcd", "etcdctl", "export", "gcloud", "govc", "image/boot", "image/export",
            "install", "kubeadm", "kubectl", "openstack", "qemu-img", "rm", "scp", "ssh", "virsh"}
DRAWING = re.compile("[├└│]")
LINK = re.compile(r"\[[^]]+\]\(([^)#]+)[^)]*\)")


def blocks(text):
    """(line number, lines) of each indented block."""
    found, start = [], 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("    "):
            if not start:
                start = number
                found.append((number, []))
            found[-1][1].append(line[4:])
        elif line:
            start = 0
    return found


def check_commands(where, lines, exported):
    problems = []
    for line in lines:
        word = line.split()[0]
        if word not in COMMANDS:
            problems.append(f"{where}: no command that we know: {word}")
        for name in re.findall(r"\$([A-Z_]+)", line.split("=", 1)[1] if word == "export" else line):
            if name not in exported and name != "HOME":
                problems.append(f"{where}: ${name} was not exported before")
        if word == "export":
            exported |= set(re.findall(r"([A-Z_]+)=", line))
    done = subprocess.run(["bash", "-n"], input="\n".join(lines), stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        problems.append(f"{where}: {done.stderr.strip()}")
    return problems


def check_guide(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    problems, exported = [], set()
    for target in LINK.findall(text):
        if "://" not in target and not os.path.exists(os.path.join(os.path.dirname(path), target)):
            problems.append(f"{path}: the link to {target} leads nowhere")
    for number, lines in blocks(text):
        where = f"{path}:{number}"
        lines = [line for line in lines if line.strip()]
        if any(DRAWING.search(line) for line in lines):
            continue
        if lines[0].startswith("{"):
            json.loads("\n".join(lines))
            continue
        problems += check_commands(where, lines, exported)
    return problems


def main():
    problems, count = [], 0
    for folder in sys.argv[1:]:
        for path in sorted(glob.glob(os.path.join(folder, "*.md"))):
            problems += check_guide(path)
            count += 1
        for path in sorted(glob.glob(os.path.join(folder, "*.xml"))):
            done = subprocess.run(["virt-xml-validate", path, "domain"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  check=False)
            if done.returncode != 0:
                problems.append(f"{path}: {done.stdout.strip()}")
            count += 1
    print("\n".join(problems) if problems else f"{count} files")
    return 1 if problems or not count else 0


if __name__ == "__main__":
    sys.exit(main())
