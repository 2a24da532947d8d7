// A job: the wishes of an unattended run as a JSON document.
//
//   {"version": 1, "strategy": "force-new-cluster",        or "restore"
//    "disk": {"luks-uuid": "..."} or {"path": "/dev/vdb"},   optional: the only state disk; also
//                                                            "uuid", "label", "serial"
//    "consent": {"luks-uuid": "..."},                        the disk that may be changed; "uuid"
//                                                            for an unencrypted file system
//    "profile": "luks2",                                     optional, as --profile
//    "accept-header": ["kdf-cost"],                          optional, as --accept header:kdf-cost
//    "secret": {"from": "credential"},                       optional; or "tpm", "prompt", or
//    "token"
//                                                            (the disk's own, systemd-tpm2)
//    "report": {"console": true, "volume": true,             optional; where the report goes, and
//               "disk": {"label": "USB"}, "path": "report"}, another disk (vfat or ext4) for it
//    "at-end": "power-off",                                  or "reboot", or "wait": what the
//    "at-failure": "wait"}                                   appliance does then; these are the
//    defaults
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
// A restore from a backup (strategy "restore"):
//
//    "backup": {"from": "LABEL=BACKUP:/etcd-main",          as --from: a path in the volume, or on
//                                                            another disk
//               "to-revision": 1234,                         optional: point in time
//               "accept-hash-mismatch": true,                optional
//               "discard-old": true}                         optional: there is no room for both
//
// Unknown fields are errors, so that a misspelt wish is never silently ignored, and so are fields
// that are there twice. A job holds no secret: that comes as its own credential. job.schema.json
// says the same for other programs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/result.h"
#include "rescue/disk/header.h"
#include "rescue/etcd/plan.h"
#include "rescue/session/wishes.h"

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

// What the machine does when the job is over.
enum class AtEnd { kWait, kPowerOff, kReboot };
std::string_view Name(AtEnd at_end);

// Where the report goes.
struct ReportWish {
  bool console = true;  // all of it; the stages and the result are shown in any case
  bool volume = true;   // beside the journal
  std::string disk;     // besides, on this disk: a selector as --disk takes it; empty: on none
  std::string path = "etcd-rescue-report";  // there; PATH.txt and PATH.json

  bool operator==(const ReportWish&) const = default;
};

struct Job {
  etcd::Wishes wishes;
  BackupWishes backup;
  std::string disk;               // a selector as --disk takes it; empty: the only state disk
  std::string consent_luks_uuid;  // lower case; or the UUID of an unencrypted file system, as it is
  disk::HeaderPolicy policy;
  std::string log_directory;    // as --wal-dir; empty: where the volume says
  std::string secret_from;      // as --secret takes it; empty: the credential
  bool use_token = false;       // the disk opens with its own token; no secret is read
  std::optional<SealJob> seal;  // seal the secret; nothing is rescued
  ReportWish report;
  std::optional<AtEnd> at_end;      // nothing: what the face does by itself
  std::optional<AtEnd> at_failure;  // the same

  bool operator==(const Job&) const = default;
};

// Errors: kUsage "bad-job"; the message names the field with the objects that it is in:
// "read the job: report.disk.label: not a text".
Result<Job> ParseJob(std::string_view text);
// The same for a document that was parsed already. kLook: it only looks, so that it needs no
// consent.
enum class JobUse { kChange, kLook };
Result<Job> ReadJob(const nlohmann::json& document, JobUse use);
// Every field that ParseJob knows, by such a name: "version", "disk", "disk.label", ...
std::vector<std::string> JobFields();

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
