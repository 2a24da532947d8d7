"""The boot tier's cases of the appliance as a machine: how quickly it is there, what hardware it runs on, what it keeps shut.

Cases as in cases.py. Axes are combined, so that few boots cover them all."""
import os
import re
import select
import socket
import subprocess
import time

import cases
import disaster
import image_cases
import screens
import tpm_cases
import vm
import wizard_cases
from cases import BOOT_PATIENCE, OFF_PATIENCE, digest, expect, refused

FIRST_SCREEN = rb"waits for you on every console"
BARE_READY = rb"BARE READY"
BARE_INIT = "#!/bin/sh\necho BARE READY\nexec /bin/sleep 1000000\n"
SLOWER_THAN_BARE = 3      # times a bare busybox initramfs
ROUNDS = 3
FIRMWARE_SECONDS = 15     # more than by direct boot
IDLE_MIB = 200
SMALL_MACHINE_MIB = 512
SHELL_PATIENCE = 60


# -- size and time -----------------------------------------------------------------------------------------------


def bare_initrd(bench):
    """busybox and three lines of shell: the least that this kernel can come up with."""
    tree, out = bench.path("bare"), bench.path("bare.initrd")
    os.makedirs(os.path.join(tree, "bin"))
    subprocess.run(["cp", "/bin/busybox", os.path.join(tree, "bin/busybox")], check=True)
    for name in ("sh", "sleep"):
        os.symlink("busybox", os.path.join(tree, "bin", name))
    disaster.write(os.path.join(tree, "init"), BARE_INIT, 0o755)
    disaster.run(["sh", "-c", "cd \"$1\" && find . | cpio --quiet -o -H newc | zstd -q -10 > \"$2\"", "sh", tree, out])
    return out


def time_to(bench, line, **parts):
    """Until the console shows this: (seconds, seconds of processor time). The emulated machine waits for nothing but the
    processor, so on a quiet machine both are the same; elsewhere the second is the one to compare."""
    with vm.Vm(bench.machine(memory=1024, **parts)) as running:
        running.wait_for(line, BOOT_PATIENCE)
        return running.seconds(), running.work()


def the_first_screen_comes_quickly(bench):
    # In turn, and of each the quickest: the host's own load comes and goes.
    initrd = bare_initrd(bench)
    rounds = [(time_to(bench, BARE_READY, direct=True, initrd=initrd), time_to(bench, FIRST_SCREEN, direct=True),
               time_to(bench, FIRST_SCREEN)) for _ in range(ROUNDS)]
    bare, direct, firmware = (min(times, key=lambda both: both[1]) for times in zip(*rounds))
    show = lambda times: f"{times[0]:.1f} s ({times[1]:.1f} s of processor time)"  # noqa: E731
    words = (f"bare busybox {show(bare)}; first screen {show(direct)} by direct boot, {direct[1] / bare[1]:.1f} times; "
             f"{show(firmware)} through OVMF")
    print(words)
    expect(direct[1] <= SLOWER_THAN_BARE * bare[1], f"more than {SLOWER_THAN_BARE} times a bare initramfs: {words}")
    expect(firmware[1] <= direct[1] + FIRMWARE_SECONDS, f"firmware costs more than {FIRMWARE_SECONDS} s: {words}")
    return words


# -- hardware ----------------------------------------------------------------------------------------------------


def rescue(bench, during=None, screen="", **parts):
    """One whole rescue; the result's words. `during` gets the machine before the result is waited for."""
    image, secret, uuid = bench.state_disk()
    late = parts.pop("late", False)
    credentials = {vm.JOB_CREDENTIAL: bench.job(consent={"luks-uuid": uuid}), vm.SECRET_CREDENTIAL: secret}
    with vm.Vm(bench.machine(disks=[] if late else [image], credentials=credentials, **parts)) as running:
        if late:
            running.wait_for(rb"one job, unattended", BOOT_PATIENCE)
            running.hot_add(image)
        if during:
            during(running)
        running.wait_for(vm.RESULT, BOOT_PATIENCE)
        result = running.result()
        expect(result[0] == 0 and result[1].startswith("rescued: "), f"exit {result[0]}: {result[1]}")
        expect(running.wait_off(OFF_PATIENCE), "the machine did not power off after its job")
        if screen:
            start = disaster.FIRST_LINE.search(running.console).start()
            screens.keep(bench, screen, running.console[start:].decode(errors="replace"), screens.STAGES_END)
        return result[1]


def exported(bench, name):
    """A copy of an export of the image, because QEMU writes to the disk that it boots from."""
    folder, copy = image_cases.make_exports(bench), bench.path(name)
    subprocess.run(["cp", "--sparse=always", os.path.join(folder, name), copy], check=True)
    return copy


def with_secure_boot_from_a_vhd(bench):
    """Azure's disk format, Secure Boot that knows our key alone, a TPM, the state disk behind NVMe."""
    return rescue(bench, secure_boot=image_cases.certificate(), tpm=True, bus="nvme", boot_disk=exported(bench, "etcd-rescue.vhd"),
                  boot_format="vpc")


