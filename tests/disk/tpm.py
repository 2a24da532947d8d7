"""Cases of the disk tier: state disks whose secret a TPM keeps. The TPM is swtpm inside the guest, on a Unix socket; the
image is a signing key and one signature over the PCR 11 of a TPM that measured nothing. What the booted image does with
firmware and a TPM device is the boot tier's."""

import base64
import hashlib
import json
import os
import struct
import subprocess

from bench import check, header_bytes, sha256

TPM_CC_POLICY_PCR = 0x0000017F
TPM_ALG_SHA256 = 0x000B
UNMEASURED = bytes(32)
PIN, WRONG_PIN = "2580", "1111"


def pcr_policy(pcr, value):
    """The policy that asks for one PCR's value (TPM 2.0 Library, part 3, TPM2_PolicyPCR)."""
    selection = struct.pack(">IHB3B", 1, TPM_ALG_SHA256, 3, *(1 << (pcr - 8 * byte) if pcr // 8 == byte else 0
                                                              for byte in range(3)))
    return hashlib.sha256(bytes(32) + struct.pack(">I", TPM_CC_POLICY_PCR) + selection
                          + hashlib.sha256(value).digest()).digest()


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def image_key(bench, name):
    """A key and its signature over an unmeasured PCR 11, in systemd's form. The options that name both files."""
    key, public, signature = bench.path(name + ".key"), bench.path(name + ".pem"), bench.path(name + ".json")
    openssl("genrsa", "-out", key, "2048")
    with open(public, "wb") as file:
        file.write(openssl("rsa", "-in", key, "-pubout"))
    fingerprint = hashlib.sha256(openssl("rsa", "-in", key, "-RSAPublicKey_out", "-outform", "DER")).hexdigest()
    policy = pcr_policy(11, UNMEASURED)
    signed = openssl("dgst", "-sha256", "-sign", key, data=policy)
    with open(signature, "w") as file:
        json.dump({"sha256": [{"pcrs": [11], "pkfp": fingerprint, "pol": policy.hex(),
                               "sig": base64.b64encode(signed).decode()}]}, file)
    return "--image-key %s --image-signature %s" % (public, signature)


# power_on STATE: swtpm says with its pid file that it listens; a FIFO makes that an event.
FUNCTIONS = """
export TPM2TOOLS_TCTI=swtpm:path=/run/tpm
power_on() {
  rm -f /run/tpm.pid && mkfifo /run/tpm.pid && mkdir -p "$1"
  swtpm socket --tpm2 --tpmstate "dir=$1" --server type=unixio,path=/run/tpm --ctrl type=unixio,path=/run/tpm.ctrl \\
    --flags not-need-init,startup-clear --pid file=/run/tpm.pid &
  tpm=$!
  [ -n "$(cat /run/tpm.pid)" ] || exit 1
}
power_off() { kill "$tpm" && wait "$tpm"; rm -f /run/tpm /run/tpm.ctrl; }
left_in_tpm() {
  for kind in handles-transient handles-loaded-session handles-saved-session handles-nv-index; do
    tpm2_getcap "$kind" || exit 1
  done >"$OUT/$1"
}
KEEP="--tpm /run/tpm"
TAKE="--tpm /run/tpm --json --disk /dev/ubda"
echo "$PIN" >/run/pin && echo "$WRONG_PIN" >/run/wrong-pin
"""

OPENS = """
power_on /run/state-a
rescue seal-blob seal-secret --secret "$SECRET" $IMAGE $KEEP --out /run/blob
rescue seal-pin seal-secret --secret "$SECRET" $IMAGE $KEEP --with-pin --pin /run/pin --out /run/pin-blob
rescue seal-key seal-secret --secret "$SECRET" $IMAGE $KEEP --disk-key "$(cryptsetup luksUUID /dev/ubda)" --out /run/key-blob
rescue seal-nv seal-secret --secret "$SECRET" $IMAGE $KEEP --to nv
rescue blob-apply apply --yes --secret tpm:/run/blob $IMAGE $TAKE
rescue nv-verify verify --secret tpm $IMAGE $TAKE
rescue key-undo undo --yes --secret tpm:/run/key-blob $IMAGE $TAKE
rescue pin-inspect inspect --secret tpm:/run/pin-blob --pin /run/pin $IMAGE $TAKE
rescue other-disk inspect --secret tpm:/run/key-blob $IMAGE --tpm /run/tpm --json --disk /dev/ubdb
rescue remove-nv seal-secret --remove-nv $KEEP
left_in_tpm left
power_off
"""

