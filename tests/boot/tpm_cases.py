"""The boot tier's cases about secrets: sealed to a (software) TPM by one boot and unsealed by another, typed on the
console, and what of them is left in the machine's memory.

Cases as in cases.py. Sealing happens once a run; each case then works on a copy of that TPM."""
import base64
import contextlib
import json
import mmap
import os
import re
import shutil
import subprocess

import cases
import disaster
import vm
from cases import BOOT_PATIENCE, OFF_PATIENCE, REPOSITORY, digest, expect, refused

MEMORY_MIB = 1024
PROMPT = rb"Master secret or disk key \(type or paste it, then Enter; nothing is shown\): "
STUB_FOLDER = "/usr/lib/systemd/boot/efi"


# -- images besides the usual one --------------------------------------------------------------------------------


def esp_offset(image):
    table = disaster.run(["sfdisk", "--dump", image])
    return int(re.search(r"start= *(\d+),", table)[1]) * 512


def image_with(bench, name, files):
    """A copy of the image, with these further files ({path on the ESP: file}); a path that exists is replaced."""
    image = bench.path(name)
    subprocess.run(["cp", "--sparse=always", os.path.join(vm.IMAGE_DIR, "etcd-rescue.raw"), image], check=True)
    esp = f"{image}@@{esp_offset(image)}"
    for path, file in files.items():
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "::/" + "/".join(parts[:depth])
            if subprocess.run(["mdir", "-b", "-i", esp, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode:
                disaster.run(["mmd", "-i", esp, folder])
        disaster.run(["mcopy", "-o", "-i", esp, file, "::/" + path])
    return image


def ukify(*arguments):
    # Debian's own interpreter: another python3 in front of it lacks pefile.
    disaster.run(["/usr/bin/python3", "/usr/lib/systemd/ukify", "build", *arguments])


def image_of_another_builder(bench):
    """The same kernel, initrd and command line, signed with a key of its own."""
    key, public = bench.path("other.key"), bench.path("other.pem")
    disaster.run(["openssl", "genrsa", "-out", key, "2048"])
    disaster.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public])
    part = lambda ending: os.path.join(vm.IMAGE_DIR, "etcd-rescue." + ending)  # noqa: E731
    with open(part("cmdline"), encoding="utf-8") as file:
        cmdline = file.read().strip()
    disaster.write(bench.path("os-release"), "ID=debian\nVERSION_ID=13\n")
    stub = next(path for path in (os.path.join(STUB_FOLDER, "linuxx64.efi.stub"),) if os.path.exists(path))
    ukify("--linux", part("vmlinuz"), "--initrd", part("initrd"), "--stub", stub, "--cmdline", cmdline,
          "--os-release", "@" + bench.path("os-release"), "--uname", "6.12", "--pcr-private-key", key,
          "--pcr-public-key", public, "--pcr-banks", "sha256", "--output", bench.path("other.efi"))
    return image_with(bench, "other.raw", {"EFI/BOOT/BOOTX64.EFI": bench.path("other.efi")})


def image_with_addon(bench):
    """The image itself, with a kernel command line add-on beside it."""
    ukify("--cmdline", "etcd-rescue.addon=1", "--stub", os.path.join(STUB_FOLDER, "addonx64.efi.stub"), "--output",
          bench.path("more.addon.efi"))
    return image_with(bench, "addon.raw", {"EFI/BOOT/BOOTX64.EFI.extra.d/more.addon.efi": bench.path("more.addon.efi")})


# -- sealing and unsealing ---------------------------------------------------------------------------------------


def seal_job(bench, **seal):
    disaster.write(bench.path("seal.json"), json.dumps({"version": 1, "seal": seal, "secret": {"from": "credential"}}))
    return bench.path("seal.json")


def boot_to_result(bench, patience=BOOT_PATIENCE, **parts):
    """Boots, waits for the job's last line and for power-off; the result and the console."""
    with vm.Vm(bench.machine(memory=MEMORY_MIB, **parts)) as running:
        running.wait_for(vm.RESULT, patience)
        result = running.result()
        if result[0] == 0:
            expect(running.wait_off(OFF_PATIENCE), "the machine did not power off after its job")
        return result, running.console


