"""Reads the simpler of the two formats of shared survivors (survivors-basic) as an expected.json."""

import json
import os
import subprocess

from etcdlab import model

ANY = {"value_sha256": "", "create_revision": None, "mod_revision": None, "version": None, "lease": None}


def unpack(description, target, expected_path):
    """Unpacks the archive beside `description` as `target` and writes what must come back."""
    with open(description) as text:
        simple = json.load(text)
    archive = description[:-len(".json")] + ".tar.gz"
    parent = os.path.dirname(target)
    subprocess.run(["tar", "-xzf", archive, "-C", parent], check=True)
    os.rename(os.path.join(parent, simple["survivor"]), target)
    with open(expected_path, "w") as out:
        json.dump(expected_from(simple), out)


def value_hash(text):
    """A few values were not written down as base64: those are not compared."""
    return model.sha256(model.unb64(text)) if len(text) % 4 == 0 else ""


def expected_from(simple):
    keys = {}
    for key_b64, state in simple["keys"].items():
        keys[key_b64] = {"key_b64": key_b64, "value_sha256": value_hash(state["value"]),
                         **{field: int(state[field]) for field in model.FIELDS[1:]}}
    for number, key in enumerate(simple["attempted_not_acked"]):
        key_b64 = model.b64(key.encode())
        before = {f: keys[key_b64][f] for f in model.FIELDS} if key_b64 in keys else dict(model.ABSENT)
        keys[key_b64] = {"key_b64": key_b64, "maybe": True, "maybe_group": str(number), "alternatives": [before, ANY]}
    leases = {state["lease"] for state in keys.values() if state.get("lease")}
    client, peer = ("http://127.0.0.1:%d" % simple[kind] for kind in ("client_port", "peer_port"))
    return {
        "etcd": simple["etcd"], "cluster_id": simple["cluster_id_hex"], "killed_as": simple.get("survivor_role", "learner"),
        "members": [{"id": "%x" % int(m["ID"]), "name": m.get("name", ""), "peerURLs": m["peerURLs"]}
                    for m in simple["members"]],
        "survivor": {"id": simple["member_id_hex"], "name": simple["survivor"]},
        "old_flags": ["--name=" + simple["survivor"], "--data-dir={DATA_DIR}", "--listen-peer-urls=" + peer,
                      "--initial-advertise-peer-urls=" + peer, "--listen-client-urls=" + client,
                      "--advertise-client-urls=" + client, "--initial-cluster=" + simple["initial_cluster"],
                      "--initial-cluster-state=existing"],
        "keys": [keys[k] for k in sorted(keys, key=model.unb64)], "deleted_keys_b64": [], "alarms": [],
        "acked_max_revision": simple["last_acked_revision"], "leases": [{"id": x, "ttl": None} for x in sorted(leases)],
        # The lease may have been granted and no key that is left hangs on it.
        "leases_maybe": [simple["lease"]] if simple.get("lease") else []}
