"""The terminal tier's cases. Each is a function of a Bench; it raises Failed and returns a summary line."""

import json
import os
import re
import subprocess
import time

import bench as disk_bench
import in_guest
from picture import Picture
from terminals import Failed, Pty, Tmux, check

HERE = os.path.dirname(os.path.realpath(__file__))
FIXTURES = os.path.realpath(os.path.join(HERE, "..", "fixtures"))


class Bench(disk_bench.Bench):
    """One case's folder; survivors unpacked, disks made as for the disk tier."""

    def survivor(self, name="3516-leader", folder="survivor"):
        """A data directory of its own."""
        into = self.path(folder)
        os.makedirs(into)
        subprocess.run(["tar", "-xf", os.path.join(FIXTURES, "survivors", name + ".tar.xz"), "-C", into], check=True)
        return os.path.join(into, "etcd")

    def wizard(self, *words):
        return [self.program, "wizard", *words]

    def tmux(self, *words, **options):
        return Tmux(self.wizard(*words), self.work, **options)

    def make_slow_disk(self, image):
        """A disk whose key takes seconds to derive."""
        subprocess.run([os.path.join(disk_bench.TOOLS, "make-state-disk"), "--out", image, "--size", "64", "--secret",
                        self.secret, "--tree", self.tree(), "--argon2-memory", "524288", "--no-integrity"], check=True,
                       stdout=subprocess.DEVNULL)

    def run(self, *words):
        return subprocess.run([self.program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)

    def rescued(self, data):
        done = self.run("verify", "--data-dir", data)
        check(done.returncode == 0, "verify says no after the rescue: " + done.stdout)

    def untouched(self, data, before):
        check(tree_of(data) == before, "the data directory was changed")
        check(not os.path.exists(data + ".etcd-rescue"), "a journal was left behind")


def tree_of(folder):
    """Every name below, with size, time and content's hash."""
    found = {}
    for root, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(root, name)
            status = os.stat(path)
            found[path] = (status.st_size, status.st_mtime_ns, disk_bench.sha256(path))
    return found


def environment(term):
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "LINES", "COLUMNS")}
    return {**clean, **({"TERM": term} if term else {}), "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


def word_of(picture):
    """What has to be typed to confirm."""
    found = re.search(r"Type ([0-9a-z]{4}) to write", picture)
    check(found, "the review asks for no word:\n" + picture)
    return found[1]


def to_review(screen):
    screen.wait("step 1 of", "Enter Continue")
    screen.press("Enter")
    screen.wait("step 2 of", "Which data directory")
    screen.press("Enter")
    screen.wait("Diagnosis", "survivor", "as it is")
    screen.press("Enter")
    screen.wait("Choose path", "RECOMMENDED")
    screen.press("Enter")
    screen.wait("Parameters", "peer URLs")
    screen.press("Up")
    for _ in range(4):
        screen.press("Tab")
    screen.press("Enter")
    return screen.wait("Review", "to write")


def the_whole_way(bench, **options):
    data = bench.survivor()
    with bench.tmux("--data-dir", data, **options) as screen:
        screen.type(word_of(to_review(screen)))
        screen.press("Enter")
        report = screen.wait("Report", "RESCUED")
        screen.press("Enter")
        check(screen.ended() == 0, "the wizard did not end well")
    bench.rescued(data)
    return report


def whole_way(bench):
    """From Welcome to Report, and the survivor leads alone."""
    report = the_whole_way(bench)
    check("leads cluster" in report, report)
    return "rescued at 80x24"


def whole_way_without_function_keys(bench):
    """Letters, Enter, Space and Tab are enough, with no colours, on a vt100."""
    data = bench.survivor()
    with bench.tmux("--data-dir", data, "--mono", term="vt100") as screen:
        screen.wait("step 1 of")
        screen.press("h")
        screen.wait("Help: Welcome")
        screen.press("Enter")
        screen.wait("step 1 of")
        to_review(screen)
        # Letters are text in the field; off it they are keys.
        screen.press("Tab")
        screen.wait("> Show all of it first")
        screen.press("d")
        screen.wait("Details")
        screen.press("b")
        screen.wait("> Show all of it first")
        screen.press("BTab")
        screen.type(word_of(screen.text()))
        screen.press("Enter")
        screen.wait("RESCUED")
        screen.press("d")
        screen.wait("Details")
        screen.press("b")
        screen.wait("RESCUED")
        screen.press("u")
        screen.wait("Taking the last apply back")
        screen.type("undo")
        screen.press("Enter")
        screen.wait("UNDONE")
        screen.press("q")
        screen.wait("Leave the wizard?")
        screen.press("y")
        check(screen.ended() == 0, "exit status")
    return "rescued and taken back with letters only"


def cancel_everywhere(bench):
    """Ctrl-C asks on every screen; no goes on, yes leaves, and nothing was changed."""
    data = bench.survivor()
    before = tree_of(data)
    screens = ["Welcome", "Disks", "Diagnosis", "Choose path", "Parameters", "Review"]
    for stop in screens:
        with bench.tmux("--data-dir", data) as screen:
            for title in screens:
                screen.wait(" %s " % title)
                if title == stop:
                    break
                if title == "Parameters":
                    for _ in range(4):
                        screen.press("Tab")
                screen.press("Enter")
            screen.press("C-c")
            screen.wait("Leave the wizard?")
            screen.press("n")
            screen.wait(" %s " % stop)
            screen.press("C-c")
            screen.wait("Leave the wizard?")
            screen.press("y")
            check(screen.ended() == 7, "%s: leaving unconfirmed is exit code 7" % stop)
        bench.untouched(data, before)
    return "asked and left on %d screens" % len(screens)


def back_and_changed_answers(bench):
    """Back from the review, other answers, another plan; what was typed is still there."""
    data = bench.survivor()
    with bench.tmux("--data-dir", data) as screen:
        first = word_of(to_review(screen))
        screen.press("Escape")
        screen.wait("Parameters")
        screen.press("BTab", "BTab", "BTab", "BTab")
        screen.press("C-u")
        screen.type("http://localhost:2380")
        screen.wait("only reaches")
        screen.press("C-u")
        screen.type("https://192.0.2.7:2380")
        screen.press("Tab")
        screen.type("1000")
        screen.press("Escape")
        screen.wait("Choose path")
        screen.press("Enter")
        screen.wait("192.0.2.7")
        for _ in range(6):
            screen.press("Tab")
        screen.press("Enter")
        second = word_of(screen.wait("Review", "becomes"))
        check(first != second, "other answers gave the same plan")
        screen.type(first)
        screen.press("Enter")
        screen.wait("nothing was written")
        screen.type(second)
        screen.press("Enter")
        screen.wait("RESCUED")
        screen.press("Enter")
        check(screen.ended() == 0, "exit status")
    bench.rescued(data)
    members = json.loads(bench.run("members", "--data-dir", data, "--json").stdout)
    check("192.0.2.7" in json.dumps(members), "the new peer URL is not in the data")
    return "the changed answers were applied"


def resize_in_the_middle(bench):
    """Every size draws at once; too small is line mode, and larger is the screen again."""
    data = bench.survivor()
    with bench.tmux("--data-dir", data) as screen:
        to_review(screen)
        for columns, rows in ((132, 43), (60, 20), (80, 24)):
            screen.resize(columns, rows)
            picture = screen.wait("Review", "to write")
            check(len(picture.split("\n")) >= rows, "the picture is smaller than the window")
        screen.resize(50, 12)
        screen.wait("/b to go back:")
        screen.resize(100, 30)
        picture = screen.wait("step 6 of 8")
        screen.type(word_of(picture))
        screen.press("Enter")
        screen.wait("RESCUED")
    bench.rescued(data)
    return "132x43, 60x20, 50x12, 100x30"


# ---- line mode ----

def line_answers(line, data_word=None):
    """The questions in their order; what is answered."""
    line.wait("[1/8] Welcome")
    line.wait("Continue [Enter]: ")
    line.send("\n")
    line.wait("[2/8] Disks")
    line.wait("[Enter: those marked]: ")
    line.send("1\n")
    at = line.wait("[3/8] Diagnosis")
    line.wait("Continue [Enter]: ", at)
    line.send("\n")
    at = line.wait("[4/8] Choose path")
    line.wait("Number [1]: ", at)
    line.send("h\n")
    line.wait("-- Help: Choose path --", at)
    line.wait("Number [1]: ", at)
    line.send("1\n")
    at = line.wait("[5/8] Parameters")
    for field in ("peer URLs", "raise revision by", "mark compacted", "drop the unknown"):
        at = line.wait(field + " [", at)
        line.send("\n")
    at = line.wait("[6/8] Review", at)
    at = line.wait("or /b to go back: ", at)
    word = word_of(line.record.decode(errors="replace")[-2000:])
    line.send("\n")
    at = line.wait("or /b to go back: ", at)
    line.send("nope\n")
    at = line.wait("nothing was written", at)
    line.send(word + "\n")
    at = line.wait("[8/8] Report", at)
    line.wait("Number [1]: ", at)
    line.send("1\n")
    return word


def line_mode(bench, term, words=()):
    data = bench.survivor()
    with Pty(bench.wizard("--data-dir", data, *words), environment=environment(term)) as line:
        line_answers(line)
        check(line.ended() == 0, "exit status")
        record = line.record
    bench.rescued(data)
    check(b"\x1b" not in record, "an escape sequence in line mode: %r" % record[record.find(b"\x1b"):][:40])
    return record.decode()


def line_mode_transcript(bench):
    """A dumb terminal gets numbered questions; the transcript reads as a record of the rescue."""
    transcript = line_mode(bench, "dumb")
    for words in ("etcd from the last survivor", "Nothing is changed before you confirm", "survivor     member",
                  "loses nothing that reached this disk", "remove       member", "RESCUED: member",
                  "next         "):
        check(words in transcript, "the transcript lacks %r:\n%s" % (words, transcript))
    for text in transcript.splitlines():
        # A question may have a long value in it; everything else is wrapped.
        check(len(text.rstrip("\r")) <= 80 or "]" in text, "a line of %d columns: %s" % (len(text), text))
    return "%d lines of record" % len(transcript.splitlines())


def line_mode_through_pipes(bench):
    """Answers from a pipe: for scripts without a terminal. The answers are in the record, too."""
    data = bench.survivor()
    plan = json.loads(bench.run("plan", "--data-dir", data, "--json").stdout)
    word = plan["plan"]["fingerprint"][:4]
    answers = "\n".join(["", "1", "", "1", "", "", "", "", word, "1", ""])
    done = subprocess.run(bench.wizard("--ui", "line", "--data-dir", data), input=answers, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, env=environment("dumb"))
    check(done.returncode == 0, "exit status %d:\n%s" % (done.returncode, done.stdout))
    check("to go back: " + word in done.stdout, "the answer is not in the record")
    bench.rescued(data)
    return "rescued by a pipe"


def line_mode_by_key_and_back(bench):
    """t leaves the full screen for line mode at the same place; 'screen' comes back."""
    data = bench.survivor()
    with bench.tmux("--data-dir", data) as screen:
        screen.wait("step 1 of")
        screen.press("Enter")
        screen.wait("step 2 of")
        screen.press("t")
        screen.wait("[2/8] Disks")
        screen.type("screen\n")
        screen.wait("step 2 of 8")
        screen.press("Enter")
        screen.wait("Diagnosis")
    return "to line mode and back"


# ---- what others got wrong ----

def harvester_2708_does_not_loop_at_80x24(bench):
    """An installer began anew again and again on a serial line of 80x24."""
    data = bench.survivor()
    with Pty(bench.wizard("--data-dir", data), environment=environment("vt220")) as line:
        line.wait_picture("step 1 of 8")
        line.settle()
        drawn = len(line.record)
        line.settle(3)
        check(len(line.record) == drawn, "it draws without being asked: %r" % line.record[drawn:][:200])
    return "still after %d bytes" % drawn


def clr_installer_475_is_not_blank_on_serial(bench):
    """A serial line knows no size, and may never answer: 80x24 is shown all the same."""
    data = bench.survivor()
    with Pty(bench.wizard("--data-dir", data), size=None, environment=environment("vt220")) as line:
        line.wait_picture("step 1 of 8")
        # The answers of a terminal of 132 columns that takes UTF-8.
        line.picture = Picture(132, 43)
        line.send(b"\x1b[1;2R\x1b[43;132R")
        line.wait_picture("step 1 of 8")
        line.send("h")
        line.wait_picture("Help: Welcome", "│")
    return "drawn at 80x24, then at 132x43 with lines"


def talos_8205_unknown_terminals_do_not_hang(bench):
    """A terminal type that nobody knows gets line mode, and so does none at all."""
    for term in ("no-such-terminal", "", "dumb", "unknown"):
        line_mode(bench, term)
        subprocess.run(["rm", "-rf", bench.path("survivor")], check=True)
    return "line mode on unknown, empty and dumb"


def coreos_installer_5_messages_do_not_stay_on_the_screen(bench):
    """What others write on the line is gone with Ctrl-L; what the program's own libraries print is in the log."""
    data = bench.survivor()
    with bench.tmux("--data-dir", data) as screen:
        screen.wait("step 1 of")
        tty = screen._tmux("display-message", "-p", "#{pane_tty}").strip()
        with open(tty, "w") as line:
            line.write("\x1b[5;1H[  12.345] kernel: a message over the screen")
        screen.wait("a message over")
        screen.press("C-l")
        picture = screen.wait_gone("a message over")
        check("step 1 of" in picture and "Enter Continue" in picture, picture)
    return "repainted"


def borders_without_a_locale(bench):
    """A small image has no UTF-8 locale: the screen gets ASCII borders and gauges, not blanks in their place."""
    data, name = bench.survivor(), bench.path("tty1")
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /usr/lib/locale && exec "$@"', "sh"]
    with Pty(link=name) as line:
        wizard = subprocess.Popen(hidden + bench.wizard("--data-dir", data, "--console", name, "--appliance"),
                                  stdin=subprocess.DEVNULL, env=environment("linux"))
        try:
            line.wait_picture("step 1 of 8")
            line.send("h")
            picture = line.wait_picture("Help: Welcome", "| The way through")
            check("+----" in picture, "the box has no border:\n" + picture)
        finally:
            wizard.terminate()
            wizard.wait()
    return "a box of ASCII"


def dasharo_193_never_two_wizards(bench):
    """Two lines: the first key takes the wizard, the other one watches, and takes over after a question."""
    data = bench.survivor()
    first, second = bench.path("ttyS0"), bench.path("ttyS1")
    with Pty(link=first) as one, Pty(link=second) as two:
        command = bench.wizard("--data-dir", data, "--console", first, "--console", second, "--appliance")
        wizard = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment("vt220"))
        try:
            one.wait_picture("waits for you on every console")
            two.wait_picture("waits for you on every console")
            one.send("x")
            one.wait_picture("step 1 of 8", "Enter Continue")
            two.wait_picture("in use on ttyS0")
            one.send("\r")
            one.wait_picture("Which data directory")
            # What the watcher types does nothing here.
            two.send("\r\rqy")
            one.send("h")
            one.wait_picture("Help: Disks")
            one.send("\r")
            one.wait_picture("Which data directory")
            check("in use on" in two.picture.text(), "both lines have the wizard:\n" + two.picture.text())
            two.send("t")
            two.wait_picture("Take the wizard over")
            two.send("n")
            two.wait_picture("This console watches")
            two.send("t")
            two.wait_picture("Take the wizard over")
            two.send("y")
            two.wait_picture("Which data directory")
            one.wait_picture("in use on ttyS1")
            two.send("\r")
            two.wait_picture("Diagnosis", "as it is")
            one.send("\r\r\r")
            two.send("h")
            two.wait_picture("Help: Diagnosis")
            check("in use on" in one.picture.text(), "the first line still drives:\n" + one.picture.text())
        finally:
            wizard.terminate()
            wizard.wait()
    return "claimed, watched, taken over"


