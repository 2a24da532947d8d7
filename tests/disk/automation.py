"""Jobs over JSON-RPC: `etcd-rescue serve` on a guest's serial line, and image/rescue-client at its other end.

Each job says which exit code and final record it must have; the table of them is printed by a failed case."""

import importlib.machinery
import importlib.util
import json
import os
import pty
import random
import socket
import subprocess

from bench import HERE, check, sha256
from etcdlab.serial_line import SerialLine

CLIENT = os.path.realpath(os.path.join(HERE, "..", "..", "image", "rescue-client"))
PATIENCE = 400   # seconds, on a busy machine
GUEST_SECONDS = 1200
ELSEWHERE = "00000000-0000-4000-8000-000000000000"
# Kernel messages, terminal noise: whole lines, unfinished ones, and what only looks like a record.
NOISE = r"""
(while sleep 0.2; do
  printf '[   12.345678] EXT4-fs (dm-0): mounted filesystem without journal\r\n[  1' >/dev/ttyS0
  printf '\033]104\007\036{"jsonrpc":"2.0","id":\n' >/dev/ttyS0
done) &
noise=$!
"""
SERVE = """
stty -F /dev/ttyS0 raw -echo
rescue serve serve --port /dev/ttyS0 --appliance
"""


def _client_module():
    loader = importlib.machinery.SourceFileLoader("rescue_client", CLIENT)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("rescue_client", loader))
    loader.exec_module(module)
    return module


class Line:
    """The host's end of the line: what came of each job, and of raw bytes."""

    def __init__(self, bench, address):
        self.bench, self.address, self.done, self.how = bench, address, [], []

    def client(self, *words, **options):
        return subprocess.Popen([CLIENT, "--timeout", str(PATIENCE), "--json", *self.how, self.address, *words],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                **options)

    def _finish(self, name, child, status, *texts):
        out, err = child.communicate()
        self.done.append(name)
        check(child.returncode == status, "%s: exit %d instead of %d:\n%s%s" % (name, child.returncode, status, err, out))
        for text in texts:
            check(text in err + out, "%s: it does not say %r:\n%s%s" % (name, text, err, out))
        return json.loads(out) if out.strip() else None

    def job(self, name, status, *texts, secret_file=None, end=(), **job):
        """A whole job by the client; its final record must say the same as its exit status."""
        path = self.bench.path("job-%d.json" % len(self.done))
        with open(path, "w") as file:
            json.dump({"version": 1, **job}, file)
        words = ["job", path] + (["--secret", secret_file] if secret_file else []) + list(end)
        final = self._finish(name, self.client(*words), status, *texts)
        check(final is not None and final["exit"] == status, "%s: its final record is %s" % (name, final))
        return final

    def call(self, name, status, method, *texts, secret_file=None, **params):
        words = ["call", method, json.dumps({key.replace("_", "-"): value for key, value in params.items()})]
        return self._finish(name, self.client(*words, *(["--secret", secret_file] if secret_file else [])), status, *texts)

    def raw(self, name, data, code, *texts):
        """Bytes as they are; the answer must be an error of this code."""
        module = _client_module()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self.address)
            connection.sendall(data)
            records = module.Records()
            while True:
                data = connection.recv(65536)
                check(data, "%s: the line ended" % name)
                for message in filter(None, records.feed(data)):
                    if "error" in message:
                        check(message["error"]["code"] == code, "%s: %s" % (name, message))
                        for text in texts:
                            check(text in json.dumps(message), "%s: it does not say %r: %s" % (name, text, message))
                        self.done.append(name)
                        return


def _call_record(method, params):
    return b"\x1e" + json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"


class Serve:
    """`serve` on a pseudo terminal of this machine; needs no guest, because nothing here opens a volume."""

    def __init__(self, bench, name):
        self.address = bench.path(name)
        self.log = bench.path(name + ".log")
        master, slave = pty.openpty()
        SerialLine(master, self.address)
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen([bench.program, "serve", "--port", os.ttyname(slave)], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log)
        self.slave = slave  # stays open: else the line would hang up before serve has it

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        os.close(self.slave)

    def end(self):
        """Its exit status."""
        self.child.terminate()
        return self.child.wait(PATIENCE)


