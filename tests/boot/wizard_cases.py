"""The boot tier's cases of the wizard: a person at the booted image, on the serial line and at the screen.

What the serial line shows is put together as a terminal would (tests/terminal/picture.py); the screen is read from the
machine's text memory, and kept as a picture."""
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "terminal"))

import cases  # noqa: E402
import screens  # noqa: E402
import tpm_cases  # noqa: E402
import vm  # noqa: E402
from disaster import Failure  # noqa: E402
from picture import Picture  # noqa: E402

BOOT_PATIENCE = 300   # seconds to the first picture, emulated on a busy machine
STEP_PATIENCE = 300   # to the next one: nothing is lost by waiting, and a busy machine takes its time
LOOK_EVERY = 0.5

PIN, WRONG_PIN = "correct-horse-8151623", "wrong-horse"


def expect(condition, words):
    if not condition:
        raise Failure(words)


class SerialLine:
    """A vt220 of 80x24 that nobody asked for its size, at the machine's first serial port."""

    def __init__(self, running, log):
        self.running, self.log, self.seen, self.picture = running, log, 0, Picture()

    def look(self, seconds):
        expect(self.running.read(seconds) is not None, "the machine went off:\n" + self.picture.text())
        with open(self.log, "rb") as file:
            file.seek(self.seen)
            data = file.read()
        self.seen += len(data)
        self.picture.feed(data)
        return self.picture.text()

    def wait(self, *texts, patience=STEP_PATIENCE):
        """The picture once it shows these texts, however their lines are broken, and stands still: a person types no sooner."""
        end = time.monotonic() + patience
        while True:
            before = self.seen
            shown = self.look(LOOK_EVERY)
            flowing = " ".join(shown.split())
            if self.seen == before and all(text in flowing for text in texts):
                return shown
            expect(time.monotonic() < end, f"{texts} was not on the serial line within {patience} s:\n{shown}")

    def type(self, text):
        self.running.type(text.encode())

    def enter(self):
        self.type("\r")

    def tab(self):
        self.type("\t")


KEYS = {"\r": ["ret"], "\t": ["tab"], "\n": ["ret"], " ": ["spc"], "-": ["minus"], "=": ["equal"], "/": ["slash"],
        ".": ["dot"], ",": ["comma"], "+": ["shift", "equal"], "_": ["shift", "minus"], ":": ["shift", "semicolon"],
        "\"": ["shift", "apostrophe"], "{": ["shift", "bracket_left"], "}": ["shift", "bracket_right"]}


class VgaScreen:
    """The machine's screen in text mode, and its keyboard."""

    def __init__(self, running):
        self.running = running

    def text(self):
        expect(self.running.read(0.05) is not None, "the machine went off")
        return "\n".join(self.running.screen())

    def wait(self, *texts, patience=STEP_PATIENCE):
        end = time.monotonic() + patience
        while not all(text in (shown := self.text()) for text in texts):
            expect(time.monotonic() < end, f"{texts} was not on the screen within {patience} s:\n{shown}")
            time.sleep(LOOK_EVERY)
        return shown

    def type(self, text):
        for character in text:
            codes = KEYS.get(character) or (["shift", character.lower()] if character.isupper() else [character])
            self.running.command("send-key", keys=[{"type": "qcode", "data": code} for code in codes], **{"hold-time": 20})
            time.sleep(0.06)  # the keyboard has no other way to say that it has sent the key

    def enter(self):
        self.type("\r")

    def tab(self):
        self.type("\t")

    def keep(self, path):
        self.running.command("screendump", filename=path)
        expect(os.path.getsize(path) > 10000, "the screen's picture is empty")


def pasted(secret_file):
    with open(secret_file, encoding="utf-8") as file:
        return json.dumps(json.load(file))


def to_sources(terminal, uuid):
    """From the first key to the question for the secret; its picture."""
    terminal.wait("waits for you on every console", patience=BOOT_PATIENCE)
    terminal.enter()
    terminal.wait("step 1 of 9", "Enter Continue")
    terminal.enter()
    terminal.wait("Which state disk", uuid)
    terminal.enter()
    return terminal.wait("What is to open the disk?")


def rescue_on(terminal, uuid, secret_file):
    """From the first key to the report; the picture of the report."""
    to_sources(terminal, uuid)
    terminal.wait("> type or paste it")
    terminal.enter()
    terminal.wait("Nothing of it is shown")
    terminal.type(pasted(secret_file))
    terminal.enter()
    terminal.wait("Diagnosis", "as it is")
    terminal.enter()
    terminal.wait("Choose path", "RECOMMENDED")
    terminal.enter()
    terminal.wait("Parameters", "peer URLs")
    for _ in range(4):
        terminal.tab()
    terminal.enter()
    review = terminal.wait("Review", "to write")
    terminal.type(re.search(r"Type ([0-9a-f]{4}) to write", review)[1])
    terminal.enter()
    return terminal.wait("Report", "RESCUED")