def a_lost_line_keeps_the_session(bench):
    """The serial line breaks; when it is back, so is the screen."""
    data = bench.survivor()
    name = bench.path("ttyS0")
    line = Pty(link=name)
    command = bench.wizard("--data-dir", data, "--console", name, "--appliance")
    wizard = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment("vt220"))
    try:
        line.wait_picture("step 1 of 8")
        line.send("\r")
        line.wait_picture("Which data directory")
        line.send("\r")
        line.wait_picture("as it is")
        line.hang_up()
        with Pty(link=name) as again:
            again.wait_picture("Diagnosis", "as it is")
            again.send("\r")
            again.wait_picture("RECOMMENDED")
        check(wizard.poll() is None, "the wizard has ended with the line")
    finally:
        wizard.terminate()
        wizard.wait()
        line.close()
    return "came back at the diagnosis"


# ---- secrets ----

def as_pasted(secret_file):
    """The master secret as people have it in a file, and its parts."""
    with open(secret_file) as file:
        parts = json.load(file)
    return "{\n  \"key\": \"%s\",\n  \"salt\": \"%s\"\n}" % (parts["key"], parts["salt"]), parts


def to_secret(line):
    line.wait_picture("step 1 of 9")
    line.send("\r")
    line.wait_picture("Which state disk")
    line.send("\r")
    line.wait_picture("What is to open the disk?", "type or paste it")
    line.send("\r")
    line.wait_picture("Nothing of it is shown")
    line.settle()