def refusals(bench):
    """Every refusal has its exit code and its final record, no refused job writes a byte, nothing tells the secret."""
    image = bench.disk("disk.img", integrity=False)
    before = sha256(image)
    with Serve(bench, "line") as serve:
        line = Line(bench, serve.address)
        _refused(bench, line, image)
        status = serve.end()
    check(status == 2, "serve ended with %d, its last job with 2" % status)
    check(sha256(image) == before, "a refused job changed the disk image")
    bench.no_secret_in(serve.log)
    return "%d calls and jobs" % len(line.done)


def _refused(bench, line, image):
    disk = {"disk": {"path": image}}
    good = {**disk, "consent": {"luks-uuid": _uuid(image)}}
    garbage = random.Random(1).randbytes(1 << 20).replace(b"\x1e", b"?")
    line.raw("1 MiB of garbage before the first record", garbage + b"\x1e{\"jsonrpc\":\n", -32700, "not JSON")
    line.call("status after it", 0, "status", '"state": "idle"')
    line.how = ["--up"]
    line.call("find", 0, "find", "disks")
    line.raw("kernel messages around and inside", b"[ 1.5] a: b\r\n\x1e{\"id\":1[ 1.6] c\n" + b"[ 1.7] d\n", -32700, "not JSON")
    line.raw("a batch", b"\x1e[{}]\n", -32600, "batch")
    line.raw("an unknown member", b'\x1e{"jsonrpc":"2.0","id":1,"method":"status","x":1}\n', -32600, "x: unknown field")
    line.raw("a field twice", b'\x1e{"jsonrpc":"2.0","id":1,"id":2,"method":"status"}\n', -32700, "twice")
    line.raw("a record of 2 MiB", b"\x1e" + b"x" * (2 << 20) + b"\n", -32600, "record-too-long")
    line.raw("a misplaced secret", _call_record("inspect", {"a": {"secret": "hunter2"}}), -32602, "misplaced-secret")
    line.call("an unknown method", 2, "explode", "no such method")
    line.call("power without action", 2, "power", "action")
    line.call("power off what is no appliance", 7, "power", "not-an-appliance", action="power-off")
    line.call("apply without plan", 2, "apply", "plan: missing", **good)
    line.call("apply without consent", 2, "apply", "consent.luks-uuid: missing", plan="f00d", **disk)
    line.call("undo without consent", 2, "undo", "consent.luks-uuid: missing", **disk)
    line.call("seal after find", 0, "seal")
    line.call("seal without a job", 2, "seal", "no-job")
    line.job("an unknown field", 2, "stratgey: unknown field", **good, stratgey="restore")
    line.job("a wrong type", 2, "bump-revision: not a whole number", **{**good, "bump-revision": "7"})
    line.job("no consent", 2, "consent.luks-uuid: missing", **disk)
    line.job("consent for another disk", 7, "no-consent", **disk, consent={"luks-uuid": ELSEWHERE})
    line.job("consent for another disk, with the secret", 7, "no-consent", **disk, secret_file=bench.secret,
             consent={"luks-uuid": ELSEWHERE})
    line.job("a wrong secret", 4, _uuid(image), secret_file=bench.other_secret, **good)
    line.job("no secret at all", 4, "no-secret", **good)
    line.job("nobody to ask", 4, "nobody is asked", **good, secret={"from": "prompt"})
    line.job("no TPM", 4, **good, secret={"from": "tpm"})
    line.job("no such disk", 3, "no-such-disk", consent=good["consent"], disk={"label": "nowhere"})
    line.job("no disk for the report", 2, "bad-report-disk", **good, report={"disk": {"label": "nowhere"}})


