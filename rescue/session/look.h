// Commands that only look, on top of the pipeline: at one file, or at several survivors at once.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "rescue/backup/snapshot_file.h"
#include "rescue/base/file.h"
#include "rescue/etcd/compare.h"
#include "rescue/etcd/snapshot_status.h"
#include "rescue/session/pipeline.h"

namespace rescue::session {

// Opens a snapshot or a backend by its path on this machine, for the time of the call; one that its
// name says is compressed, as in a backup store, is decompressed. Errors: kUsage "not-found" or
// "not-a-file"; kRefused "in-use" when etcd has it open; those of backup::OpenSeekable.
Status LookAtFile(const std::string& path,
                  const std::function<Status(const ReadableFile& file)>& look);

// What etcd's tools all call "hash mismatch", told apart: the verdict on the file that `status` was
// read from, with what came of it.
backup::Verdict VerdictOf(const etcd::SnapshotStatus& status, const Status& read);

// Opens every survivor (each disk is unlocked once), compares them while all are open, closes them
// again. `requests` name the places (--data-dir or --disk, secret); everything else in them is
// ignored. `outcomes` gets one outcome each, as far as it came. Fails when one of them cannot be
// opened: leaving it out is the operator's decision.
Result<etcd::Comparison> CompareSurvivors(const std::vector<Request>& requests, Observer& observer,
                                          std::vector<Outcome>& outcomes);

}  // namespace rescue::session
