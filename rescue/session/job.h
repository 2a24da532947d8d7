// A job: the wishes of an unattended run as a JSON document.
//
//   {"version": 1, "strategy": "force-new-cluster",        or "restore"
//    "disk": {"luks-uuid": "..."} or {"path": "/dev/vdb"},   optional: the only state disk; also
//                                                            "uuid", "label", "serial"
//    "consent": {"luks-uuid": "..."},                        the disk that may be changed; "uuid"
//                                                            for an unencrypted file system
//    "profile": "luks2",                                     optional, as --profile
//    "accept-header": ["kdf-cost"],                          optional, as --accept header:kdf-cost
//    "secret": {"from": "credential"}}                       optional; or "tpm", or "prompt", or
//                                                            "token": the disk's own systemd-tpm2
//                                                            token
//
// Instead of a rescue, a job may seal the secret to the machine's TPM; then it names no disk:
//
//   {"version": 1, "seal": {"to": "nv"},                    or "esp", or "console"
//    "secret": {"from": "credential"}}                       or "prompt"
//
// Besides in "seal": "disk-key" (a LUKS UUID: only that disk's key), "pcr7", "pin", "replace".
//
// Besides, as on the command line: "accept-cut-tail", "accept-loss", "mark-compacted",
// "clear-alarms", "keep-ids" (true or false), "bump-revision" (a number), "peer-urls" (a list),
// "name", "initial-cluster-token", "commit" ("log-end" or "known"), "wal-dir" (a path in the
// volume).
//
// Unknown fields are errors, so that a misspelt wish is never silently ignored. A job holds no
// secret: that comes as its own credential.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rescue/base/result.h"
#include "rescue/disk/header.h"
#include "rescue/etcd/plan.h"

namespace rescue::session {

// What is sealed, and where the blob is kept.
struct SealJob {
  enum class To { kConsole, kNv, kEsp };
  To to = To::kConsole;
  std::string disk_key;      // LUKS UUID, lower case; empty: the master secret itself
  bool secure_boot = false;  // bind PCR 7
  bool pin = false;          // ask for one
  bool replace = false;      // what is there already

  bool operator==(const SealJob&) const = default;
};

struct Job {
  etcd::Wishes wishes;
  std::string disk;               // a selector as --disk takes it; empty: the only state disk
  std::string consent_luks_uuid;  // lower case; or the UUID of an unencrypted file system, as it is
  disk::HeaderPolicy policy;
  std::string log_directory;    // as --wal-dir; empty: where the volume says
  std::string secret_from;      // as --secret takes it, or "token"; empty: the credential
  bool use_token = false;       // as --token
  std::optional<SealJob> seal;  // seal the secret; nothing is rescued

  bool operator==(const Job&) const = default;
};

// Errors: kUsage "bad-job" with the field's name.
Result<Job> ParseJob(std::string_view text);

// "nv", "esp" or "console"; kUsage "bad-job".
Result<SealJob::To> ParseSealTo(std::string_view name);
// "force-new-cluster" or "restore"; kUsage "unknown-strategy" names what there is.
Result<etcd::Strategy> ParseStrategy(std::string_view name);
// "constellation" or "luks2"; kUsage "unknown-profile".
Result<disk::Profile> ParseProfile(std::string_view name);
// "header:CODE"; kUsage "unknown-accept" names what can be accepted.
Status AcceptByName(std::string_view name, disk::HeaderPolicy& policy);
// "log-end" or "known"; kUsage "unknown-commit".
Result<etcd::CommitLimit> ParseCommitLimit(std::string_view name);

}  // namespace rescue::session
