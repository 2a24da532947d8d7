"""What clients were told: every acknowledged write, and what may or may not have happened to the others."""

import base64
import hashlib
import json
import lzma
import os

ABSENT = {"absent": True}
FIELDS = ("value_sha256", "create_revision", "mod_revision", "version", "lease")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    return base64.b64decode(text)


class KeySpace:
    """The keys that one client owns: nobody else writes them, so their state follows from its own answers.

    An operation is a list of effects: (key, value or None for a deletion, lease). It is applied when it was
    acknowledged; when the answer never came, its keys are left alone from then on ("maybe").
    """

    def __init__(self, name):
        self.name = name
        self.live = {}      # key -> state (FIELDS)
        self.deleted = set()
        self.acks = []      # (revision, time, [(key, state or None)])
        self.maybe = []     # (group, [(key, before, after)])
        self.frozen = set()

    def acknowledge(self, revision, when, effects):
        changes = []
        for key, value, lease in effects:
            if value is None:
                if self.live.pop(key, None) is not None:
                    self.deleted.add(key)
                    changes.append((key, None))
                continue
            before = self.live.get(key)
            self.live[key] = {
                "value_sha256": value if isinstance(value, str) else sha256(value),
                "create_revision": before["create_revision"] if before else revision,
                "mod_revision": revision, "version": before["version"] + 1 if before else 1, "lease": lease}
            self.deleted.discard(key)
            changes.append((key, self.live[key]))
        if changes:
            self.acks.append((revision, when, changes))

    def doubt(self, effects):
        """The answer to this operation never came."""
        changes = []
        for key, value, lease in effects:
            before = self.live.get(key)
            after = dict(ABSENT)
            if value is not None:
                after = {"value_sha256": value if isinstance(value, str) else sha256(value),
                         "create_revision": before["create_revision"] if before else None, "mod_revision": None,
                         "version": before["version"] + 1 if before else 1, "lease": lease}
            changes.append((key, dict(before) if before else dict(ABSENT), after))
            self.frozen.add(key)
        self.maybe.append(("%s-%d" % (self.name, len(self.maybe)), changes))


def merge(spaces):
    """The parts of expected.json that say what must be there, and all acknowledgements in revision order."""
    keys, deleted, acks = {}, set(), []
    for space in spaces:
        for key, state in space.live.items():
            keys[key] = dict(state, key_b64=b64(key))
        deleted |= space.deleted
        acks += space.acks
        for group, changes in space.maybe:
            for key, before, after in changes:
                keys[key] = dict(keys.get(key, {"key_b64": b64(key)}), maybe=True, maybe_group=group,
                                 alternatives=[before, after])
    acks.sort(key=lambda ack: ack[0])
    return {"keys": [keys[k] for k in sorted(keys)],
            "deleted_keys_b64": sorted(b64(k) for k in deleted if k not in keys),
            "acked_max_revision": acks[-1][0] if acks else 1, "acked_writes": len(acks),
            "unacked_writes": sum(len(space.maybe) for space in spaces)}, acks


def history_samples(acks, above, rng, count):
    """Reads at older revisions (not compacted) that must still answer."""
    picks = [ack for ack in acks if ack[0] > above]
    samples = []
    for revision, _, changes in rng.sample(picks, min(count, len(picks))):
        for key, state in changes:
            if state:
                samples.append({"revision": revision, "key_b64": b64(key), "value_sha256": state["value_sha256"],
                                "mod_revision": revision})
                break
    return samples


def write_acks(path, acks):
    """One JSON line for each acknowledged write, in revision order."""
    with open(path, "w") as out:
        for revision, when, changes in acks:
            writes = [dict(state, key_b64=b64(key)) if state else {"key_b64": b64(key), "deleted": True}
                      for key, state in changes]
            out.write(json.dumps({"revision": revision, "seconds": round(when, 4), "writes": writes}) + "\n")


