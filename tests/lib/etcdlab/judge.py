"""Lets a real etcd judge a repaired data directory against what clients had been told."""

import json
import os
import subprocess
import time

from . import model, process
from .client import ConnectionLost, EtcdClient, EtcdError
from .process import Etcd, LabError, flag_value
from .wal import Log

READY_SECONDS = 60
OUT_OF_RANGE = 11  # gRPC status of a read at a compacted revision
PROBE = b"/etcd-rescue-test/probe"


class Judge:
    """One examination. `problems` are sentences; empty means that the directory passed."""

    def __init__(self, data_dir, expected, acks, etcd, etcdctl, work, extra_flags=(), log_of=None):
        self.data_dir, self.expected, self.acks = data_dir, expected, acks
        self.etcd_binary, self.etcdctl, self.work = etcd, etcdctl, work
        self.flags = [f.replace("{DATA_DIR}", data_dir) for f in expected["old_flags"]] + list(extra_flags)
        self.server = Etcd(etcd, self.flags, os.path.join(work, "etcd.log"))
        self.endpoint = self.server.endpoint
        self.client = EtcdClient(self.endpoint)
        # Read before etcd starts on the directory and goes on writing its log. A repair may have replaced the log: then
        # `log_of` is the survivor as it was found, with its log inside.
        self.logged_puts = None
        if acks is not None:
            elsewhere = None if log_of else flag_value(self.flags, "wal-dir")
            self.logged_puts = Log(os.path.join(log_of or data_dir, "member"), elsewhere).puts()
        self.problems, self.facts = [], {}
        self.cluster_id, self.member_id = expected["cluster_id"], expected["survivor"]["id"]
        self.former = None         # a FormerMember that must stay outside
        self.snapshot_tool = None  # when given, defragment and take a snapshot

    def becomes(self, cluster_id, member_id):
        """The survivor was restored into a new cluster with these IDs (hex)."""
        self.cluster_id, self.member_id = cluster_id.lstrip("0"), member_id.lstrip("0")
        self.expect(self.cluster_id != self.expected["cluster_id"], "a restored cluster with the former cluster's ID")
        self.expect(self.member_id not in [m["id"] for m in self.expected["members"]],
                    "a restored member with a former member's ID")

    def wrong(self, text):
        self.problems.append(text)

    def expect(self, condition, text):
        if not condition:
            self.wrong(text)

    # -- the parts, in the order in which they run

    def start(self):
        self.server.start()
        self.facts["ready_seconds"] = round(self.server.wait_ready(READY_SECONDS), 2)

    def check_flags(self):
        """The point is that the node's own manifest needs no change."""
        members = flag_value(self.flags, "initial-cluster") or ""
        self.expect(members.count("=") > 1, "the old flags do not name the old members: this checks nothing")

    def check_membership(self):
        name = self.expected["survivor"]["name"]
        end = time.monotonic() + 15
        # A member publishes its name a moment after it started to serve.
        while True:
            cluster_id, members = self.client.members()
            if [m["name"] for m in members] == [name] or time.monotonic() > end:
                break
            time.sleep(0.1)
        self.expect(cluster_id == self.cluster_id, "cluster ID is %s, expected %s" % (cluster_id, self.cluster_id))
        if len(members) != 1:
            self.wrong("%d members instead of one: %s" % (len(members), [m["name"] or m["id"] for m in members]))
            return
        me, survivor = members[0], self.expected["survivor"]["id"]
        before = next(m for m in self.expected["members"] if m["id"] == survivor)
        for aspect, want in (("id", self.member_id), ("name", name), ("peerURLs", before["peerURLs"]), ("learner", False)):
            self.expect(me[aspect] == want, "the member's %s is %s, expected %s" % (aspect, me[aspect], want))
        status = self.client.status()
        self.expect("%x" % int(status.get("leader", 0)) == self.member_id, "the survivor is not the leader")
        alarms = sorted(a["alarm"] if isinstance(a, dict) else a for a in self.expected.get("alarms", []))
        have = self.client.alarms()
        self.expect(have == alarms, "alarms are %s, expected %s" % (have, alarms))

    def read_keys(self):
        revision, keys = self.client.range_all()
        return revision, {key: {f: model.sha256(s["value"]) if f == "value_sha256" else s[f] for f in model.FIELDS}
                          for key, s in keys.items()}

    def check_keys(self, losses_allowed):
        """Acknowledged writes: all of them; or, where losses are allowed, an exact prefix of them."""
        revision, have = self.read_keys()
        self.facts.update(revision=revision, keys=len(have), lost_acknowledged=0)
        expected = self.expected
        if losses_allowed and self.acks is not None and revision < expected["acked_max_revision"]:
            expected, lost = model.at_revision(expected, self.acks, revision)
            self.facts.update(lost_acknowledged=len(lost), lost_revisions=[lost[0][0], lost[-1][0]])
            self._count_lost_although_logged(lost)
        elif revision < expected["acked_max_revision"]:
            self.wrong("the store's revision is %d, but %d was acknowledged" % (revision, expected["acked_max_revision"]))
        found, kept = model.compare(expected, have)
        if found and expected is not self.expected:
            self.wrong("what is left is not a prefix of what was acknowledged")
        self.problems += found[:20] + (["... and %d more keys" % (len(found) - 20)] if len(found) > 20 else [])
        self.facts["kept_unacknowledged"] = kept
        if self.acks is not None and not found:
            # Every revision above the first is one acknowledged write or one kept unacknowledged operation.
            explained = 1 + sum(1 for ack in self.acks if ack[0] <= revision) + kept
            self.expect(explained == revision, "the store is at revision %d, but clients' writes only make %d"
                        % (revision, explained))
        return revision, have

    def _count_lost_although_logged(self, lost):
        logged = [revision for revision, changes in lost for key, state in changes
                  if state and (key, state["value_sha256"]) in self.logged_puts]
        self.facts["lost_although_logged"] = len(set(logged))

    def check_leases(self):
        have, want = self.client.leases(), {lease["id"]: lease["ttl"] for lease in self.expected.get("leases", [])}
        maybe = set(self.expected.get("leases_maybe", []))
        self.expect(set(want) <= have, "leases are missing: %s" % sorted(set(want) - have))
        self.expect(have <= set(want) | maybe, "leases that nobody granted: %s" % sorted(have - set(want) - maybe))
        for lease in sorted(have & set(want)):
            if want[lease] is not None:
                granted = self.client.lease_granted_ttl(lease)
                self.expect(granted == want[lease], "lease %d: granted TTL is %d, was %d" % (lease, granted, want[lease]))

    def check_history(self):
        """Reads in the past answer as before; below the compaction they fail."""
        compacted = self.expected.get("compact_revision")
        if compacted:
            try:
                self.client.get(PROBE, compacted - 1)
                self.wrong("revision %d can be read although %d was compacted" % (compacted - 1, compacted))
            except EtcdError as error:
                self.expect(error.code == OUT_OF_RANGE, "reading a compacted revision: %s" % error)
        for sample in self.expected.get("history_samples", []):
            if sample["revision"] > self.facts["revision"]:
                continue
            state = self.client.get(model.unb64(sample["key_b64"]), sample["revision"])
            self.expect(state is not None and state["mod_revision"] == sample["mod_revision"] and
                        model.sha256(state["value"]) == sample["value_sha256"],
                        "at revision %d the key %s reads otherwise than before" % (sample["revision"], sample["key_b64"]))

    def check_work(self, revision):
        """It takes writes, and they survive a SIGKILL."""
        self.expect(self.client.put(PROBE, b"one") == revision + 1, "the first new write has not the next revision")
        _, before = self.read_keys()
        self.server.kill()
        self.client.close()
        self.server.start()
        self.facts["restart_seconds"] = round(self.server.wait_ready(READY_SECONDS), 2)
        state = self.client.get(PROBE)
        self.expect(state is not None and state["value"] == b"one", "a write is gone after SIGKILL and restart")
        _, after = self.read_keys()
        self.expect(before == after, "the keys changed by SIGKILL and restart: %s" %
                    [k.decode(errors="replace") for k in sorted(set(before) | set(after))
                     if before.get(k) != after.get(k)][:5])
        self.expect(self.client.delete(PROBE)[1] == 1, "a deletion does not work after the restart")

    def check_etcdctl(self):
        """etcd's own client sees the same single member."""
        answer = self._etcdctl("member", "list", "-w", "json")
        self.expect(["%x" % m["ID"] for m in answer["members"]] == [self.member_id],
                    "etcdctl member list: %s" % answer["members"])

    def _etcdctl(self, *arguments, endpoints=None):
        return json.loads(self._tool(self.etcdctl, "--endpoints", endpoints or self.endpoint, *arguments))

    @staticmethod
    def _tool(*command):
        done = subprocess.run(command, check=False, env=process.environment(), capture_output=True, timeout=60)
        if done.returncode:
            raise LabError("%s: %s" % (" ".join(command), done.stderr.decode(errors="replace")[-300:]))
        return done.stdout

    def check_maintenance(self):
        """The backend can be defragmented, and a snapshot of it can be saved and read."""
        revision, before = self.read_keys()
        self._tool(self.etcdctl, "--endpoints", self.endpoint, "defrag")
        self.expect(self.read_keys() == (revision, before), "defrag changed the keys")
        path = os.path.join(self.work, "snapshot.db")
        self._tool(self.etcdctl, "--endpoints", self.endpoint, "snapshot", "save", path)
        status = json.loads(self._tool(self.snapshot_tool, "snapshot", "status", path, "-w", "json"))
        self.facts["snapshot_keys"] = status["totalKey"]
        self.expect(status["revision"] == revision and status["totalKey"] >= len(before),
                    "a snapshot at revision %d with %d keys has the status %s" % (revision, len(before), status))

    def check_former_stays_outside(self):
        self.facts["refused_seconds"] = round(self.former.wait_refused(READY_SECONDS, self.server.log_path), 2)
        self.problems += self.former.problems(self.client)

    def check_join(self, base_port, learner):
        """A fresh second member gets everything and computes the same hash.

        As a learner that is promoted later (what kubeadm does since 1.29) it is there at once. Added as a voter it
        takes away the quorum until it runs, and a 3.5 server waits about 8 s for a read that cannot succeed.
        """
        peer, client = "http://127.0.0.1:%d" % base_port, "http://127.0.0.1:%d" % (base_port + 1)
        # Before the addition: afterwards lists may hang until the new member runs.
        _, members = self.client.members()
        # For some seconds after its start a server refuses to reconfigure an "unhealthy cluster".
        added = self._repeat("member add", lambda: self.client.member_add(peer, learner))
        flags = ["--name=joiner", "--data-dir=" + os.path.join(self.work, "joiner.etcd"),
                 "--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
                 "--listen-client-urls=" + client, "--advertise-client-urls=" + client,
                 "--initial-cluster=%s=%s,joiner=%s" % (members[0]["name"], members[0]["peerURLs"][0], peer),
                 "--initial-cluster-state=existing"]
        joiner = Etcd(self.etcd_binary, flags, os.path.join(self.work, "joiner.log"))
        started = time.monotonic()
        joiner.start()
        try:
            # Not by a linearizable read: one that is asked for too early is lost and blocks those after it for 7 s.
            joiner.wait_ready(READY_SECONDS, lambda client: int(client.status().get("leader", 0)) != 0)
            if learner:
                # Refused until the learner has caught up.
                self._repeat("member promote", lambda: self.client.member_promote(added))
                joiner.wait_ready(READY_SECONDS, lambda client: not client.status().get("isLearner", False))
            self.facts["join_seconds"] = round(time.monotonic() - started, 2)
            self._check_agreement(EtcdClient(client), client)
        finally:
            joiner.kill()

    @staticmethod
    def _repeat(what, action, seconds=30):
        end = time.monotonic() + seconds
        while True:
            try:
                return action()
            except EtcdError as error:
                if time.monotonic() > end:
                    raise LabError("%s: %s" % (what, error)) from error
                time.sleep(0.1)

    def _check_agreement(self, second, second_endpoint):
        self.client.put(PROBE, b"after the join")
        end = time.monotonic() + 20
        while True:
            hashes = [(x["HashKV"]["hash"], x["HashKV"]["header"]["revision"], x["HashKV"].get("compact_revision", 0))
                      for x in self._etcdctl("endpoint", "hashkv", "-w", "json",
                                             endpoints="%s,%s" % (self.endpoint, second_endpoint))]
            if len(set(hashes)) == 1 or time.monotonic() > end:
                break
            time.sleep(0.1)
        self.expect(len(hashes) == 2 and len(set(hashes)) == 1, "hashes of the two members differ: %s" % hashes)
        self.facts["hash"] = hashes[0][0]
        ours, theirs = (c.range_all(serializable=True)[1] for c in (self.client, second))
        self.expect(ours == theirs, "the joined member holds other data: %d keys, the survivor %d" % (len(theirs), len(ours)))
        _, members = second.members()
        self.expect(len(members) == 2 and not any(m["learner"] for m in members), "members after the join: %s" % members)

    # -- the examinations

    def examine(self, join):
        """Everything; `join` is None, "voter" or "learner" (how a second member joins). An old follower may lack what its log never received; an old leader may lack nothing."""
        def run():
            self.check_flags()
            self.start()
            self.check_membership()
            revision, _ = self.check_keys(losses_allowed=self.expected.get("killed_as") == "follower")
            # What the log never received cannot be brought back; what is on this disk must be.
            logged = self.facts.get("lost_although_logged", 0)
            self.expect(logged == 0, "%d acknowledged writes are lost although this disk's log holds them" % logged)
            if self.former:
                # It knocks at the door through all that follows.
                self.former.start()
            self.check_leases()
            self.check_history()
            self.check_etcdctl()
            if self.snapshot_tool:
                self.check_maintenance()
            self.check_work(revision)
            if self.former:
                self.check_former_stays_outside()
            if join:
                self.check_join(process.reserve_ports(), join == "learner")
        return self._guard(run)

    def count_losses(self):
        """Only starts, reads, and counts: for seeing what another way of repair costs."""
        def run():
            self.start()
            self.check_keys(losses_allowed=True)
        return self._guard(run)

    def _guard(self, run):
        started = time.monotonic()
        try:
            run()
        except (LabError, EtcdError, ConnectionLost) as error:
            self.wrong(str(error))
        finally:
            self.client.close()
            self.server.kill()
            if self.former:
                self.former.server.kill()
        if self.problems:
            self.facts["complaint"] = self.server.complaint()
        self.facts["seconds"] = round(time.monotonic() - started, 2)
        return not self.problems
