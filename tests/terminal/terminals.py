"""Terminals for tests: tmux as a person sees it, and a bare pty whose every byte is recorded."""

import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import tempfile
import termios
import time

from picture import Picture

PATIENCE = 300          # seconds to what must come, on a busy machine, also inside a guest
LONGEST_SOCKET_FOLDER = 80   # a socket's whole name has room for 107 bytes
# tmux has nothing to wait on: its picture is looked at, less and less often. Each look takes processes, which under
# User-Mode Linux cost more than what is waited for.
FIRST_LOOK, LAST_LOOK = 0.05, 0.8


class Failed(Exception):
    """What was promised did not happen."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def pauses():
    pause = FIRST_LOOK
    while True:
        yield pause
        pause = min(pause * 1.5, LAST_LOOK)


class Tmux:
    """A program in a tmux window of its own server. `with Tmux(...) as screen:`"""

    def __init__(self, command, work, size=(80, 24), term="screen-256color", environment=(), directory=None):
        self.folder = tempfile.TemporaryDirectory(prefix="tmux-", dir=work if len(work) < LONGEST_SOCKET_FOLDER else None)
        self.work, self.socket = work, os.path.join(self.folder.name, "socket")
        self.status_file = os.path.join(work, "status")
        if os.path.exists(self.status_file):
            os.remove(self.status_file)
        words = ["env", "-u", "NO_COLOR", "HOME=" + work, "TERM=" + term, "LC_ALL=C.UTF-8", *environment, *command]
        script = "%s; echo $? > %s" % (shlex.join(words), shlex.quote(self.status_file))
        self._tmux("-f", "/dev/null", "new-session", "-d", "-c", directory or work, "-x", str(size[0]), "-y",
                   str(size[1]), script)
        # The last picture stays to be looked at.
        self._tmux("set-option", "-g", "status", "off")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], stderr=subprocess.DEVNULL, check=False)
        self.folder.cleanup()

    def _tmux(self, *arguments):
        # -u: our tmux takes and shows UTF-8, whatever the machine's locale.
        return subprocess.run(["tmux", "-u", "-S", self.socket, *arguments], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True).stdout

    def press(self, *keys):
        """Keys by tmux's names: Enter, Escape, Space, Tab, BTab, Up, F1, C-c, PPage, or single characters."""
        for key in keys:
            self._tmux("send-keys", key)

    def type(self, text):
        self._tmux("send-keys", "-l", text)

    def paste(self, text):
        """As a terminal pastes: bracketed when the program asked for that."""
        subprocess.run(["tmux", "-S", self.socket, "load-buffer", "-"], input=text, text=True, check=True)
        self._tmux("paste-buffer", "-p", "-d")

    def text(self):
        return self._tmux("capture-pane", "-p")

    def history(self):
        """The picture and everything that scrolled out of it."""
        return self._tmux("capture-pane", "-p", "-S", "-")

    def coloured(self):
        return self._tmux("capture-pane", "-p", "-e")

    def resize(self, columns, rows):
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait(self, *texts, patience=PATIENCE):
        """Until all of these are in the picture. The picture."""
        end = time.monotonic() + patience
        for pause in pauses():
            try:
                picture = self.text()
            except subprocess.CalledProcessError as error:
                raise Failed("the program has ended before %r was shown" % (texts,)) from error
            if all(text in picture for text in texts):
                return picture
            check(time.monotonic() < end, "%r was not shown within %d s:\n%s" % (texts, patience, picture))
            time.sleep(pause)

    def wait_gone(self, text, patience=PATIENCE):
        end = time.monotonic() + patience
        for pause in pauses():
            if text not in (picture := self.text()):
                return picture
            check(time.monotonic() < end, "%r stays in the picture:\n%s" % (text, picture))
            time.sleep(pause)

    def ended(self, patience=PATIENCE):
        """Its exit status."""
        end = time.monotonic() + patience
        for pause in pauses():
            try:
                with open(self.status_file) as file:
                    if text := file.read().strip():
                        return int(text)
            except FileNotFoundError:
                pass
            check(time.monotonic() < end, "the program has not ended within %d s" % patience)
            time.sleep(pause)


class Pty:
    """A program on a pty, or a pty that it opens itself; every byte that it writes is kept."""

    def __init__(self, command=None, size=(80, 24), environment=None, link=None):
        self.record, self.process, self.link = b"", None, link
        self.picture = Picture(*(size or (80, 24)))
        self.master, follower = pty.openpty()
        if size:
            self.resize(*size)
        if link:
            # A name that survives the line itself, as a device's does.
            os.symlink(os.ttyname(follower), link)
        if command:
            self.process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower,
                                            env=environment, start_new_session=True, preexec_fn=controlling)
        self.follower = follower if link else os.close(follower)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.hang_up()

    def hang_up(self):
        """The line breaks."""
        if self.link and os.path.islink(self.link):
            os.remove(self.link)
        if self.follower is not None:
            os.close(self.follower)
            self.follower = None
        if self.master is not None:
            os.close(self.master)
            self.master = None

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, data):
        os.write(self.master, data if isinstance(data, bytes) else data.encode())

    def read(self, seconds):
        """What comes within this time, at least one piece; empty when nothing does or the line is closed."""
        if not select.select([self.master], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return b""
        self.record += data
        self.picture.feed(data)
        return data

    def settle(self, seconds=0.7):
        """Until nothing has come for a while."""
        while self.read(seconds):
            pass

    def wait_picture(self, *texts, patience=PATIENCE):
        """Until all of these can be seen. The picture."""
        end = time.monotonic() + patience
        while not all(text in (shown := self.picture.text()) for text in texts):
            left = end - time.monotonic()
            check(left > 0, "%r was not shown within %d s:\n%s" % (texts, patience, shown))
            if not self.read(left) and self.process and self.process.poll() is not None:
                raise Failed("the program ended before it showed %r:\n%s" % (texts, shown))
        return self.picture.text()

    def wait(self, text, since=0, patience=PATIENCE):
        """Until this has been written, behind position `since` of the record. The position behind it."""
        wanted = text.encode() if isinstance(text, str) else text
        end = time.monotonic() + patience
        while (at := self.record.find(wanted, since)) < 0:
            left = end - time.monotonic()
            check(left > 0, "%r was not written within %d s; the end of what was:\n%s"
                  % (text, patience, self.record[-1500:].decode(errors="replace")))
            if not self.read(left) and self.process and self.process.poll() is not None:
                raise Failed("the program ended before it wrote %r:\n%s"
                             % (text, self.record[-1500:].decode(errors="replace")))
        return at + len(wanted)

    def ended(self, patience=PATIENCE):
        end = time.monotonic() + patience
        while self.process.poll() is None:
            check(time.monotonic() < end, "the program has not ended within %d s" % patience)
            self.read(0.1)
        return self.process.returncode


def controlling():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
