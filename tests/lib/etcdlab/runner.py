"""Runs a tier's cases as processes of their own, some at a time, and prints one line for each."""

import os
import signal
import subprocess
import sys
import threading
import time


class Runner:
    """`command(name)` gives the argument list that runs one case; its output goes to logs/NAME.log."""

    def __init__(self, tier, logs, parallel, command):
        self.tier, self.logs, self.parallel, self.command = tier, logs, parallel, command
        self.lock, self.passed, self.failed = threading.Lock(), [], []
        self.children = set()

    def run(self, names):
        os.makedirs(self.logs, exist_ok=True)
        waiting = list(reversed(names))

        def work():
            while True:
                with self.lock:
                    if not waiting:
                        return
                    name = waiting.pop()
                self._one(name)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(self.parallel)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            # Interrupted: the cases clean up after themselves when told to end.
            with self.lock:
                waiting.clear()
                for child in self.children:
                    child.send_signal(signal.SIGTERM)
            for thread in threads:
                thread.join()
            raise
        return not self.failed

    def _one(self, name):
        started = time.monotonic()
        path = os.path.join(self.logs, name + ".log")
        with open(path, "wb") as log:
            child = subprocess.Popen(self.command(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            with self.lock:
                self.children.add(child)
            status = child.wait()
        seconds = time.monotonic() - started
        with open(path, "r", errors="replace") as log:
            text = log.read().strip()
        with self.lock:
            self.children.discard(child)
            (self.failed if status else self.passed).append(name)
            last = text.splitlines()[-1] if text else ""
            print("%s %s: %s  %.1f s  %s" % ("FAIL" if status else "ok  ", self.tier, name, seconds, last))
            if status:
                print("\n".join("       " + line for line in text.splitlines()[-12:]))
                print("       log: " + path)
            sys.stdout.flush()
        if not status:
            os.unlink(path)
