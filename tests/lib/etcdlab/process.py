"""etcd as a child process on loopback: start, wait until it serves, kill; nothing outlives this program."""

import atexit
import ctypes
import fcntl
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from .client import EtcdClient, EtcdError

# Ports come in blocks below the range that Linux hands to outgoing connections (32768 and up): a
# member's port must still be free when it starts again, whatever else talks on this machine meanwhile.
PORT_BLOCK = 16
PORT_FIRST, PORT_LAST = 20000, 24992

_running = []
_reserved = []
_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class LabError(Exception):
    """The experiment itself went wrong; says nothing about what was to be tested."""


def environment():
    """Without the caller's ETCD_* settings. Debian's builds link two copies of a protobuf registry
    and panic at start unless told to ignore the conflict."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ETCD_", "ETCDCTL_"))}
    env["ETCDCTL_API"] = "3"
    env["GOLANG_PROTOBUF_REGISTRATION_CONFLICT"] = "ignore"
    return env


def _block_lock(base):
    folder = os.path.join(tempfile.gettempdir(), "etcd-rescue-ports-%d" % os.getuid())
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.open(os.path.join(folder, str(base)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def hold_ports(urls):
    """For data that names its ports: waits until nobody else uses their blocks, and keeps them until this program
    ends. To be called before reserve_ports: whoever waits holds nothing that others wait for."""
    ports = {int(port) for url in urls for port in re.findall(r":(\d+)", url)}
    for base in sorted({port - (port - PORT_FIRST) % PORT_BLOCK for port in ports if PORT_FIRST <= port < PORT_LAST + PORT_BLOCK}):
        lock = _block_lock(base)
        fcntl.flock(lock, fcntl.LOCK_EX)
        _reserved.append(lock)


def reserve_ports():
    """The first port of a block of PORT_BLOCK that no other program of ours uses until this one ends."""
    bases = list(range(PORT_FIRST, PORT_LAST + 1, PORT_BLOCK))
    random.SystemRandom().shuffle(bases)
    for base in bases:
        lock = _block_lock(base)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        if all(_is_free(port) for port in range(base, base + PORT_BLOCK)):
            _reserved.append(lock)
            return base
        os.close(lock)
    raise LabError("no free block of %d ports in %d-%d" % (PORT_BLOCK, PORT_FIRST, PORT_LAST))


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def version_of(binary):
    """Such as "3.5.16"."""
    text = subprocess.run([binary, "--version"], env=environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False).stdout.decode(errors="replace")
    match = re.search(r"etcd Version: (\S+)", text)
    if not match:
        raise LabError("%s --version says no version: %s" % (binary, text.strip()[:200]))
    return match.group(1)


def flag_value(flags, name):
    """The value of --name=value in a list of flags, or None."""
    for flag in flags:
        if flag.startswith("--%s=" % name):
            return flag.split("=", 1)[1]
    return None


class Etcd:
    """One etcd server process. Start it from the main thread: it dies with the thread that started it."""

    def __init__(self, binary, flags, log_path):
        self.binary, self.flags, self.log_path = binary, list(flags), log_path
        self.process = None
        self.endpoint = flag_value(flags, "listen-client-urls").split(",")[0]

    def start(self, group=None):
        """Starts the server; `group` puts it into another one's process group, for killing in one go."""
        def before_exec():
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os.setpgid(0, group.process.pid if group else 0)

        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(  # pylint: disable=subprocess-popen-preexec-fn
                [self.binary] + self.flags, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env=environment(), preexec_fn=before_exec,
                cwd=os.path.dirname(os.path.abspath(self.log_path)))
        _running.append(self)

    def wait_ready(self, seconds, serves=EtcdClient.health):
        """Until serves(client) is true; /health takes a leader and a linearizable read. Returns the seconds it took."""
        started = time.monotonic()
        client = EtcdClient(self.endpoint, timeout=1)
        try:
            while True:
                if self.process.poll() is not None:
                    raise LabError("etcd ended with status %s instead of serving: %s"
                                   % (self.process.returncode, self.complaint()))
                try:
                    if serves(client):
                        return time.monotonic() - started
                except (OSError, EtcdError):
                    pass
                if time.monotonic() - started > seconds:
                    raise LabError("etcd does not serve after %d s: %s" % (seconds, self.complaint()))
                time.sleep(0.02)
        finally:
            client.close()

    def kill(self):
        """SIGKILL, and waits until it is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if self in _running:
            _running.remove(self)

    def stop(self, seconds=60):
        """SIGTERM, and waits until it has ended in order."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise LabError("etcd does not end after SIGTERM: " + self.complaint()) from error
        if self in _running:
            _running.remove(self)

    def complaint(self):
        """The last lines of its log that look like a reason."""
        try:
            with open(self.log_path, "r", errors="replace") as log:
                lines = log.read().splitlines()
        except OSError:
            return "no log"
        reasons = [x for x in lines if re.search(r'"level":"(error|fatal|panic)"|panic:|fatal| [CE] \|', x)]
        return " / ".join(x.strip()[:300] for x in (reasons or lines)[-3:]) or "its log is empty"


def kill_group(members):
    """SIGKILL to all members by one system call, then waits for each. They share one process group."""
    os.killpg(members[0].process.pid, signal.SIGKILL)
    for member in members:
        member.process.wait()
        if member in _running:
            _running.remove(member)


def kill_everything():
    for server in list(_running):
        server.kill()


def clean_up_on_exit():
    """Makes SIGTERM, SIGINT and SIGHUP end the program like an exception, so that everything is cleaned up."""
    def leave(number, _frame):
        sys.exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)


atexit.register(kill_everything)
