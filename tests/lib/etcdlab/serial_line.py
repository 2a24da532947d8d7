"""A cable: passes bytes between a descriptor (a guest's serial line, a pseudo terminal) and a Unix socket."""

import os
import select
import socket
import threading


class SerialLine:
    """One client at a time; without one, what comes from the descriptor is lost, as on a cable that is not plugged in."""

    def __init__(self, fd, path):
        self.fd = fd
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.client = None
        threading.Thread(target=self._pass, daemon=True).start()

    def _pass(self):
        try:
            while True:
                ready, _, _ = select.select([self.fd, self.client or self.listener], [], [])
                if self.listener in ready:
                    self.client = self.listener.accept()[0]
                elif self.client in ready:
                    self._to_line()
                if self.fd in ready:
                    self._to_client(os.read(self.fd, 65536))
        except OSError:
            pass  # the line is gone; so is its reader
        finally:
            self._hang_up()
            self.listener.close()

    def _to_line(self):
        try:
            data = self.client.recv(4096)
        except OSError:
            data = b""
        if not data:
            self._hang_up()
        while data:
            data = data[os.write(self.fd, data):]

    def _to_client(self, data):
        if not data:
            raise OSError("the line ended")
        if self.client:
            try:
                self.client.sendall(data)
            except OSError:
                self._hang_up()

    def _hang_up(self):
        if self.client:
            self.client.close()
        self.client = None