def no_part_of(parts, record, where):
    for part, text in parts.items():
        for begin in range(0, len(text) - 5):
            check(text[begin:begin + 6].encode() not in record, "six characters of the secret's %s are in %s" % (part, where))


def a_secret_leaves_no_trace(bench):
    """Every byte that goes to the terminal while a secret is typed, pasted and refused three times, and the log."""
    image = bench.disk("disk.img")
    text, parts = as_pasted(bench.other_secret)
    with Pty(bench.wizard("--disk", image), environment=environment("xterm-256color")) as line:
        to_secret(line)
        at = len(line.record)
        for byte in text.replace("\n", "").encode():
            line.send(bytes([byte]))
        line.settle()
        check(len(line.record) == at, "typing a secret draws: %r" % line.record[at:])
        line.send("\r")
        line.wait_picture("2 of 3")
        # With line breaks, as a terminal without bracketed paste sends it.
        line.send(text.replace("\n", "\r") + "\r")
        line.wait_picture("3 of 3")
        line.send("\x1b[200~" + text + "\x1b[201~\r")
        line.wait_picture("Three tries did not open the disk")
        line.send("l")
        line.wait_picture("Log", "FAILED")
        line.send("\r")
        line.wait_picture("Which state disk")
        record = line.record
    no_part_of(parts, record, "the terminal's bytes")
    return "three wrong secrets, %d bytes looked at" % len(record)