def sealed_tpm(bench, secret):
    """A copy of a TPM into which a boot of the image has sealed this secret (NV index)."""
    ready = os.path.join(bench.shared, "sealed-tpm")
    with bench.alone("sealed-tpm"):
        if not os.path.isdir(ready):
            fresh = bench.path("tpm-fresh")
            result, _ = boot_to_result(bench, tpm_state=fresh, credentials={
                vm.JOB_CREDENTIAL: seal_job(bench, to="nv"), vm.SECRET_CREDENTIAL: secret})
            expect(result[0] == 0, f"sealing ended with exit {result[0]}: {result[1]}")
            expect("NV index" in result[1], f"it does not say where the secret is: {result[1]}")
            shutil.copytree(fresh, ready, ignore=shutil.ignore_patterns(".lock"))
    return shutil.copytree(ready, bench.path("tpm-state"))


def tpm_job(bench, uuid):
    return bench.job(consent={"luks-uuid": uuid}, secret={"from": "tpm"})


def a_sealed_secret_rescues_unattended(bench):
    image, secret, uuid = bench.state_disk()
    state = sealed_tpm(bench, secret)
    result, _ = boot_to_result(bench, tpm_state=state, disks=[image],
                               credentials={vm.JOB_CREDENTIAL: tpm_job(bench, uuid)})
    expect(result[0] == 0 and result[1].startswith("rescued: "), f"exit {result[0]}: {result[1]}")
    return "sealed by one boot, rescued by the next: " + result[1]


def a_blob_works_as_text_in_a_credential(bench):
    """Sealed to the console, copied from there, given to the next boot as a credential."""
    image, secret, uuid = bench.state_disk()
    state = bench.path("tpm-state")
    result, console = boot_to_result(bench, tpm_state=state, credentials={
        vm.JOB_CREDENTIAL: seal_job(bench, to="console"), vm.SECRET_CREDENTIAL: secret})
    expect(result[0] == 0, f"sealing ended with exit {result[0]}: {result[1]}")
    text = re.search(rb"-----BEGIN ETCD-RESCUE TPM SECRET-----.*?-----END ETCD-RESCUE TPM SECRET-----", console, re.DOTALL)
    expect(text, "the console shows no sealed secret")
    disaster.write(bench.path("blob.txt"), text[0].decode())
    result, _ = boot_to_result(bench, tpm_state=state, disks=[image], credentials={
        vm.JOB_CREDENTIAL: tpm_job(bench, uuid), vm.TPM_CREDENTIAL: bench.path("blob.txt")})
    expect(result[0] == 0 and result[1].startswith("rescued: "), f"exit {result[0]}: {result[1]}")
    return result[1]


def a_blob_on_the_esp_is_found(bench):
    """Sealed by the image itself onto the disk that it was booted from; the next boot finds its job there, too."""
    image, secret, uuid = bench.state_disk()
    state, boot_disk = bench.path("tpm-state"), image_with(bench, "boot.raw", {})
    result, _ = boot_to_result(bench, tpm_state=state, boot_disk=boot_disk, credentials={
        vm.JOB_CREDENTIAL: seal_job(bench, to="esp"), vm.SECRET_CREDENTIAL: secret})
    expect(result[0] == 0 and "on the ESP" in result[1], f"exit {result[0]}: {result[1]}")
    disaster.run(["mcopy", "-o", "-i", f"{boot_disk}@@{esp_offset(boot_disk)}", tpm_job(bench, uuid), "::/etcd-rescue/job.json"])
    result, _ = boot_to_result(bench, tpm_state=state, boot_disk=boot_disk, disks=[image])
    expect(result[0] == 0 and result[1].startswith("rescued: "), f"exit {result[0]}: {result[1]}")
    return result[1]


def unseal_refused(bench, words, **parts):
    """A boot that must not get the secret: exit 4 with these words, disk unchanged."""
    image, secret, uuid = bench.state_disk()
    state = sealed_tpm(bench, secret)
    before = digest(image)
    with vm.Vm(bench.machine(memory=MEMORY_MIB, tpm_state=state, disks=[image],
                             credentials={vm.JOB_CREDENTIAL: tpm_job(bench, uuid)}, **parts)) as running:
        reason = refused(running, 4)
    for word in words:
        expect(word in reason, f"the reason does not say {word!r}: {reason}")
    expect(digest(image) == before, "the disk was changed")
    return reason


def another_builders_image_cannot_unseal(bench):
    return unseal_refused(bench, ["signed with key", "sealed for key"], boot_disk=image_of_another_builder(bench))


def a_command_line_from_smbios_cannot_unseal(bench):
    return unseal_refused(bench, ["PCR 12", "kernel command line", "0" * 64],
                          smbios=["io.systemd.stub.kernel-cmdline-extra=etcd-rescue.extra=1"])


def an_addon_on_the_esp_cannot_unseal(bench):
    return unseal_refused(bench, ["PCR 12", "add-ons on the ESP", "0" * 64], boot_disk=image_with_addon(bench))