def read_acks(folder):
    """[(revision, [(key, state or None)])] from `acks` or the shorter acks.json.xz of some fixtures; else None.

    acks.json.xz keeps 16 digits of each value's hash and no create revision: both follow from the replay.
    """
    path = os.path.join(folder, "acks")
    if os.path.exists(path):
        acks = []
        with open(path) as lines:
            for line in lines:
                ack = json.loads(line)
                acks.append((ack["revision"], [
                    (unb64(w["key_b64"]), None if w.get("deleted") else {f: w[f] for f in FIELDS})
                    for w in ack["writes"]]))
        return acks
    path = os.path.join(folder, "acks.json.xz")
    if not os.path.exists(path):
        return None
    with lzma.open(path, "rt") as packed:
        short = json.load(packed)
    acks, live = [], {}
    for revision, writes in short:
        changes = []
        for write in writes:
            key = unb64(write[0])
            before = live.get(key)
            state = None
            if len(write) > 1:
                state = {"value_sha256": write[1], "create_revision": before["create_revision"] if before else revision,
                         "mod_revision": revision, "version": before["version"] + 1 if before else 1,
                         "lease": write[2]}
            live[key] = state
            changes.append((key, state))
        acks.append((revision, changes))
    return acks


def matches(have, want):
    """Does a key's state fit an expectation? None in the expectation means any; a short hash is a prefix."""
    if want.get("absent") or have is None:
        return bool(want.get("absent")) and have is None
    return (have["value_sha256"].startswith(want["value_sha256"]) and
            all(want[f] is None or have[f] == want[f] for f in FIELDS[1:]))


def compare(expected, have, ignore=()):
    """Every way in which a store's keys differ from expected.json's: a list of sentences; and how many
    operations that were never acknowledged are there."""
    problems, groups, seen = [], {}, set()
    for entry in expected["keys"]:
        key = unb64(entry["key_b64"])
        seen.add(key)
        state = have.get(key)
        if not entry.get("maybe"):
            if not matches(state, entry):
                problems.append("%s: %s" % (key.decode(errors="replace"), _difference(state, entry)))
            continue
        fits = [matches(state, alternative) for alternative in entry["alternatives"]]
        if not any(fits):
            problems.append("%s: is %s, which is neither its state without nor with the unacknowledged write"
                            % (key.decode(errors="replace"), state))
        groups.setdefault(entry.get("maybe_group"), []).append(fits)
    kept = 0
    for group, all_fits in groups.items():
        without, with_it = all(f[0] for f in all_fits), all(f[1] for f in all_fits)
        if not without and not with_it and all(any(f) for f in all_fits):
            problems.append("transaction %s is there only in part" % group)
        kept += with_it and not without
    gone = {unb64(x) for x in expected["deleted_keys_b64"]}
    for key in sorted(set(have) - seen - set(ignore)):
        problems.append("%s: %s" % (key.decode(errors="replace"),
                                    "is back although its deletion was acknowledged" if key in gone
                                    else "is there, but nobody wrote it"))
    return problems, kept


def _difference(state, entry):
    if state is None:
        return "is missing (acknowledged at revision %s)" % entry["mod_revision"]
    return ", ".join("%s is %s, acknowledged was %s" % (f, state[f], entry[f]) for f in FIELDS
                     if entry[f] is not None and not (f == "value_sha256" and state[f].startswith(entry[f]))
                     and state[f] != entry[f])


def at_revision(expected, acks, revision):
    """What a store that stopped at `revision` must hold: exactly the acknowledged writes up to it (and
    perhaps unacknowledged ones). Returns (expected as in expected.json, the acknowledged writes behind it)."""
    live, deleted, lost, touched_later = {}, set(), [], set()
    for ack_revision, changes in acks:
        if ack_revision > revision:
            lost.append((ack_revision, changes))
            touched_later.update(key for key, _ in changes)
            continue
        for key, state in changes:
            if state is None:
                live.pop(key, None)
                deleted.add(key)
            else:
                live[key] = state
                deleted.discard(key)
    keys = {key: dict(state, key_b64=b64(key)) for key, state in live.items()}
    for entry in expected["keys"]:
        key = unb64(entry["key_b64"])
        # A key's unacknowledged write came after all of its acknowledged ones.
        if entry.get("maybe") and key not in touched_later:
            before = dict(live[key]) if key in live else dict(ABSENT)
            keys[key] = dict(entry, alternatives=[before, entry["alternatives"][1]])
            deleted.discard(key)
    return dict(expected, keys=[keys[k] for k in sorted(keys)],
                deleted_keys_b64=[b64(k) for k in sorted(deleted)]), lost
