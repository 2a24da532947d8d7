"""A virtual machine that boots the appliance: QEMU, its firmware, a software TPM, and the guest's console.

Used by image/boot (people), image/demo and tests/boot. Secrets reach the guest as systemd credentials through
files in a private directory on tmpfs, never through an argument list. Every process that is started here is
ended here, by its own handle.
"""
import base64
import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

IMAGE_DIR = os.path.join(os.path.dirname(__file__), "..", "..", "mkosi.output")
FIRMWARE_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
FIRMWARE_CODE_SECURE = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
FIRMWARE_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
# Whoever enrols a key names itself by a UUID; this one is made up.
KEY_OWNER = "7f1f4d0c-6c3b-4f0e-9d5c-2f6b5a1e8c44"

JOB_CREDENTIAL = "etcd-rescue.job"
SECRET_CREDENTIAL = "etcd-rescue.master-secret"
TPM_CREDENTIAL = "etcd-rescue.tpm-secret"

# The last line of `etcd-rescue run`; serial lines end with CR LF.
RESULT = re.compile(rb"^RESULT exit=(\d+) ([^\r\n]*)\r?\n", re.MULTILINE)
# What firmware and systemd send to set up a terminal; of no use in a log and harmful on the caller's own.
ESCAPES = re.compile(rb"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)|\[[0-9;?=!>]*[A-Za-z]|[()][A-Z0-9]|[=>c78]"
                     rb"|P[^\x1b]*\x1b\\)")
# An escape sequence that the next bytes will complete.
UNFINISHED_ESCAPE = re.compile(rb"\x1b[^A-Za-z\x07]{0,40}$")

# VGA text mode: a character and an attribute byte for each cell.
TEXT_SCREEN, SCREEN_COLUMNS, SCREEN_ROWS = 0xB8000, 80, 25

PR_SET_PDEATHSIG = 1
KVM_PATIENCE_SECONDS = 5
MONITOR_PATIENCE_SECONDS = 60


class MachineError(Exception):
    """The machine could not be started, or did not do what was waited for."""


def die_with_parent():
    """In the child: be killed when the parent dies, so that a killed script leaves no QEMU behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def kvm_works():
    """Whether KVM really runs a guest here.

    /dev/kvm alone proves nothing: in nested machines it can exist and never start a virtual CPU. So a guest
    of three instructions is run: a firmware whose reset vector writes 0x10 to the debug-exit port, which
    ends QEMU with status 0x10 * 2 + 1.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    firmware = bytearray(64 * 1024)
    code = bytes([0xB0, 0x10, 0xE6, 0xF4, 0xF4])  # mov al, 0x10; out 0xf4, al; hlt
    firmware[0xFFF0:0xFFF0 + len(code)] = code
    with tempfile.NamedTemporaryFile(suffix=".rom") as rom:
        rom.write(firmware)
        rom.flush()
        command = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-machine", "q35", "-m", "16",
                   "-nodefaults", "-no-user-config", "-display", "none", "-bios", rom.name,
                   "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, timeout=KVM_PATIENCE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0x10 * 2 + 1