def no_secret_in(log, secret_file):
    with open(log, "rb") as file:
        record = file.read()
    with open(secret_file, encoding="utf-8") as file:
        for part, text in json.load(file).items():
            expect(text.rstrip("=").encode() not in record, f"the secret's {part} is in the console log")


def the_wizard_on_a_serial_line(bench):
    image, secret, uuid = bench.state_disk()
    with vm.Vm(bench.machine(disks=[image], tpm=True)) as running:
        line = SerialLine(running, bench.path("console.log"))
        report = rescue_on(line, uuid, secret)
        expect("safe to boot: yes" in report, "the report does not say that it is safe to boot:\n" + report)
        screens.keep(bench, "wizard-final.txt", report, screens.ANSWERS_BEGIN)
        line.type("o")
        expect(running.wait_off(60), "the machine did not power off")
    no_secret_in(bench.path("console.log"), secret)
    return "rescued at 80x24 on ttyS0"


def the_wizard_on_the_screen(bench):
    image, secret, uuid = bench.state_disk()
    with vm.Vm(bench.machine(disks=[image], direct=True)) as running:
        screen = VgaScreen(running)
        rescue_on(screen, uuid, secret)
        kept = os.path.join(os.path.dirname(bench.work), "wizard-on-vga.ppm")
        screen.keep(kept)
        running.wait_for(rb"in use on", STEP_PATIENCE)
        screen.type("o")
        expect(running.wait_off(60), "the machine did not power off")
    no_secret_in(bench.path("console.log"), secret)
    return f"rescued on VGA, picture: {os.path.basename(kept)}"


def the_wizard_asks_for_the_pin(bench):
    """A secret that one boot has sealed with a PIN opens the disk in the next; a wrong PIN is counted and asked again."""
    image, secret, uuid = bench.state_disk()
    state = bench.path("tpm-state")
    with vm.Vm(bench.machine(tpm_state=state, credentials={
            vm.JOB_CREDENTIAL: tpm_cases.seal_job(bench, to="nv", pin=True), vm.SECRET_CREDENTIAL: secret})) as running:
        for question in (rb"New PIN: ", rb"The same PIN again: "):
            running.wait_for(question, BOOT_PATIENCE)
            running.type(PIN.encode() + b"\r")
        running.wait_for(vm.RESULT, STEP_PATIENCE)
        expect(running.result()[0] == 0, f"sealing ended with {running.result()}")
        expect(running.wait_off(60), "the machine did not power off")
    before = cases.digest(image)
    with vm.Vm(bench.machine(tpm_state=state, disks=[image])) as running:
        line = SerialLine(running, bench.path("console.log"))
        expect("> the TPM of this machine" in to_sources(line, uuid), "the TPM is not offered first")
        line.enter()
        line.wait("> PIN", "left until the TPM locks")
        line.type(WRONG_PIN)
        line.enter()
        line.wait("the PIN is wrong", "> PIN")
        line.type(PIN)
        line.enter()
        line.wait("Diagnosis", "as it is")
        line.type("q")
        line.wait("Leave the wizard?")
        line.type("o")
        expect(running.wait_off(60), "the machine did not power off")
    with open(bench.path("console.log"), "rb") as file:
        expect(PIN.encode() not in file.read(), "the PIN is in the console log")
    expect(cases.digest(image) == before, "looking changed the disk")
    return "a wrong PIN, then the right one, on ttyS0"


def without_a_job_the_wizard_waits(bench):
    """On both consoles, with no login and no shell; the second one watches, takes over, and a lost key does no harm."""
    image, _, uuid = bench.state_disk()
    before = cases.digest(image)
    with vm.Vm(bench.machine(disks=[image], direct=True)) as running:
        line, screen = SerialLine(running, bench.path("console.log")), VgaScreen(running)
        line.wait("waits for you on every console", patience=BOOT_PATIENCE)
        screen.wait("waits for you on every console")
        screen.type("x")
        screen.wait("step 1 of 9")
        line.wait("in use on tty1")
        screen.enter()
        screen.wait("Which state disk", uuid)
        line.type("t")
        line.wait("Take the wizard over")
        line.type("y")
        line.wait("Which state disk", uuid)
        screen.wait("in use on ttyS0")
        for word in (b"login:", b"$ ", b"# "):
            expect(word not in running.console, f"the console offers {word.decode()!r}")
    expect(cases.digest(image) == before, "the disk was changed")
    return "one wizard on two consoles"


cases.ALL.update({
    "wizard-on-serial-line": the_wizard_on_a_serial_line,
    "wizard-on-vga": the_wizard_on_the_screen,
    "wizard-asks-for-tpm-pin": the_wizard_asks_for_the_pin,
    "wizard-on-two-consoles": without_a_job_the_wizard_waits,
})
