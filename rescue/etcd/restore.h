// Strategy restore from the survivor's own backend, in place.
#pragma once

#include "rescue/etcd/plan.h"

namespace rescue::etcd {

// The survivor becomes the only member of a new logical cluster (or, with keep_ids, of its own
// one), without a copy of the database: one bbolt transaction on the backend rewrites the
// membership, and a new log takes the place of the old one. The new log starts with a snapshot at
// the backend's consistent index and carries every usable entry behind it, so what lives only in
// the log is not lost: etcd applies it at its next start. `etcdutl snapshot restore` of the same
// backend drops it: 2 to 125 acknowledged writes on 20 killed survivors.
//
// The .snap beside the new log is not decoration: without it, etcd 3.4 to 3.6 let the next member
// replay the log from its first entry, and it ends as a voter with an empty key space.
//
// Old log and .snap files are moved aside, into before-restore/ in their directories, or, when
// there is no room, into the journal.
Result<Plan> PlanRestore(const FileView& data, const Findings& findings, const Wishes& wishes);

}  // namespace rescue::etcd
