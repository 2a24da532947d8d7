"""What the booted image shows, kept as text: image/screens/ has what the README shows, and each run says whether it still does.

Numbers, names and times differ from run to run; what is compared is the word that each line begins with. With
ETCD_RESCUE_KEEP_SCREENS set, a run writes the files anew instead."""
import os
import re

from cases import REPOSITORY, expect

FOLDER = os.path.join(REPOSITORY, "image/screens")
# Where a text goes on with what is not the same in each rescue.
STAGES_END, ANSWERS_BEGIN = "\n\n", "\n  next "


def shape(text, end):
    """The first word of each line, without repetitions."""
    words = []
    for line in (text.partition(end)[0] if end else text).splitlines():
        match = re.match(r" {0,5}([A-Za-z-]+)", line)
        if match and (not words or words[-1] != match[1]):
            words.append(match[1])
    return words


def keep(bench, name, text, end=""):
    """Beside the run's logs, for people; and compared with the repository's, up to `end`."""
    text = "\n".join(line.rstrip() for line in text.replace("\r", "").strip("\n").splitlines()) + "\n"
    with open(os.path.join(os.path.dirname(bench.work), name), "w", encoding="utf-8") as file:
        file.write(text)
    known = os.path.join(FOLDER, name)
    if os.environ.get("ETCD_RESCUE_KEEP_SCREENS"):
        with open(known, "w", encoding="utf-8") as file:
            file.write(text)
    with open(known, encoding="utf-8") as file:
        expected = file.read()
    expect(shape(text, end) == shape(expected, end),
           f"{os.path.relpath(known, REPOSITORY)} is not what the image shows any more:\n{text}")
