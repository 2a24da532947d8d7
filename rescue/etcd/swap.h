// The edits that put a new log and a new .snap in the place of the old ones. Private to this room.
#pragma once

#include "rescue/etcd/plan_parts.h"

namespace rescue::etcd {

// In this order, so that as long as possible everything that was there is still in place, and that
// an etcd which somebody starts in between finds the old state, the new one, or no log to open:
//  1. The new log and .snap under names that etcd does not look at, inside before-restore/.
//  2. New pages of the backend, which the old meta page does not show.
//  3. Old segments into before-restore/; the last one gets a name that keeps etcd from starting.
//  4. Old .snap files into before-restore/; the new one gets its name.
//  5. The backend's meta page: from here on its new state counts.
//  6. A received backend takes the place of db, which goes to before-restore/.
//  7. The new log gets its name, and the last old segment goes to the others.
// `tight_space`: there is no room for two logs. The old files are removed first (their content goes
// to the journal, which then has to lie elsewhere), and nothing is kept beside. The last segment
// becomes the guard first, in the room of the zeros that it ends with; an etcd that has not
// preallocated any leaves no room for that, and nothing keeps it from starting in between.
Result<edit::EditList> PlanSwap(const FileView& data, const Findings& findings,
                                const bolt::CommitPlan& commit, const NewSnapshot& snapshot,
                                Bytes log, bool tight_space);

}  // namespace rescue::etcd