def unsigned_is_refused(bench):
    """The same firmware with the same keys does not start the image without its signature."""
    unsigned = bench.path("unsigned.efi")
    subprocess.run(["cp", os.path.join(vm.IMAGE_DIR, "etcd-rescue.efi"), unsigned], check=True)
    disaster.run(["sbattach", "--remove", unsigned])
    image = tpm_cases.image_with(bench, "unsigned.raw", {"EFI/BOOT/BOOTX64.EFI": unsigned})
    with vm.Vm(bench.machine(memory=1024, boot_disk=image, secure_boot=image_cases.certificate())) as running:
        words = running.wait_for(rb"BdsDxe: failed to (?:load|start)[^\r\n]*Access Denied", BOOT_PATIENCE)
    return words[0].decode(errors="replace")


def with_two_processors_from_a_vmdk(bench):
    """VMware's disk format, SATA, two processors, no TPM."""
    return rescue(bench, screen="job.txt", cpus=2, bus="ahci", boot_disk=exported(bench, "etcd-rescue.vmdk"), boot_format="vmdk")


def a_late_disk_is_waited_for(bench):
    """SCSI; the disk comes when the job is already looking for it. The same lines on hvc0."""
    hvc = []

    def follow(running):
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(BOOT_PATIENCE)
        line.connect(running.hvc_socket())
        hvc.append(line)

    words = rescue(bench, during=follow, late=True, direct=True, cpus=2, bus="virtio-scsi", hvc=True)
    shown = b""
    while part := hvc[0].recv(65536):
        shown += part
    hvc[0].close()
    expect(b"RESULT exit=0" in shown, f"hvc0 did not show the result: {shown[-300:]!r}")
    return words


def too_little_memory_is_said(bench):
    """A header that asks for 1 GiB on a machine with half of it, and with a PC BIOS."""
    image, secret, uuid = bench.state_disk()
    image_cases.make_expensive(bench, image, secret, uuid)
    before = digest(image)
    credentials = {vm.JOB_CREDENTIAL: bench.job(consent={"luks-uuid": uuid}), vm.SECRET_CREDENTIAL: secret}
    with vm.Vm(bench.machine(disks=[image], memory=SMALL_MACHINE_MIB, credentials=credentials, bios=True,
                             boot_disk=exported(bench, "etcd-rescue-bios.raw"))) as running:
        running.wait_for(vm.RESULT, BOOT_PATIENCE)
        status = running.result()[0]
        expect(status in (4, 7), f"exit {status}: {running.result()[1]}")
        reason = refused(running, status)
    expect(re.search(r"needs 1\d{3} MiB of memory", reason), f"the reason does not say how much memory is needed: {reason}")
    expect(digest(image) == before, "the disk was changed")
    return reason


# -- consoles and buttons ----------------------------------------------------------------------------------------


def no_key_gets_past_the_wizard(bench):
    """From the OpenStack image: whatever is typed, the wizard stays; the power button then ends the machine in order."""
    with vm.Vm(bench.machine(memory=1024, boot_disk=exported(bench, "etcd-rescue.qcow2"), boot_format="qcow2", hvc=True)) as running:
        line = wizard_cases.SerialLine(running, bench.path("console.log"))
        screens.keep(bench, "wizard-entry.txt", line.wait(FIRST_SCREEN.decode(), "Press Enter", patience=BOOT_PATIENCE))
        # SysRq is off from the start, before the machine is closed: Alt and b are a key like others, and claim the wizard.
        running.press("alt", "sysrq", "b")
        line.wait("in use on tty1", patience=60)
        line.type("t")
        line.wait("Take the wizard over from tty1?")
        line.type("y")
        line.wait("Nothing is changed before you confirm.")
        line.enter()
        line.wait("step 2 of", patience=60)
        running.type(b"\x03\x1a\x1c\x04~.\r\n")
        for codes in (["alt", "sysrq", "c"], ["alt", "sysrq", "o"], ["ctrl", "alt", "f2"], ["alt", "f9"], ["ctrl", "c"],
                      ["ctrl", "z"], ["alt", "f1"]):
            running.press(*codes)
        running.type(b"root\r\nroot\r\n!sh\r\n:!sh\r\n\x1b[24~")
        running.press("ctrl", "alt", "f3")
        expect(not running.wait_off(cases.STAYS_UP_SECONDS), "a key ended or rebooted the machine")
        expect(running.is_running(), "QEMU says that the machine is not running")
        for word in (rb"login:", rb"Password:", rb"\$ $", rb"# $", rb"sh: ", rb"sysrq:"):
            expect(not re.search(word, running.console, re.MULTILINE), f"the console offers {word.decode()!r}")
        running.command("system_powerdown")
        expect(running.wait_off(OFF_PATIENCE), "the power button did not power the machine off")
    return "the wizard stayed; the power button powered off"


