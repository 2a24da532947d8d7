// What the command line can say, as values.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "rescue/cli/buttons.h"
#include "rescue/cli/fetch_job.h"
#include "rescue/cli/look.h"
#include "rescue/cli/seal.h"
#include "rescue/cli/serve_command.h"
#include "rescue/cli/supply_options.h"
#include "rescue/cli/unlock_options.h"
#include "rescue/session/pipeline.h"
#include "tui/wizard.h"

namespace rescue::cli {

struct TargetOptions {
  std::string data_directory;
  std::string disk;  // "auto": the only state disk
  std::string secret;
  SupplyOptions supply;
  UnlockOptions unlock;
  std::string journal;
  std::string log_directory;  // --wal-dir
  std::string strategy;       // empty: plan recommends one, apply takes force-new-cluster
  std::string commit = "log-end";
  etcd::Wishes wishes;  // without strategy and commit
  session::BackupWishes backup;
  bool quick = false;
  bool yes = false;
  bool json = false;
};

struct JobOptions {
  std::vector<std::string> jobs;  // the first one that exists
  std::string secret;             // empty: as the job says
  std::vector<std::string> consoles;
  bool check = false;
  bool appliance = false;
  unsigned wait_for_disk = 0;  // seconds
};

struct KeyOptions {
  std::string luks_uuid;
  std::string secret;
  SupplyOptions supply;
  bool force = false;
};

struct WizardWords {
  tui::WizardOptions options;
  std::string face = "auto";
};

// Which word of the command line was given.
enum class Verb {
  kInspect,
  kPlan,
  kApply,
  kVerify,
  kUndo,
  kDisks,
  kRun,
  kDeriveKey,
  kSeal,
  kLook,
  kWizard,
  kServe,
  kButtons,
  kFetchJob
};

struct Options {
  Verb verb = Verb::kInspect;
  TargetOptions target;
  JobOptions job;
  KeyOptions key;
  SealOptions seal;
  LookOptions look;
  ButtonOptions buttons;
  FetchOptions fetch;
  WizardWords wizard;
  ServeWords serve;
};

// Declares every command on `app`; after a successful parse, `options` holds what was said.
void Declare(CLI::App& app, Options& options);

// What the session is to do. Errors: kUsage.
Result<session::Request> MakeRequest(session::Command command, const TargetOptions& options);

}  // namespace rescue::cli
