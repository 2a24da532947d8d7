"""Clients that write as a Kubernetes API server does, as fast as one member answers, and keep account."""

import random
import threading
import time

from .client import ConnectionLost, EtcdClient, EtcdError, b64, revision_of
from .model import KeySpace

# (resource, apiVersion, kind, written with a lease): the usual population of a cluster.
KINDS = (("pods", "v1", "Pod", False), ("events", "v1", "Event", True), ("configmaps", "v1", "ConfigMap", False),
         ("secrets", "v1", "Secret", False), ("leases", "coordination.k8s.io/v1", "Lease", False),
         ("deployments", "apps/v1", "Deployment", False), ("replicasets", "apps/v1", "ReplicaSet", False),
         ("services/endpoints", "v1", "Endpoints", False), ("minions", "v1", "Node", False))


def _delimited(number, data):
    size, length = len(data), bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes([number << 3 | 2]) + bytes(length) + data


def kubernetes_object(rng, api_version, kind, namespace, name):
    """"k8s\\0" and a runtime.Unknown message (typeMeta=1, raw=2), 0.2 to 4 KiB, mostly small."""
    metadata = (_delimited(1, name.encode()) + _delimited(3, namespace.encode()) +
                _delimited(5, ("%032x" % rng.getrandbits(128)).encode()))
    type_meta = _delimited(1, api_version.encode()) + _delimited(2, kind.encode())
    size = int(200 * (4096 / 200) ** (rng.random() ** 2))
    room = max(8, size - len(metadata) - len(type_meta) - 20)
    return b"k8s\0" + _delimited(1, type_meta) + _delimited(2, _delimited(1, metadata) +
                                                            _delimited(2, rng.randbytes(room)))


class Writer:
    """One client, bound to one member, with keys of its own."""

    def __init__(self, number, endpoint, seed, leases):
        self.number, self.endpoint, self.leases = number, endpoint, leases
        self.rng = random.Random(seed * 1000 + number)
        self.keys = KeySpace("w%d" % number)
        self.objects = []   # keys that may be picked, in creation order
        self.kind_of = {}
        self.created = 0
        self.failure = None

    # -- operations: each returns (compares, operations, effects)

    def _value(self, key):
        _, api_version, kind, _ = self.kind_of[key]
        parts = key.decode().split("/")
        return kubernetes_object(self.rng, api_version, kind, parts[-2], parts[-1])

    def _lease(self, key):
        return self.rng.choice(self.leases) if self.kind_of[key][3] else 0

    def _new_key(self):
        kind = self.rng.choice(KINDS)
        self.created += 1
        key = ("/registry/%s/ns-%d/%s-w%d-%05d" % (kind[0], self.rng.randrange(12), kind[2].lower(), self.number,
                                                   self.created)).encode()
        self.kind_of[key] = kind
        return key

    def _pick(self):
        """A key that is there, or None."""
        for _ in range(20):
            if not self.objects:
                return None
            position = self.rng.randrange(len(self.objects))
            key = self.objects[position]
            if key in self.keys.live and key not in self.keys.frozen:
                return key
            self.objects[position] = self.objects[-1]
            self.objects.pop()
        return None

    def _unchanged(self, key):
        state = self.keys.live.get(key)
        return {"key": b64(key), "target": "MOD", "result": "EQUAL",
                "modRevision": str(state["mod_revision"] if state else 0)}

    def _put(self, key):
        value, lease = self._value(key), self._lease(key)
        request = {"key": b64(key), "value": b64(value)}
        if lease:
            request["lease"] = str(lease)
        return {"requestPut": request}, (key, value, lease)

    @staticmethod
    def _delete(key):
        return {"requestDeleteRange": {"key": b64(key)}}, (key, None, 0)

    def _guarded(self, key, made):
        operation, effect = made
        return [self._unchanged(key)], [operation], [effect]

    def _several(self):
        """A transaction over several keys: new ones, changed ones, and sometimes a deletion."""
        keys = {self._pick() or self._new_key() for _ in range(self.rng.randint(1, 3))} | {self._new_key()}
        compares, operations, effects = [], [], []
        for key in sorted(keys):
            gone = key in self.keys.live and self.rng.random() < 0.25
            operation, effect = self._delete(key) if gone else self._put(key)
            compares.append(self._unchanged(key))
            operations.append(operation)
            effects.append(effect)
        return compares, operations, effects

    def _next(self, filling):
        choice = self.rng.random()
        if choice < (0.62 if filling else 0.35):
            key = self._new_key()
            return self._guarded(key, self._put(key))
        if choice < 0.88:
            key = self._pick() or self._new_key()
            if choice < 0.82:
                return self._guarded(key, self._put(key))
            operation, effect = self._put(key)
            return None, operation, [effect]
        if choice < 0.94:
            key = self._pick()
            if key is None:
                return self._several()
            if choice < 0.92:
                return self._guarded(key, self._delete(key))
            operation, effect = self._delete(key)
            return None, operation, [effect]
        return self._several()

    def _send(self, client, step):
        compares, operations, effects = step
        if compares is None:
            path, body = (("/v3/kv/put", operations["requestPut"]) if "requestPut" in operations else
                          ("/v3/kv/deleterange", operations["requestDeleteRange"]))
            return client.call(path, body)
        answer = client.txn(compares, operations)
        if not answer.get("succeeded"):
            raise AssertionError("nobody else writes %s, and yet it changed" % effects[0][0])
        return answer

    def run(self, go_on, filling):
        """Writes until go_on(self) is false or the member is gone."""
        client = EtcdClient(self.endpoint, timeout=10)
        try:
            while go_on(self):
                step = self._next(filling)
                try:
                    answer = self._send(client, step)
                except (EtcdError, ConnectionLost) as error:
                    # Also an error from etcd (no leader, time-out) may hide a write that takes effect later.
                    self.keys.doubt(step[2])
                    if isinstance(error, ConnectionLost):
                        return
                    continue
                self.keys.acknowledge(revision_of(answer), time.monotonic(), step[2])
                self.objects += [key for key, value, _ in step[2] if value is not None
                                 and self.keys.live[key]["version"] == 1]
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error    # Load.join reports it
        finally:
            client.close()


class Load:
    """Writers spread over all members: first fill (until there are enough keys), then storm (until killed)."""

    def __init__(self, endpoints, writers, seed, leases):
        self.writers = [Writer(n, endpoints[n % len(endpoints)], seed, leases) for n in range(writers)]
        self.threads = []

    def fill(self, keys):
        enough = -(-keys // len(self.writers))
        self._start(lambda writer: len(writer.keys.live) < enough, True)
        self.join()

    def storm(self):
        """Starts all writers, without an end; returns at once."""
        self._start(lambda writer: True, False)

    def _start(self, go_on, filling):
        self.threads = [threading.Thread(target=w.run, args=(go_on, filling), daemon=True) for w in self.writers]
        for thread in self.threads:
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()
        for writer in self.writers:
            if writer.failure is not None:
                raise writer.failure

    def spaces(self):
        return [writer.keys for writer in self.writers]