# -- the debug variant -------------------------------------------------------------------------------------------


class DebugShell:
    """The shell on the debug variant's second serial line."""

    def __init__(self, running):
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(running.serial_socket())
        self.running, self.count = running, 0

    def ask(self, command):
        """What a command prints. The marks are put together by the shell, so that its echo does not hold them."""
        self.count += 1
        self.line.sendall(f"echo B''EGIN{self.count}; {command}; echo E''ND{self.count}\n".encode())
        seen, deadline = b"", time.monotonic() + SHELL_PATIENCE
        pattern = re.compile(rf"BEGIN{self.count}\r?\n(.*?)END{self.count}\r?\n".encode(), re.DOTALL)
        while not (match := pattern.search(seen)):
            expect(time.monotonic() < deadline, f"no answer from the debug shell to {command!r}: {seen[-500:]!r}")
            if select.select([self.line], [], [], 1.0)[0]:
                seen += self.line.recv(65536)
            self.running.read(0)  # the first line's console must not fill up
        return match[1].decode(errors="replace").replace("\r", "").strip()


def look_around(shell):
    """What holds in the running machine, the debug variant's own shell apart. Returns a line for the summary."""
    memory = dict(re.findall(r"(\w+): +(\d+) kB", shell.ask("cat /proc/meminfo")))
    # Not by MemAvailable: the kernel takes its own reserve (45 MiB here, and the zones') out of that, and it is free.
    given_back = ("MemFree", "Buffers", "KReclaimable")
    cache = int(memory["Cached"]) - int(memory["Shmem"])
    used = (int(memory["MemTotal"]) - cache - sum(int(memory[name]) for name in given_back)) >> 10
    expect(used < IDLE_MIB, f"{used} MiB of memory are in use while nothing is done")
    listeners = shell.ask("cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 /proc/net/raw 2>/dev/null | grep -v local_address")
    expect(not listeners, f"something listens: {listeners}")
    interfaces = shell.ask("ls /sys/class/net")
    expect(set(interfaces.split()) <= {"lo"}, f"there are network interfaces: {interfaces}")
    for setting, value in {"kernel/modules_disabled": "1", "kernel/sysrq": "0", "kernel/kexec_load_disabled": "1",
                           "kernel/yama/ptrace_scope": "3", "kernel/kptr_restrict": "2", "kernel/modprobe": "/usr/lib/etcd-rescue/modprobe",
                           "kernel/core_pattern": "|/bin/false"}.items():
        expect(shell.ask(f"cat /proc/sys/{setting}") == value, f"{setting} is not {value}")
    known = shell.ask("cat /proc/filesystems").split()
    expect({"ext4", "xfs", "btrfs", "vfat", "iso9660"} <= set(known), f"a file system has no driver: {known}")
    for command in ("touch /etc/x", "touch /usr/bin/x", "mkdir /x"):
        expect("Read-only" in shell.ask(f"{command} 2>&1"), f"the system can be written: {command}")
    failed = shell.ask("for u in /sys/fs/cgroup/system.slice/etcd-rescue-*; do echo ${u##*/}; done")
    expect("etcd-rescue-buttons.service" in failed, f"nobody watches the power button: {failed}")
    setuid = shell.ask("find / -xdev -perm /6000 -type f")
    expect(not setuid, f"setuid or setgid: {setuid}")
    return f"idle {used} MiB; nothing listens; no module loads; nothing can be written"


def the_debug_variant_cannot_unseal(bench):
    """A TPM that this image's secret was sealed to, and the same image with a shell: no secret; and what the shell sees."""
    disaster.run([os.path.join(cases.REPOSITORY, "image/build"), "--debug"])
    image, secret, uuid = bench.state_disk()
    state = tpm_cases.sealed_tpm(bench, secret)
    before = digest(image)
    credentials = {vm.JOB_CREDENTIAL: tpm_cases.tpm_job(bench, uuid)}
    with vm.Vm(bench.machine(memory=1024, tpm_state=state, disks=[image], image="etcd-rescue-debug", second_serial=True,
                             credentials=credentials)) as running:
        reason = refused(running, 4)
        expect(b"DEBUG IMAGE" in running.console, "the console does not say that this is a debug image")
        seen = look_around(DebugShell(running))
    expect(digest(image) == before, "the disk was changed")
    return f"{reason}; {seen}"


cases.ALL.update({
    "first-screen-quickly": the_first_screen_comes_quickly,
    "secure-boot-vhd-nvme-tpm": with_secure_boot_from_a_vhd,
    "secure-boot-refuses-unsigned": unsigned_is_refused,
    "two-cpus-vmdk-ahci": with_two_processors_from_a_vmdk,
    "late-scsi-disk-two-cpus-hvc": a_late_disk_is_waited_for,
    "too-little-memory-bios": too_little_memory_is_said,
    "no-shell-and-power-button-qcow2": no_key_gets_past_the_wizard,
    "debug-variant-cannot-unseal": the_debug_variant_cannot_unseal,
})