REFUSES = """
power_on /run/state-a
rescue seal-blob seal-secret --secret "$SECRET" $IMAGE $KEEP --out /run/blob
rescue seal-pin seal-secret --secret "$SECRET" $IMAGE $KEEP --with-pin --pin /run/pin --out /run/pin-blob
rescue no-nv inspect --secret tpm $IMAGE $TAKE
head -c -1 /run/blob >/run/short-blob
rescue short-blob inspect --secret tpm:/run/short-blob $IMAGE $TAKE
tr a-m A-M </run/blob >/run/changed-blob
rescue changed-blob inspect --secret tpm:/run/changed-blob $IMAGE $TAKE
rescue other-image inspect --secret tpm:/run/blob $OTHER_IMAGE $TAKE
tpm2_dictionarylockout --setup-parameters --max-tries 2 --recovery-time 7200 --lockout-recovery-time 7200 || exit 1
tpm2_dictionarylockout --clear-lockout || exit 1
rescue first-try inspect --secret tpm:/run/pin-blob --pin /run/wrong-pin $IMAGE $TAKE
rescue last-try inspect --secret tpm:/run/pin-blob --pin /run/wrong-pin $IMAGE $TAKE
rescue spent-try inspect --secret tpm:/run/pin-blob --pin /run/wrong-pin --spend-last-try $IMAGE $TAKE
rescue lockout inspect --secret tpm:/run/pin-blob --pin /run/pin $IMAGE $TAKE
tpm2_pcrextend 12:sha256=%(some)s || exit 1
rescue pcr-12 inspect --secret tpm:/run/blob $IMAGE $TAKE
power_off
power_on /run/state-a
rescue next-boot inspect --secret tpm:/run/blob $IMAGE $TAKE
tpm2_pcrextend 11:sha256=%(some)s || exit 1
rescue pcr-11 inspect --secret tpm:/run/blob $IMAGE $TAKE
power_off
rescue absent inspect --secret tpm:/run/blob $IMAGE $TAKE
power_on /run/state-b
rescue other-tpm inspect --secret tpm:/run/blob $IMAGE $TAKE
power_off
power_on /run/state-a
tpm2_clear || exit 1
rescue cleared inspect --secret tpm:/run/blob $IMAGE $TAKE
left_in_tpm left
power_off
""" % {"some": "11" * 32}

REFUSED = {
    "no-nv": ["no-tpm-blob"], "short-blob": ["bad-tpm-blob"], "changed-blob": ["bad-tpm-blob"],
    "other-image": ["tpm-other-image"], "first-try": ["tpm-wrong-pin", "1 of 2 tries are left"],
    "last-try": ["tpm-last-try"], "spent-try": ["tpm-wrong-pin"], "lockout": ["tpm-lockout"], "pcr-12": ["tpm-pcr-12"],
    "pcr-11": ["tpm-pcr-11"], "absent": ["tpm-absent"], "other-tpm": ["tpm-other"], "cleared": ["tpm-cleared"],
}


def with_tpm(bench, steps, *disks):
    """Runs the steps; their outcomes, with nothing left in the TPM."""
    outcome = bench.guest(FUNCTIONS + steps, *disks,
                          environment=["IMAGE=" + image_key(bench, "image"), "OTHER_IMAGE=" + image_key(bench, "other"),
                                       "PIN=" + PIN, "WRONG_PIN=" + WRONG_PIN])
    with open(os.path.join(bench.path("guest-1"), "left")) as file:
        left = file.read().strip()
    check(not left, "something stays in the TPM: " + left)
    return outcome


def opens(bench):
    """A blob, a disk's key, a PIN and an NV index open the disk, and another disk's key does not."""
    image, other = bench.disk("disk.img"), bench.disk("other.img", integrity=False)
    header = header_bytes(image)
    steps = with_tpm(bench, OPENS, image, other + ",ro")
    steps.pop("other-disk").expect(4, "none of its key slots")
    for step in steps.values():
        step.expect(0)
    check(steps["blob-apply"].json()["sealed"]["header_identical"], "apply did not compare the header")
    check(header_bytes(image) == header, "the header area is not what it was")
    return "opened in 4 ways"


def refuses(bench):
    """Whatever differs from what the secret was sealed to is told apart, and the disk is not written to."""
    image = bench.disk("disk.img", integrity=False)
    before = sha256(image)
    steps = with_tpm(bench, REFUSES, image)
    for name in ("seal-blob", "seal-pin", "next-boot"):
        steps[name].expect(0)
    for name, texts in REFUSED.items():
        steps[name].expect(4, *texts)
    check(sha256(image) == before, "the disk was changed")
    return "refused for %d reasons" % len(REFUSED)