def jobs(bench):
    """Whole jobs with noise on the line; clients that go away in the middle of one."""
    image = bench.disk("disk.img", integrity=False)
    consent = {"luks-uuid": _uuid(image)}

    def talk(address):
        line = Line(bench, address)
        line.call("status in noise", 0, "status", '"state": "idle"')
        line.how = ["--up"]
        _cancelled(bench, line, consent)
        _deserted(bench, line, consent)
        line.job("the same again", 0, "nothing to do", secret_file=bench.secret, consent=consent)
        line.call("power off", 0, "power", action="power-off")
        return line

    return _with_noise(bench, image, talk)


def stages(bench):
    """A rescue stage by stage, and its undo; then a job with another strategy on the same disk."""
    image = bench.disk("disk.img", integrity=False)
    consent = {"luks-uuid": _uuid(image)}

    def talk(address):
        line = Line(bench, address)
        line.call("unlock", 0, "unlock", secret_file=bench.secret)
        line.how = ["--up"]
        line.call("inspect", 0, "inspect", '"findings"')
        plan = line.call("plan", 0, "plan", strategy="restore")["plan"]["fingerprint"]
        line.call("rehearse", 0, "rehearse", "applied and undone on the view")
        line.call("apply another plan", 7, "apply", "plan-stale", consent=consent, plan="0" * 64)
        line.call("apply", 0, "apply", consent=consent, plan=plan)
        line.call("verify", 0, "verify", "leads_alone")
        line.call("undo", 0, "undo", consent=consent)
        line.call("seal", 0, "seal", '"header_identical": true')
        final = line.job("restore, then power off", 0, "rescued", secret_file=bench.secret, consent=consent,
                         strategy="restore", report={"console": False, "volume": False}, **{"at-end": "power-off"})
        check(final["report"]["applied"], "the final record has no report of the apply")
        return line

    return _with_noise(bench, image, talk)


def _with_noise(bench, image, talk):
    lines = []
    steps = bench.guest_with_line(NOISE + SERVE + "kill $noise\n", lambda address: lines.append(talk(address)), image,
                                  seconds=GUEST_SECONDS)
    steps["serve"].expect(0)
    check("RESULT exit=0" in steps["serve"].err, "people saw no result: " + steps["serve"].describe())
    return "%d calls and jobs" % len(lines[0].done)


def _uuid(image):
    return subprocess.run(["cryptsetup", "luksUUID", image], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _start_job(bench, line, consent):
    path = bench.path("long-job.json")
    with open(path, "w") as file:
        json.dump({"version": 1, "consent": consent}, file)
    child = line.client("job", path, "--secret", bench.secret)
    child.stderr.readline()  # a stage has ended: it is at work
    return child


def _cancelled(bench, line, consent):
    """A job whose client was killed is stopped by another before anything is written."""
    child = _start_job(bench, line, consent)
    child.kill()
    child.communicate()
    answer = line.call("cancel", 0, "cancel")
    if not answer["cancelling"]:
        # The client was killed between unlock and run: its job is open, and nothing runs.
        line.call("seal after cancel", 0, "seal")
        return
    final = line._finish("a cancelled job", line.client("watch"), 7, "cancelled")
    check(final["exit"] == 7, "its final record is %s" % final)


def _deserted(bench, line, consent):
    """The job goes on without its client; who comes later gets its final record."""
    path = bench.path("deserted.json")
    with open(path, "w") as file:
        json.dump({"version": 1, "consent": consent}, file)
    child = line.client("job", path, "--secret", bench.secret)
    while not child.stderr.readline().startswith("inspect"):
        check(child.poll() is None, "the job ended before it was deserted")
    child.kill()
    child.communicate()
    final = line._finish("a deserted job", line.client("watch"), 0, "rescued")
    check(final["report"]["applied"], "the final record has no report of the apply")
    again = line._finish("its record once more", line.client("watch"), 0)
    check(again["job"] == final["job"], "another final record: %s" % again)
