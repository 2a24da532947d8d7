"""Rescues many disks at once, each in an appliance of its own.

    image/fleet [--parallel N] [--logs DIR] FLEET.json

FLEET.json is a list; each entry names a disk image or device, its secret, and the job for it:

    [{"name": "cp-0", "disk": "cp-0.img", "secret": "master-secret.json",
      "job": {"version": 1, "consent": {"luks-uuid": "78587c41-ed99-4337-8022-dc28be882f72"}}}]

Paths are relative to the file. The appliance is image/build's, in QEMU; jobs and secrets go to it through
image/rescue-client on a virtio-serial port, so that nothing of them is in an argument list. An example to start from:
what a machine is made of in another place is vm.Machine's to say.

One line each, as soon as it is done: NAME exit=CODE SECONDS s TEXT. DIR keeps consoles and final records. Exit status: 0 when
every job ended with 0, else the worst that was not.
"""
import argparse
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile

import vm

CLIENT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "rescue-client")
JOB_PATIENCE = 1800   # seconds for one disk, boot included
OFF_PATIENCE = 60
LOST = 11             # the client's own: the appliance was not heard


def read_fleet(path):
    folder = os.path.dirname(os.path.abspath(path))
    with open(path, encoding="utf-8") as file:
        fleet = json.load(file)
    if not isinstance(fleet, list) or not fleet:
        raise ValueError("it is no list of disks")
    for number, entry in enumerate(fleet):
        unknown = set(entry) - {"name", "disk", "secret", "job"}
        missing = {"disk", "secret", "job"} - set(entry)
        if unknown or missing:
            raise ValueError(f"entry {number}: unknown {sorted(unknown)}, missing {sorted(missing)}")
        entry.setdefault("name", os.path.basename(entry["disk"]))
        for field in ("disk", "secret"):
            entry[field] = os.path.join(folder, entry[field])
            if not os.path.exists(entry[field]):
                raise ValueError(f"{entry['name']}: there is no {entry[field]}")
    if len({entry["name"] for entry in fleet}) != len(fleet):
        raise ValueError("two entries have one name")
    if len({os.path.realpath(entry["disk"]) for entry in fleet}) != len(fleet):
        raise ValueError("a disk is named twice")
    return fleet


def talk(running, job, secret, log):
    """(exit, text) of the job, told by the appliance."""
    command = [sys.executable, CLIENT, "--timeout", str(JOB_PATIENCE), "--json", running.rpc_socket(), "job", job,
               "--secret", secret, "--power-off"]
    with open(log, "wb") as file:
        client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file,
                                  preexec_fn=vm.die_with_parent)
        try:
            # The machine's console must be read, or the machine would wait for its reader.
            while client.poll() is None and running.read(1.0) is not None:
                pass
            out, _ = client.communicate(timeout=OFF_PATIENCE)
        finally:
            client.kill()
            client.wait()
    if not out.strip():
        return client.returncode or LOST, "no final record; see " + log
    final = json.loads(out)
    return final["exit"], final["text"]


def rescue(entry, options):
    """One disk in one machine: (name, exit, seconds, text)."""
    prefix = os.path.join(options.logs, entry["name"])
    with tempfile.NamedTemporaryFile("w", suffix=".json") as job:
        json.dump(entry["job"], job)
        job.flush()
        machine = vm.Machine(disks=[entry["disk"]], rpc=True, memory=options.memory, direct=options.direct,
                             log=prefix + ".console.log")
        try:
            with vm.Vm(machine) as running:
                status, text = talk(running, job.name, entry["secret"], prefix + ".client.log")
                running.wait_off(OFF_PATIENCE)
                return entry["name"], status, running.seconds(), text
        except (vm.MachineError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            return entry["name"], LOST, 0, str(error)


def arguments():
    parser = argparse.ArgumentParser(prog="image/fleet", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fleet", metavar="FLEET.json")
    parser.add_argument("--parallel", type=int, default=4, metavar="N", help="machines at a time (4)")
    parser.add_argument("--memory", type=int, default=1536, metavar="MIB", help="of each machine (1536)")
    parser.add_argument("--direct", action="store_true", help="kernel and initrd without firmware")
    parser.add_argument("--logs", metavar="DIR", help="keep consoles and what the client saw (default: a new folder)")
    return parser.parse_args()


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        fleet = read_fleet(options.fleet)
    except (OSError, ValueError, TypeError) as error:
        print(f"image/fleet: {options.fleet}: {error}", file=sys.stderr)
        return 2
    options.logs = options.logs or tempfile.mkdtemp(prefix="etcd-rescue-fleet-")
    os.makedirs(options.logs, exist_ok=True)
    worst = 0
    with concurrent.futures.ThreadPoolExecutor(options.parallel) as pool:
        for done in concurrent.futures.as_completed([pool.submit(rescue, entry, options) for entry in fleet]):
            name, status, seconds, text = done.result()
            print(f"{name} exit={status} {seconds:.0f} s {text}", flush=True)
            worst = max(worst, status)
    return worst


if __name__ == "__main__":
    sys.exit(main())