LATENCY_KEYS = 20
LATENCY_SECONDS = 0.05


def seconds_to_answer(line, key):
    line.settle(0.05)
    begin = time.monotonic()
    line.send(key)
    check(line.read(5), "a key was not answered")
    return time.monotonic() - begin


def latency(bench):
    """A key is answered within 50 ms while the engine works: it derives a key (argon2id) for seconds. What a bare echo
    takes beside it is the machine's doing, not the wizard's."""
    image = bench.path("slow.img")
    bench.make_slow_disk(image)
    text, _ = as_pasted(bench.other_secret)
    times, echoes = [], []
    echo = ["sh", "-c", "stty raw -echo && echo ready && exec cat"]
    with Pty(echo) as bare, Pty(bench.wizard("--disk", image), environment=environment("xterm-256color")) as line:
        bare.wait("ready")
        to_secret(line)
        line.send(text.replace("\n", "\r") + "\r")
        line.wait_picture("unlock: unlocking")
        while len(times) < LATENCY_KEYS and "2 of 3" not in line.picture.text():
            echoes.append(seconds_to_answer(bare, "l"))
            times.append(seconds_to_answer(line, "l" if len(times) % 2 == 0 else "b"))
        check("2 of 3" not in line.picture.text(), "the engine was done after %d keys" % len(times))
    times.sort()
    echoes.sort()
    # One slow answer may be the machine's doing, not two.
    check(times[-2] < LATENCY_SECONDS + echoes[-1], "answers took %s ms; a bare echo %s ms"
          % tuple(", ".join("%.0f" % (each * 1000) for each in some) for some in (times, echoes)))
    return "%d keys, half within %.1f ms, the slowest %.1f ms; a bare echo %.1f and %.1f ms" % (
        len(times), times[len(times) // 2] * 1000, times[-1] * 1000, echoes[len(echoes) // 2] * 1000, echoes[-1] * 1000)


def a_repaint_is_small(bench):
    """Under 4 KB for a full 80x24 with colours; updates are differences."""
    data = bench.survivor()
    largest = 0
    with Pty(bench.wizard("--data-dir", data), environment=environment("xterm-256color")) as line:
        for step, key in (("step 1 of", "\r"), ("Which data directory", "\r"), ("as it is", "\r"),
                          ("RECOMMENDED", "\r"), ("peer URLs", "")):
            line.wait_picture(step)
            line.settle()
            at = len(line.record)
            line.send(b"\x0c")
            line.settle()
            check(len(line.record) > at, "Ctrl-L draws nothing")
            largest = max(largest, len(line.record) - at)
            line.send(key)
        line.send("\t")
        line.settle()
        at = len(line.record)
        line.send("7")
        line.settle()
        one_key = len(line.record) - at
    check(largest < 4096, "a full repaint takes %d bytes" % largest)
    check(0 < one_key < 200, "one typed character takes %d bytes" % one_key)
    return "largest repaint %d bytes, one character %d" % (largest, one_key)


ALL = {
    "whole-way": whole_way,
    "letters-only": whole_way_without_function_keys,
    "cancel-everywhere": cancel_everywhere,
    "back-and-changed-answers": back_and_changed_answers,
    "resize-in-the-middle": resize_in_the_middle,
    "line-mode-transcript": line_mode_transcript,
    "line-mode-through-pipes": line_mode_through_pipes,
    "line-mode-by-key-and-back": line_mode_by_key_and_back,
    "harvester-2708-no-loop-at-80x24": harvester_2708_does_not_loop_at_80x24,
    "clr-installer-475-not-blank-on-serial": clr_installer_475_is_not_blank_on_serial,
    "talos-8205-unknown-terminal": talos_8205_unknown_terminals_do_not_hang,
    "coreos-installer-5-messages-over-the-screen": coreos_installer_5_messages_do_not_stay_on_the_screen,
    "borders-without-a-locale": borders_without_a_locale,
    "dasharo-193-never-two-wizards": dasharo_193_never_two_wizards,
    "lost-line-keeps-the-session": a_lost_line_keeps_the_session,
    "secret-leaves-no-trace": a_secret_leaves_no_trace,
    "repaint-is-small": a_repaint_is_small,
    "latency": latency,
    **in_guest.ALL,
}
