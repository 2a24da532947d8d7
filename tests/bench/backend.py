"""Makes a survivor with a large backend: a real etcd, values of 1 to 4 KiB, killed in work."""

import os
import random
import shutil

from etcdlab import process
from etcdlab.client import EtcdClient, b64

MIB = 1 << 20
DISTINCT = 4096           # keys that are written with their values; all other revisions repeat them
PUTS = 100                # in one transaction (etcd's limit is 128)
SMALLEST, LARGEST = 1 << 10, 4 << 10
SEED = 1


def provide(work, etcd, mib):
    """The data directory; made unless an earlier run left it. Its member is not alone, so that there is something to rescue."""
    data_dir = os.path.join(work, "survivor-%d" % mib, "etcd")
    if os.path.exists(os.path.join(os.path.dirname(data_dir), "complete")):
        return data_dir
    shutil.rmtree(os.path.dirname(data_dir), ignore_errors=True)
    os.makedirs(os.path.dirname(data_dir))
    base = process.reserve_ports()
    client_url, peer_url = "http://127.0.0.1:%d" % base, "http://127.0.0.1:%d" % (base + 1)
    server = process.Etcd(etcd, ["--name=cp-0", "--data-dir=" + data_dir, "--listen-peer-urls=" + peer_url,
                                 "--initial-advertise-peer-urls=" + peer_url, "--listen-client-urls=" + client_url,
                                 "--advertise-client-urls=" + client_url, "--initial-cluster=cp-0=" + peer_url,
                                 "--quota-backend-bytes=%d" % (max(8 * mib, 64) * MIB)],
                          os.path.join(work, "etcd.log"))
    server.start()
    server.wait_ready(60)
    client = EtcdClient(client_url, timeout=60)
    _fill(client, mib)
    # Two peers that never start: the first leaves no quorum, so both in this order.
    client.member_add("http://127.0.0.1:%d" % (base + 2), learner=True)
    client.member_add("http://127.0.0.1:%d" % (base + 3))
    client.close()
    server.kill()
    open(os.path.join(os.path.dirname(data_dir), "complete"), "w").close()
    return data_dir


def _fill(client, mib):
    rng = random.Random(SEED)
    keys = [b"/registry/configmaps/ns-%d/object-%04d" % (n % 16, n) for n in range(DISTINCT)]
    for start in range(0, DISTINCT, PUTS):
        client.txn([], [{"requestPut": {"key": b64(key), "value": b64(rng.randbytes(rng.randint(SMALLEST, LARGEST)))}}
                        for key in keys[start:start + PUTS]])
    # The same values in new revisions: costs the log and the wire nothing, and the backend the same.
    again = [{"requestPut": {"key": b64(key), "ignoreValue": True}} for key in keys]
    at = 0
    while int(client.status()["dbSize"]) < mib * MIB:
        for _ in range(20):
            client.txn([], [again[(at + n) % DISTINCT] for n in range(PUTS)])
            at += PUTS
