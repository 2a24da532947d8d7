"""The boot tier's cases of automation: image/rescue-client and image/fleet at the machine's ports, and jobs that
say what happens at their end."""
import base64
import json
import os
import subprocess
import sys
import threading

import cases
import vm
from cases import expect
from disaster import write

CLIENT = os.path.join(cases.REPOSITORY, "image", "rescue-client")
FLEET = os.path.join(cases.REPOSITORY, "image", "fleet")
PATIENCE = 600
OFF_PATIENCE = 60


class Console(threading.Thread):
    """Reads the machine's console while a client talks, so that the machine never waits for its reader."""

    def __init__(self, running):
        super().__init__(daemon=True)
        self.running, self.ended = running, threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()

    def run(self):
        while not self.ended.is_set() and self.running.read(0.5) is not None:
            pass


def client(address, *words):
    return subprocess.Popen([sys.executable, CLIENT, "--timeout", str(PATIENCE), "--json", address, *words],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(child, status, *texts):
    """What it printed as JSON."""
    out, err = child.communicate(timeout=PATIENCE + 10)
    expect(child.returncode == status, f"the client's exit is {child.returncode} instead of {status}:\n{err}{out}")
    for text in texts:
        expect(text in err + out, f"the client did not show {text!r}:\n{err}{out}")
    return json.loads(out) if out.strip() else None


def rescued_without_its_client(running, job, secret):
    """The final record, which the second client gets."""
    # Before the machine has started: it waits for the appliance's word.
    first = client(running.rpc_socket(), "job", job, "--secret", secret)
    while not (line := first.stderr.readline()).startswith("inspect"):
        expect(line or first.poll() is None, "the client ended before the job was at work")
    first.kill()
    first.communicate()
    final = ended(client(running.rpc_socket(), "watch"), 0, "rescued")
    expect(final["report"]["applied"], f"the final record has no report: {final}")
    return final


def a_client_on_the_virtio_port_comes_and_goes(bench):
    image, secret, uuid = bench.state_disk()
    job = bench.job(consent={"luks-uuid": uuid})
    with vm.Vm(bench.machine(disks=[image], rpc=True, direct=True)) as running:
        with Console(running):
            final = rescued_without_its_client(running, job, secret)
            again = ended(client(running.rpc_socket(), "job", job, "--secret", secret, "--power-off"), 0, "nothing to do")
            expect(again["job"] == final["job"] + 1, f"the second job has the number {again['job']}")
        expect(running.wait_off(OFF_PATIENCE), "the machine did not power off")
    console = running.console.decode(errors="replace")
    expect("JSON-RPC on /dev/virtio-ports/org.etcd-rescue.0" in console, "the console does not say who asks")
    expect("apply     ok" in console and "RESULT exit=0 rescued" in console, "people saw no progress on the console")
    expect("waits for you" not in console, "the wizard ran, too")
    return final["text"]


def the_second_serial_line_when_asked(bench):
    image, secret, _ = bench.state_disk()
    before = cases.digest(image)
    write(bench.path("console"), "rpc")
    job = bench.job(consent={"luks-uuid": cases.OTHER_UUID}, **{"at-failure": "power-off"})
    credentials = {"etcd-rescue.console": bench.path("console"), vm.SECRET_CREDENTIAL: secret}
    with vm.Vm(bench.machine(disks=[image], credentials=credentials, second_serial=True, direct=True)) as running:
        with Console(running):
            final = ended(client(running.serial_socket(), "job", job), 7, "no-consent")
        expect(running.wait_off(OFF_PATIENCE), "the machine did not power off as the job says")
    expect(b"JSON-RPC on /dev/ttyS1" in running.console, "the console does not say where JSON-RPC is spoken")
    expect(cases.digest(image) == before, "the disk was changed")
    return final["text"]


def a_job_on_the_kernel_command_line(bench):
    job = {"version": 1, "consent": {"luks-uuid": cases.OTHER_UUID}, "at-failure": "power-off"}
    text = base64.b64encode(json.dumps(job).encode()).decode()
    with vm.Vm(bench.machine(cmdline=f"systemd.set_credential_binary={vm.JOB_CREDENTIAL}:{text}", direct=True)) as running:
        running.wait_for(vm.RESULT, cases.BOOT_PATIENCE)
        status, reason = running.result()
        expect(status == 3, f"exit {status} instead of 3: {reason}")
        expect(running.wait_off(OFF_PATIENCE), "the machine did not power off as the job says")
    return reason


def a_fleet_of_three(bench):
    fleet, images = [], []
    for number in range(3):
        image, secret, uuid = bench.state_disk()
        images.append(bench.path(f"cp-{number}.img"))
        os.rename(image, images[-1])
        # The last one is not ours.
        consent = {"luks-uuid": uuid if number < 2 else cases.OTHER_UUID}
        fleet.append({"name": f"cp-{number}", "disk": images[-1], "secret": secret, "job": {"version": 1, "consent": consent}})
    write(bench.path("fleet.json"), json.dumps(fleet))
    before = [cases.digest(image) for image in images]
    done = subprocess.run([FLEET, "--parallel", "3", "--memory", "1024", "--direct", "--logs", bench.work, bench.path("fleet.json")],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    lines = sorted(done.stdout.splitlines())
    shown = done.stdout + done.stderr
    expect(len(lines) == 3, f"not one line each:\n{shown}")
    for number, line in enumerate(lines):
        expect(line.startswith(f"cp-{number} exit={0 if number < 2 else 7} "), f"{line}\n{shown}")
    expect(done.returncode == 7, f"exit {done.returncode}:\n{shown}")
    changed = [cases.digest(image) != digest for image, digest in zip(images, before)]
    expect(changed == [True, True, False], f"changed disks: {changed}")
    return "; ".join(lines)


cases.ALL.update({
    "rpc-virtio-port": a_client_on_the_virtio_port_comes_and_goes,
    "rpc-second-serial-line": the_second_serial_line_when_asked,
    "job-on-kernel-command-line": a_job_on_the_kernel_command_line,
    "fleet-of-three": a_fleet_of_three,
})
