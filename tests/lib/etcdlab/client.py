"""A client for etcd's JSON gateway (/v3/...) over one keep-alive connection; one object per thread."""

import base64
import http.client
import json
import socket
import urllib.parse


class EtcdError(Exception):
    """etcd answered with an error. `code` is the gRPC status (11: the revision was compacted)."""

    def __init__(self, path, status, code, message):
        super().__init__("%s: HTTP %d, code %s: %s" % (path, status, code, message))
        self.code, self.message = code, message


class ConnectionLost(OSError):
    """The connection broke: whether the request took effect is unknown."""


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text):
    return base64.b64decode(text or "")


class EtcdClient:
    def __init__(self, endpoint, timeout=30):
        url = urllib.parse.urlsplit(endpoint)
        self.host, self.port, self.timeout = url.hostname, url.port, timeout
        self.connection = None

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _exchange(self, method, path, body):
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
                self.connection.connect()
                # Header and body leave in two writes; without this the second one waits for an ACK.
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection.request(method, path, body)
            response = self.connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ConnectionLost("%s: %s" % (path, error)) from error

    def call(self, path, body):
        """POST; returns the decoded answer. Raises EtcdError (answered) or ConnectionLost (not answered)."""
        status, data = self._exchange("POST", path, json.dumps(body))
        try:
            answer = json.loads(data)
        except ValueError:
            answer = {"error": data[:200].decode(errors="replace")}
        if status != 200 or "error" in answer:
            raise EtcdError(path, status, answer.get("code"), answer.get("message") or answer.get("error"))
        return answer

    def health(self):
        status, data = self._exchange("GET", "/health", None)
        return status == 200 and json.loads(data).get("health") in ("true", True)

    def put(self, key, value, lease=0):
        """Returns the revision."""
        body = {"key": b64(key), "value": b64(value)}
        if lease:
            body["lease"] = str(lease)
        return revision_of(self.call("/v3/kv/put", body))

    def txn(self, compares, operations):
        return self.call("/v3/kv/txn", {"compare": compares, "success": operations, "failure": []})

    def delete(self, key):
        """Returns (revision, number of keys that were deleted)."""
        answer = self.call("/v3/kv/deleterange", {"key": b64(key)})
        return revision_of(answer), int(answer.get("deleted", 0))

    def range_all(self, revision=0, serializable=False):
        """Every key: (store's revision, {key: {value, create_revision, mod_revision, version, lease}})."""
        keys, start, head = {}, b"\0", None
        while True:
            body = {"key": b64(start), "range_end": b64(b"\0"), "limit": "2000", "serializable": serializable}
            if revision or head:
                body["revision"] = str(revision or head)
            answer = self.call("/v3/kv/range", body)
            # All pages are read at the revision of the first, so that they are one snapshot.
            head = head or revision_of(answer)
            page = answer.get("kvs", [])
            for kv in page:
                keys[unb64(kv["key"])] = {
                    "value": unb64(kv.get("value")), "create_revision": int(kv["create_revision"]),
                    "mod_revision": int(kv["mod_revision"]), "version": int(kv["version"]),
                    "lease": int(kv.get("lease", 0))}
            if not answer.get("more"):
                return head, keys
            start = unb64(page[-1]["key"]) + b"\0"

    def get(self, key, revision=0):
        """One key's state as in range_all, or None."""
        body = {"key": b64(key)}
        if revision:
            body["revision"] = str(revision)
        for kv in self.call("/v3/kv/range", body).get("kvs", []):
            return {"value": unb64(kv.get("value")), "create_revision": int(kv["create_revision"]),
                    "mod_revision": int(kv["mod_revision"]), "version": int(kv["version"]),
                    "lease": int(kv.get("lease", 0))}
        return None

    def compact(self, revision, physical=False):
        self.call("/v3/kv/compaction", {"revision": str(revision), "physical": physical})

    def lease_grant(self, lease, ttl):
        self.call("/v3/lease/grant", {"ID": str(lease), "TTL": str(ttl)})

    def lease_revoke(self, lease):
        """Returns the revision, which is exact only while nobody else writes."""
        return revision_of(self.call("/v3/lease/revoke", {"ID": str(lease)}))

    def leases(self):
        return {int(x["ID"]) for x in self.call("/v3/lease/leases", {}).get("leases", [])}

    def lease_granted_ttl(self, lease):
        return int(self.call("/v3/lease/timetolive", {"ID": str(lease)})["grantedTTL"])

    def status(self):
        return self.call("/v3/maintenance/status", {})

    def alarms(self):
        return sorted(x.get("alarm", "NONE") for x in
                      self.call("/v3/maintenance/alarm", {"action": "GET"}).get("alarms", []))

    def members(self):
        """(cluster ID in hex, [{id, name, peerURLs, clientURLs, learner}])"""
        answer = self.call("/v3/cluster/member/list", {})
        return "%x" % int(answer["header"]["cluster_id"]), [
            {"id": "%x" % int(m["ID"]), "name": m.get("name", ""), "peerURLs": m.get("peerURLs", []),
             "clientURLs": m.get("clientURLs", []), "learner": m.get("isLearner", False)}
            for m in answer["members"]]

    def member_add(self, peer_url, learner=False):
        """Returns the new member's ID."""
        return self.call("/v3/cluster/member/add", {"peerURLs": [peer_url], "isLearner": learner})["member"]["ID"]

    def member_promote(self, member):
        self.call("/v3/cluster/member/promote", {"ID": member})

    def snapshot(self):
        """The backend as this member has it now: the bytes of a bbolt file."""
        status, data = self._exchange("POST", "/v3/maintenance/snapshot", "{}")
        if status != 200:
            raise EtcdError("snapshot", status, None, data[:200].decode(errors="replace"))
        parts = bytearray()
        for line in data.splitlines():
            parts += unb64(json.loads(line)["result"].get("blob"))
        # The stream ends with the SHA-256 of what came before; pages are multiples of 512 bytes.
        return bytes(parts[:-32]) if len(parts) % 512 == 32 else bytes(parts)


def revision_of(answer):
    return int(answer["header"]["revision"])