# -- tokens that systemd enrolled ---------------------------------------------------------------------------------


@contextlib.contextmanager
def tpm_of_the_host(bench, state):
    """A software TPM with this state while somebody on the host uses it; the TCTI that reaches it."""
    socket, pid = bench.path("tpm"), bench.path("tpm.pid")
    os.makedirs(state)
    os.mkfifo(pid)  # swtpm writes its process ID when it listens
    process = subprocess.Popen(
        ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--server", f"type=unixio,path={socket}", "--ctrl",
         f"type=unixio,path={socket}.ctrl", "--flags", "not-need-init,startup-clear", "--pid", f"file={pid}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with open(pid, encoding="utf-8") as listens:
            listens.read()
        yield f"swtpm:path={socket}"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(os.path.join(state, ".lock"), ignore_errors=True)


def a_token_of_systemd_opens_the_disk(bench):
    """Enrolled by the real systemd-cryptenroll with the machine's TPM; no secret reaches the machine."""
    image, secret, uuid = bench.state_disk()
    state, key = bench.path("tpm-state"), bench.path("disk.key")
    with open(key, "wb", opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.write(subprocess.run([os.path.join(REPOSITORY, "tests/uml/derive-key"), uuid, secret], check=True,
                                  stdout=subprocess.PIPE).stdout)
    with tpm_of_the_host(bench, state) as tcti:
        disaster.run(["systemd-cryptenroll", f"--unlock-key-file={key}", f"--tpm2-device={tcti}", "--tpm2-pcrs=", image])
    os.unlink(key)
    with open(image, "rb") as file:
        header = file.read(16 << 20)
    job = bench.job(consent={"luks-uuid": uuid}, secret={"from": "token"}, profile="luks2")
    result, console = boot_to_result(bench, tpm_state=state, disks=[image], credentials={vm.JOB_CREDENTIAL: job})
    expect(result[0] == 0 and result[1].startswith("rescued: "), f"exit {result[0]}: {result[1]}")
    expect(b"token" in console, "the console does not say that a token opened the disk")
    with open(image, "rb") as file:
        expect(file.read(16 << 20) == header, "the header area was changed")
    return result[1]


# -- what is left in memory --------------------------------------------------------------------------------------


class Needles:
    """Everything secret about a state disk, in the forms in which it could lie in memory."""

    def __init__(self, bench, image, secret_file, uuid):
        with open(secret_file, encoding="utf-8") as file:
            self.document = file.read().encode()
        fields = json.loads(self.document)
        key, salt = base64.b64decode(fields["key"]), base64.b64decode(fields["salt"])
        forms = disaster.Secrets(key, salt, uuid, secret_file).forms
        self.master = {name: form for name, form in forms.items() if not name.startswith("disk key")}
        self.master["document"] = self.document
        self.disk = {name: form for name, form in forms.items() if name.startswith("disk key")}
        # Each cipher's own key: an expanded AES key starts with it, too.
        volume_key = self._volume_key(bench, image, forms["disk key, raw"])
        for start in range(0, len(volume_key), 32):
            self.disk[f"volume key, bytes {start} to {start + 31}"] = volume_key[start:start + 32]

    @staticmethod
    def _volume_key(bench, image, disk_key):
        """By cryptsetup, from a copy of the header: it must not even look at the disk under test."""
        header, key, out = bench.path("header.img"), bench.path("disk.key"), bench.path("volume.key")
        with open(image, "rb") as source, open(header, "wb") as copy:
            copy.write(source.read(16 << 20))
            copy.truncate(os.path.getsize(image))
        with open(key, "wb", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(disk_key)
        try:
            disaster.run(["cryptsetup", "luksDump", "--batch-mode", "--dump-volume-key", "--volume-key-file", out,
                          "--key-file", key, header])
            with open(out, "rb") as file:
                return file.read()
        finally:
            for path in (key, out, header):
                if os.path.exists(path):
                    os.unlink(path)


def found_in(path, needles):
    """{name: offsets of its first occurrences} of the needles that a memory image holds."""
    found = {}
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        for name, needle in needles.items():
            at = memory.find(needle)
            while at >= 0 and len(found.setdefault(name, [])) < 5:
                found[name].append(hex(at))
                at = memory.find(needle, at + 1)
    return found


def memory_holds(running, bench, needles):
    """What the machine's memory holds at this moment; a machine that has shut down stays as it is."""
    image = bench.path("memory")
    was_running = running.is_running()
    if was_running:
        running.command("stop")
    try:
        running.save_memory(image)
        return found_in(image, needles)
    finally:
        if os.path.exists(image):
            os.unlink(image)
        if was_running:
            running.command("cont")


def rescue_and_look(bench, needles, start=None, **parts):
    """Runs a rescue with the machine's memory looked at while the volume is open, at the job's last line, and after
    power-off; {moment: what was found}."""
    found = {}
    with vm.Vm(bench.machine(memory=MEMORY_MIB, stay=True, **parts)) as running:
        if start:
            start(running)
        running.wait_for(rb"^unlock +ok", BOOT_PATIENCE)
        found["open"] = memory_holds(running, bench, needles)
        running.wait_for(vm.RESULT, BOOT_PATIENCE)
        found["result"] = memory_holds(running, bench, needles)
        result = running.result()
        expect(result[0] == 0, f"exit {result[0]}: {result[1]}")
        expect(running.wait_shut_down(OFF_PATIENCE), "the machine did not shut down")
        found["off"] = memory_holds(running, bench, needles)
    print(json.dumps(found))
    # A search that finds nothing proves something only if it can find: the open volume's key is in memory.
    volume_key = [name for name in found["open"] if name.startswith("volume key")]
    expect(volume_key, f"the search does not even find the key of the open volume: {found['open']}")
    return found


def nothing_left(found):
    for moment in ("result", "off"):
        expect(not found[moment], f"memory still holds, at {moment}: {found[moment]}")


def after_a_tpm_rescue_memory_holds_no_secret(bench):
    image, secret, uuid = bench.state_disk()
    needles = Needles(bench, image, secret, uuid)
    state = sealed_tpm(bench, secret)
    found = rescue_and_look(bench, needles.master | needles.disk, tpm_state=state, disks=[image],
                            credentials={vm.JOB_CREDENTIAL: tpm_job(bench, uuid)})
    nothing_left(found)
    return f"while the volume was open: {', '.join(sorted(found['open']))}; afterwards nothing"


def after_a_typed_rescue_memory_holds_no_secret(bench):
    image, secret, uuid = bench.state_disk()
    needles = Needles(bench, image, secret, uuid)

    def type_secret(running):
        running.wait_for(PROMPT, BOOT_PATIENCE)
        running.type(needles.document + b"\n")

    found = rescue_and_look(bench, needles.master | needles.disk, start=type_secret, direct=True, disks=[image],
                            credentials={vm.JOB_CREDENTIAL: bench.job(consent={"luks-uuid": uuid},
                                                                      secret={"from": "prompt"})})
    nothing_left(found)
    with open(bench.path("console.log"), "rb") as file:
        console = file.read()
    shown = [name for name, form in (needles.master | needles.disk).items() if form in console]
    expect(not shown, f"the console shows the {shown}")
    return f"while the volume was open: {', '.join(sorted(found['open']))}; afterwards nothing"


def after_a_credential_rescue_only_the_credential_is_left(bench):
    """What the host gave stays where the host put it, and where PID 1 keeps it; no key that derives from it does."""
    image, secret, uuid = bench.state_disk()
    needles = Needles(bench, image, secret, uuid)
    credentials = {vm.JOB_CREDENTIAL: bench.job(consent={"luks-uuid": uuid}), vm.SECRET_CREDENTIAL: secret}
    found = rescue_and_look(bench, needles.master | needles.disk, direct=True, disks=[image], credentials=credentials)
    for moment in ("result", "off"):
        keys = {name: places for name, places in found[moment].items() if name in needles.disk}
        expect(not keys, f"memory still holds, at {moment}: {keys}")
    left = ", ".join(f"{name} {len(places)} times" for name, places in sorted(found["result"].items()))
    return f"left of the credential: {left or 'nothing'}"


ALL = {
    "tpm-sealed-secret-rescues": a_sealed_secret_rescues_unattended,
    "tpm-blob-as-credential": a_blob_works_as_text_in_a_credential,
    "tpm-blob-on-esp": a_blob_on_the_esp_is_found,
    "token-of-systemd": a_token_of_systemd_opens_the_disk,
    "tpm-other-builders-image": another_builders_image_cannot_unseal,
    "tpm-command-line-from-smbios": a_command_line_from_smbios_cannot_unseal,
    "tpm-addon-on-esp": an_addon_on_the_esp_cannot_unseal,
    "memory-after-tpm": after_a_tpm_rescue_memory_holds_no_secret,
    "memory-after-typing": after_a_typed_rescue_memory_holds_no_secret,
    "memory-after-credential": after_a_credential_rescue_only_the_credential_is_left,
}
cases.ALL.update(ALL)
