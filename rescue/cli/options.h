// What the command line can say, as values.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "rescue/cli/look.h"
#include "rescue/session/pipeline.h"

namespace rescue::cli {

struct TargetOptions {
  std::string data_directory;
  std::string disk;  // "auto": the only state disk
  std::string secret;
  std::string journal;
  std::string log_directory;  // --wal-dir
  std::string strategy;       // empty: plan recommends one, apply takes force-new-cluster
  std::string commit = "log-end";
  etcd::Wishes wishes;  // without strategy and commit
  bool quick = false;
  bool yes = false;
  bool json = false;
};

struct JobOptions {
  std::string job;
  std::string secret;
  std::vector<std::string> consoles;
};

struct KeyOptions {
  std::string luks_uuid;
  std::string secret;
};

// Which word of the command line was given.
enum class Verb { kInspect, kPlan, kApply, kVerify, kUndo, kDisks, kRun, kDeriveKey, kLook };

struct Options {
  Verb verb = Verb::kInspect;
  TargetOptions target;
  JobOptions job;
  KeyOptions key;
  LookOptions look;
};

// Declares every command on `app`; after a successful parse, `options` holds what was said.
void Declare(CLI::App& app, Options& options);

// What the session is to do. Errors: kUsage.
Result<session::Request> MakeRequest(session::Command command, const TargetOptions& options);

// Reads the secret named by an option: a file, "-" for standard input, or, when empty, the systemd
// credential etcd-rescue.master-secret.
std::function<Result<secret::Secret>()> SecretFrom(std::string option);

}  // namespace rescue::cli