def private_directory():
    """A directory that only this user may enter, in memory where the machine has a tmpfs."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    return tempfile.mkdtemp(prefix="etcd-rescue-vm-", dir=memory)


@dataclass
class Machine:
    """What the machine is made of. Paths; memory in MiB."""
    disks: list = field(default_factory=list)
    bus: str = "virtio-blk"                          # of the disks: or virtio-scsi, nvme, ahci
    credentials: dict = field(default_factory=dict)  # name -> file
    via: str = "smbios"                              # or "fw_cfg": how credentials travel
    memory: int = 2048
    cpus: int = 0                                    # 0: two with KVM, else one
    image: str = "etcd-rescue"                       # or "etcd-rescue-debug"
    direct: bool = False                             # kernel and initrd without firmware
    initrd: str = ""                                 # direct: instead of the image's
    secure_boot: str = ""                            # certificate: the firmware starts what it has signed, and nothing else
    hvc: bool = False                                # a virtio console (hvc0), on the socket hvc_socket()
    second_serial: bool = False                      # ttyS1, on the socket serial_socket()
    tpm: bool = False
    tpm_state: str = ""                              # directory that outlives the machine; else a new TPM
    smbios: list = field(default_factory=list)       # further OEM strings (type 11), in plain sight
    boot_disk: str = ""                              # instead of image_dir's; writable then
    rpc: bool = False                                # virtio-serial port org.etcd-rescue.0, on the socket rpc_socket()
    cmdline: str = ""                                # direct: more words for the kernel
    boot_format: str = "raw"                         # of boot_disk, as QEMU names it
    bios: bool = False                               # boot_disk is for a PC BIOS
    stay: bool = False                               # after power-off memory stays, to be looked at
    graphical: bool = False
    image_dir: str = IMAGE_DIR
    log: str = ""                                    # raw console bytes


class Vm:
    """A running machine; use as a context manager."""

    def __init__(self, machine):
        self.machine = machine
        self.console = b""        # everything so far, escape sequences removed
        self.started = 0.0
        self.accelerator = ""
        self._undecoded = b""
        self._scratch = None
        self._log = None
        self._children = []
        self._qemu = None
        self._monitor = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_):
        self._stop()

    # -- watching the console ------------------------------------------------------------------------

    def seconds(self):
        """Since power-on."""
        return time.monotonic() - self.started

    def work(self):
        """Seconds of processor time that the machine has used so far: what other programs do at the same time does not count."""
        with open(f"/proc/{self._qemu.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def read(self, timeout):
        """The next cleaned console bytes; b"" on timeout, None when the machine is off."""
        ready, _, _ = select.select([self._qemu.stdout], [], [], max(timeout, 0))
        if not ready:
            return b""
        raw = os.read(self._qemu.stdout.fileno(), 65536)
        if not raw:
            self._qemu.wait()
            return None
        if self._log:
            self._log.write(raw)
            self._log.flush()
        text = self._undecoded + raw
        unfinished = UNFINISHED_ESCAPE.search(text)
        cut = unfinished.start() if unfinished else len(text)
        self._undecoded = text[cut:]
        clean = ESCAPES.sub(b"", text[:cut])
        self.console += clean
        return clean

    def wait_for(self, pattern, timeout, show=None):
        """Reads until the regular expression matches the whole console so far; returns the match."""
        compiled = re.compile(pattern, re.MULTILINE) if isinstance(pattern, bytes) else pattern
        deadline = time.monotonic() + timeout
        while True:
            match = compiled.search(self.console)
            if match:
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                raise MachineError(f"the console did not show {compiled.pattern!r} in {timeout:.0f} s")
            clean = self.read(min(left, 1.0))
            if clean is None:
                match = compiled.search(self.console)
                if match:
                    return match
                raise MachineError(f"the machine ended before it showed {compiled.pattern!r}")
            if show and clean:
                show(clean)

    def wait_off(self, timeout, show=None):
        """True when the machine powers itself off in time."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            clean = self.read(min(left, 1.0))
            if clean is None:
                return True
            if show and clean:
                show(clean)
        return False

    def result(self):
        """(exit, words) of the job's last line, or None."""
        match = RESULT.search(self.console)
        return (int(match[1]), match[2].decode(errors="replace").strip()) if match else None

    def wait_shut_down(self, timeout):
        """With Machine.stay: True when the machine has shut itself down in time; its memory is still there."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.command("query-status")["status"] == "shutdown":
                return True
            self.read(1.0)
        return False

    def rpc_socket(self):
        return os.path.join(self._scratch, "rpc")

    def press(self, *codes):
        """Keys of the machine's keyboard, all together (QEMU's names)."""
        self.command("send-key", keys=[{"type": "qcode", "data": code} for code in codes], **{"hold-time": 20})

    def hot_add(self, path):
        """Attaches a further disk to the running machine (bus virtio-scsi)."""
        self.command("blockdev-add", **{"driver": "raw", "node-name": "late", "file": {"driver": "file", "filename": path}})
        self.command("device_add", driver="scsi-hd", bus="scsi0.0", drive="late", id="late-disk")

    def hvc_socket(self):
        return os.path.join(self._scratch, "hvc")

    def serial_socket(self):
        return os.path.join(self._scratch, "serial1")

    def type(self, text):
        """Bytes to the serial line."""
        self._qemu.stdin.write(text)
        self._qemu.stdin.flush()

    def save_memory(self, path):
        """All of the machine's memory, as it is now: pause the machine first (command "stop")."""
        self.command("pmemsave", val=0, size=self.machine.memory << 20, filename=path)

    def is_running(self):
        """What QEMU says, not what the console looks like."""
        return self._qemu.poll() is None and self.command("query-status")["running"]

    def screen(self):
        """The lines on the machine's screen while it is in text mode (direct boot: no firmware framebuffer)."""
        cells = os.path.join(self._scratch, "screen")
        self.command("pmemsave", val=TEXT_SCREEN, size=SCREEN_COLUMNS * SCREEN_ROWS * 2, filename=cells)
        with open(cells, "rb") as file:
            text = file.read()[::2].decode("cp437")
        return [text[start:start + SCREEN_COLUMNS].rstrip() for start in range(0, len(text), SCREEN_COLUMNS)]

    def command(self, name, **arguments):
        """A QMP command's return value."""
        if self._monitor is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(300)  # writing all memory to a slow disk
            self._connect(connection)
            self._monitor = connection.makefile("rwb")
            json.loads(self._monitor.readline())  # greeting
            self.command("qmp_capabilities")
        self._monitor.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        self._monitor.flush()
        while True:
            answer = json.loads(self._monitor.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise MachineError(f"QEMU refused {name}: {answer['error']['desc']}")

    def _connect(self, monitor):
        """QEMU makes the monitor's socket a moment after it was started, and says nothing then."""
        deadline = time.monotonic() + MONITOR_PATIENCE_SECONDS
        while True:
            try:
                return monitor.connect(os.path.join(self._scratch, "monitor"))
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if self._qemu.poll() is not None or time.monotonic() > deadline:
                    raise MachineError("QEMU has no monitor") from error
            time.sleep(0.05)

    # -- starting and ending -------------------------------------------------------------------------

    def _file(self, name):
        path = os.path.normpath(os.path.join(self.machine.image_dir, name))
        if not os.path.exists(path):
            raise MachineError(f"{path} is missing: run image/build first")
        return path

    def _start(self):
        self._scratch = private_directory()
        if self.machine.log:
            self._log = open(self.machine.log, "wb")
        arguments = self._platform() + self._boot_source() + self._disks() + self._credentials()
        if self.machine.tpm or self.machine.tpm_state:
            arguments += self._tpm()
        if self.machine.rpc:
            arguments += ["-device", "virtio-serial-pci,id=rpc", "-chardev", f"socket,id=rpc,path={self.rpc_socket()},server=on,wait=off",
                          "-device", "virtserialport,bus=rpc.0,chardev=rpc,name=org.etcd-rescue.0"]
        if self.machine.stay:
            arguments.append("-no-shutdown")
        self.started = time.monotonic()
        self._qemu = self._spawn(["qemu-system-x86_64", *arguments], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)

    def _spawn(self, command, stdin=subprocess.DEVNULL, **options):
        try:
            child = subprocess.Popen(command, stdin=stdin, preexec_fn=die_with_parent, **options)
        except FileNotFoundError as error:
            raise MachineError(f"{command[0]} is not installed") from error
        self._children.append(child)
        return child

    def _stop(self):
        if self._qemu and self._qemu.poll() is None:
            try:
                self.command("quit")  # flushes the disks
                self._qemu.wait(10)
            except (MachineError, OSError, ValueError, subprocess.TimeoutExpired):
                pass  # then by signal, as all others
        for child in reversed(self._children):
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(10)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        if self._qemu and self._qemu.stdout:
            self._qemu.stdout.close()
        if self._qemu and self._qemu.stdin:
            self._qemu.stdin.close()
        if self._log:
            self._log.close()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _platform(self):
        if kvm_works():
            self.accelerator, accelerator, cpu, cpus = "kvm", "kvm", "host", self.machine.cpus or 2
        else:
            # max has AES instructions in TCG, too. Two things crash Debian 13's kernel under QEMU 7.2, at random:
            # - cmpxchg16b leaves garbage in the flags register (EFLAGS like bde87682 in the oops): 5 of 14
            #   boots, none of 10 without cx16; a kernel that lacks the feature never uses it
            # - with two CPUs, each in its own thread, one runs into a breakpoint that the other has already
            #   taken away again while patching code: 1 of 7 boots; so all CPUs take turns in one thread
            self.accelerator, accelerator, cpu, cpus = "tcg", "tcg,thread=single", "max,cx16=off", self.machine.cpus or 1
        machine = "q35,smm=on" if self.machine.secure_boot else "q35"
        arguments = ["-nodefaults", "-no-user-config", "-machine", machine, "-accel", accelerator, "-cpu", cpu, "-smp", str(cpus),
                     "-m", str(self.machine.memory), "-device", "VGA", "-device", "virtio-rng-pci", "-no-reboot",
                     "-display", "gtk" if self.machine.graphical else "none",
                     "-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial",
                     "-qmp", f"unix:{self._scratch}/monitor,server=on,wait=off"]
        if self.machine.second_serial:
            arguments += ["-chardev", f"socket,id=serial1,path={self.serial_socket()},server=on,wait=off",
                          "-serial", "chardev:serial1"]
        if self.machine.hvc:
            arguments += ["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=hvc",
                          "-chardev", f"socket,id=hvc,path={self.hvc_socket()},server=on,wait=off"]
        return arguments

    def _boot_source(self):
        if self.machine.direct:
            with open(self._file(f"{self.machine.image}.cmdline"), encoding="ascii") as file:
                cmdline = f"{file.read().strip()} {self.machine.cmdline}".strip()
            return ["-kernel", self._file("etcd-rescue.vmlinuz"), "-append", cmdline,
                    "-initrd", self.machine.initrd or self._file(f"{self.machine.image}.initrd")]
        boot = ["-drive", self._boot_drive(), "-device", "virtio-blk-pci,drive=boot,bootindex=0"]
        if self.machine.bios:
            return boot
        variables = os.path.join(self._scratch, "vars.fd")
        code, secure = FIRMWARE_CODE, []
        if self.machine.secure_boot:
            # Only the firmware, in system management mode, may write its variables.
            code = FIRMWARE_CODE_SECURE
            secure = ["-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"]
            self._enrol(variables)
        else:
            shutil.copyfile(FIRMWARE_VARS, variables)
        return secure + ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
                         "-drive", f"if=pflash,unit=1,format=raw,file={variables}", *boot]

    def _enrol(self, variables):
        """Firmware variables that know this certificate alone, as platform key, exchange key and signer of images."""
        owner = [KEY_OWNER, self.machine.secure_boot]
        command = ["virt-fw-vars", "--input", FIRMWARE_VARS, "--output", variables, "--set-pk", *owner, "--add-kek", *owner,
                   "--add-db", *owner, "--secure-boot"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  check=False)
        except FileNotFoundError as error:
            raise MachineError("virt-fw-vars is not installed") from error
        if done.returncode != 0:
            raise MachineError(f"no firmware variables with {self.machine.secure_boot}: {done.stdout}")

    def _boot_drive(self):
        if self.machine.boot_disk:
            return (f"if=none,id=boot,format={self.machine.boot_format},cache=writeback,snapshot=off,"
                    f"file={self.machine.boot_disk}")
        return f"if=none,id=boot,format=raw,readonly=on,file={self._file(self.machine.image + '.raw')}"

    def _disks(self):
        device = {"virtio-blk": "virtio-blk-pci", "virtio-scsi": "scsi-hd,bus=scsi0.0", "nvme": "nvme",
                  "ahci": "ide-hd"}[self.machine.bus]
        arguments = ["-device", "virtio-scsi-pci,id=scsi0"] if self.machine.bus == "virtio-scsi" else []
        for number, path in enumerate(self.machine.disks):
            more = {"nvme": f",serial=disk{number}", "ahci": f",bus=ide.{number}"}.get(self.machine.bus, "")
            # Writeback keeps the guest's flushes, and unlike cache=none works on every file system.
            arguments += ["-drive", f"if=none,id=disk{number},format=raw,cache=writeback,file={path}",
                          "-device", f"{device},drive=disk{number}{more}"]
        return arguments

    def _credentials(self):
        arguments = [word for text in self.machine.smbios for word in ("-smbios", f"type=11,value={text}")]
        for number, (name, path) in enumerate(self.machine.credentials.items()):
            if self.machine.via == "fw_cfg":
                arguments += ["-fw_cfg", f"name=opt/io.systemd.credentials/{name},file={path}"]
                continue
            with open(path, "rb") as file:
                content = base64.b64encode(file.read()).decode()
            text = os.path.join(self._scratch, f"smbios{number}")
            with open(text, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as file:
                file.write(f"io.systemd.credential.binary:{name}={content}")
            arguments += ["-smbios", f"type=11,path={text}"]
        return arguments

    def _tpm(self):
        control = os.path.join(self._scratch, "tpm")
        state = self.machine.tpm_state or os.path.join(self._scratch, "tpm-state")
        os.makedirs(state, exist_ok=True)
        self._spawn(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
                     "--ctrl", f"type=unixio,path={control}"])
        deadline = time.monotonic() + 10
        while not os.path.exists(control):
            if time.monotonic() > deadline or self._children[-1].poll() is not None:
                raise MachineError("swtpm did not start")
            time.sleep(0.02)
        return ["-chardev", f"socket,id=tpm,path={control}", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
                "-device", "tpm-crb,tpmdev=tpm0"]
