#include "rescue/session/report.h"

#include <fmt/format.h>

#include <ctime>

#include "rescue/base/units.h"
#include "rescue/etcd/diagnosis.h"
#include "rescue/etcd/json.h"

namespace rescue::session {
namespace {

using nlohmann::json;

constexpr int kReportVersion = 1;

json NodeJson(const NodeFacts& facts) {
  json document = {{"layout", node::Name(facts.layout.kind)},
                   {"data_directory", facts.layout.data_directory},
                   {"manifest", facts.layout.manifest},
                   {"node_state_present", facts.node_state.present},
                   {"warnings", facts.warnings}};
  if (facts.manifest) {
    document["name"] = facts.manifest->name;
    document["image"] = facts.manifest->image;
    document["peer_urls"] = facts.manifest->initial_advertise_peer_urls;
  }
  return document;
}

std::string_view Name(edit::JournalState state) {
  switch (state) {
    case edit::JournalState::kIncomplete:
      return "incomplete";
    case edit::JournalState::kUnfinished:
      return "unfinished";
    case edit::JournalState::kApplied:
      return "applied";
  }
  return "unknown";
}

json JournalsJson(const Outcome& outcome) {
  json list = json::array();
  for (const auto& journal : outcome.journals) {
    list.push_back({{"name", journal.name},
                    {"state", Name(journal.state)},
                    {"size", journal.size},
                    {"plan", journal.plan_fingerprint},
                    {"note", journal.note}});
  }
  return list;
}

// ---- text ----

class Lines {
 public:
  template <typename... Args>
  void Add(std::string_view label, fmt::format_string<Args...> format, Args&&... args) {
    lines_.push_back(fmt::format("{:<{}} {}", label, kLabelWidth,
                                 fmt::format(format, std::forward<Args>(args)...)));
  }
  void List(std::string_view label, const std::vector<std::string>& items) {
    for (const auto& item : items) Add(std::exchange(label, ""), "{}", item);
  }
  void Gap() {
    if (!lines_.empty() && !lines_.back().empty()) lines_.emplace_back();
  }
  std::vector<std::string> Take() { return std::move(lines_); }

 private:
  std::vector<std::string> lines_;
};

void DescribeDisk(const Outcome& outcome, Lines& lines) {
  if (!outcome.disk) return;
  for (const auto& line : session::DescribeDisk(*outcome.disk)) {
    lines.Add(line.label, "{}", line.text);
  }
}

void DescribeNode(const Outcome& outcome, Lines& lines) {
  if (!outcome.node) return;
  const NodeFacts& facts = *outcome.node;
  const auto& directory = facts.layout.data_directory;
  lines.Add("node", "{} layout, data directory {}{}", node::Name(facts.layout.kind),
            directory.empty() ? "." : directory,
            facts.manifest && !facts.manifest->name.empty()
                ? fmt::format(", member name {}", facts.manifest->name)
                : "");
  lines.List("warning", facts.warnings);
}

std::string BackendText(const etcd::Findings& findings) {
  const etcd::Backend& backend = *findings.backend;
  std::string text =
      fmt::format("{}, revision {}", FormatSize(backend.file_size), backend.latest.main);
  if (backend.compacted > 0) text += fmt::format(" (compacted up to {})", backend.compacted);
  text += fmt::format(", has applied log entry {}", backend.consistent_index);
  if (findings.check) {
    text += findings.check->clean()
                ? fmt::format("; all {} pages checked, no damage", findings.check->pages)
                : fmt::format("; {} DAMAGED PLACES in {} pages", findings.check->problem_count,
                              findings.check->pages);
  }
  return text;
}

void DescribeBackend(const etcd::Findings& findings, Lines& lines) {
  if (findings.backend_error) lines.Add("backend", "{}", findings.backend_error->message);
  if (!findings.backend) return;
  lines.Add("backend", "{}", BackendText(findings));
  if (findings.check) {
    for (const auto& problem : findings.check->problems) {
      lines.Add("", "page {} {}: {}", problem.page, problem.bucket, problem.reason);
    }
  }
  if (!findings.backend->meta_problem.empty()) {
    lines.Add("warning", "{}", findings.backend->meta_problem);
  }
  for (const auto& alarm : findings.backend->alarms) {
    lines.Add("alarm", "{} set for member {}", etcd::Name(alarm.type), Hex16(alarm.member_id));
  }
  lines.List("warning", findings.backend->problems);
}

void DescribeLog(const etcd::Findings& findings, Lines& lines) {
  if (findings.log_error) lines.Add("log", "{}", findings.log_error->message);
  if (!findings.log) return;
  const raftlog::Log& log = *findings.log;
  lines.Add("log", "segments: {}, entries {} to {}, committed up to {}, term {}; tail {}",
            log.segments.size(), log.entries.empty() ? 0 : log.entries.front().index,
            log.last_index(), findings.CommitIndex(), log.last_term(), etcd::Name(log.tail.kind));
  if (log.tail.kind != raftlog::TailKind::kClean) {
    lines.Add("", "{}: {}", log.tail.path, log.tail.reason);
  }
  std::string requests;
  for (const auto& [kind, count] : findings.tail.requests) {
    requests += fmt::format("{}{} {}", requests.empty() ? "" : ", ", count, etcd::Name(kind));
  }
  lines.Add("only in log", "{} entries{}{}", findings.tail.entries,
            requests.empty() ? "" : fmt::format(" ({})", requests),
            findings.tail.above_commit == 0
                ? ""
                : fmt::format("; {} above the commit index on disk", findings.tail.above_commit));
}

void DescribeMembers(const etcd::Findings& findings, Lines& lines) {
  if (!findings.log) return;
  const std::uint64_t self = findings.log->metadata.node_id;
  lines.Add("survivor", "member {} of cluster {}, etcd {}", Hex16(self),
            Hex16(findings.log->metadata.cluster_id),
            findings.ClusterVersion().empty() ? "of unknown version" : findings.ClusterVersion());
  const auto state = etcd::Replay(findings, etcd::RuleFor(findings), findings.LastIndex());
  if (!state) {
    lines.Add("members", "{}", state.error().message);
    return;
  }
  std::string_view label = "members";
  for (const auto& [id, member] : state->store.members) {
    lines.Add(std::exchange(label, ""), "{} {:<12} {:<8} {}{}", Hex16(id),
              member.name.empty() ? "(never seen)" : Printable(member.name, 40),
              state->voters.contains(id)     ? "voter"
              : state->learners.contains(id) ? "learner"
                                             : "not in raft",
              member.peer_urls.empty() ? "" : Printable(member.peer_urls.front(), 80),
              id == self ? "  <- this disk" : "");
  }
}

void DescribeDiagnoses(const etcd::Findings& findings, Lines& lines) {
  for (const auto& diagnosis : etcd::Diagnose(findings)) {
    lines.Add(etcd::Name(diagnosis.severity), "{}: {}", diagnosis.code, diagnosis.text);
  }
}

void DescribeAdvice(const Outcome& outcome, Lines& lines) {
  if (!outcome.advice) return;
  const etcd::Advice& advice = *outcome.advice;
  lines.Gap();
  for (std::size_t i = 0; i < advice.alternatives.size(); ++i) {
    const auto& way = advice.alternatives[i];
    lines.Add(advice.recommended == i ? "RECOMMENDED" : "possible way", "{}", way.flags);
    if (way.error) {
      lines.Add("", "  not possible: {}", way.error->message);
    } else {
      lines.Add("", "  loses {}", etcd::Describe(way.loss));
    }
  }
  lines.List("because", advice.reasons);
}

void DescribePlan(const Outcome& outcome, Lines& lines) {
  if (!outcome.plan) return;
  const etcd::Plan& plan = *outcome.plan;
  lines.Gap();
  if (plan.nothing_to_do()) {
    lines.Add("plan", "nothing to do: the survivor already is the only member");
    return;
  }
  lines.Add("plan", "{} {}", etcd::Name(plan.strategy), plan.fingerprint.substr(0, 12));
  if (plan.cluster_id != plan.former_cluster_id) {
    lines.Add("cluster", "{} becomes {}", Hex16(plan.former_cluster_id), Hex16(plan.cluster_id));
    lines.Add("member", "{} becomes {} (token {})", Hex16(plan.former_member_id),
              Hex16(plan.survivor.id), plan.token);
  }
  for (const auto& member : plan.removed) {
    lines.Add("remove", "member {} {}", Hex16(member.id), Printable(member.name, 40));
  }
  if (plan.promotes_survivor) lines.Add("promote", "the survivor was a learner, becomes a voter");
  for (const auto& edit : plan.edits) lines.Add("edit", "{}", edit::Describe(edit));
  lines.List("kept", plan.kept);
  lines.List("lost", plan.lost);
  lines.List("warning", plan.warnings);
}

void DescribeResult(const Outcome& outcome, Lines& lines) {
  lines.Gap();
  if (outcome.verdict && outcome.verdict->leads_alone) {
    // Without an apply after it, a verdict is about a plan; without a plan, about what is there.
    const bool about_plan = outcome.plan && !outcome.applied;
    lines.Add(about_plan ? "outlook" : "verified", "{} would start and lead alone as {}{}",
              etcd::Name(outcome.verdict->state.rule), Hex16(outcome.verdict->self),
              about_plan && !outcome.plan->nothing_to_do() ? " after this plan" : "");
  }
  if (outcome.applied) {
    lines.Add("written", "{} into the data directory, {} of journal",
              FormatSize(outcome.applied->data_bytes), FormatSize(outcome.applied->journal_bytes));
    lines.Add("undo", "journal {} in {}", outcome.applied->journal_name, outcome.journal_path);
    lines.List("next", outcome.plan->next_steps);
  }
  if (outcome.built && outcome.applied) {
    lines.Add("restored", "revision {}: the base held {}, deltas brought {} changes",
              outcome.built->revision, outcome.built->base_revision, outcome.built->applied);
  }
  if (outcome.undone) {
    lines.Add("undone", "journal {}, edits taken back: {}", outcome.undone->journal_name,
              outcome.undone->edits_undone);
  }
}

void DescribeFindings(const Outcome& outcome, Lines& lines) {
  if (outcome.findings) {
    DescribeMembers(*outcome.findings, lines);
    DescribeBackend(*outcome.findings, lines);
    DescribeLog(*outcome.findings, lines);
    DescribeDiagnoses(*outcome.findings, lines);
    lines.List("note", outcome.findings->notes);
  }
  if (!outcome.log_path.empty()) lines.Add("log", "in {}", outcome.log_path);
  for (const auto& journal : outcome.journals) {
    lines.Add("journal", "{} ({}) in {}", journal.name, Name(journal.state), outcome.journal_path);
  }
}

void Describe(const Outcome& outcome, Section section, Lines& lines) {
  switch (section) {
    case Section::kDisk:
      return DescribeDisk(outcome, lines);
    case Section::kNode:
      return DescribeNode(outcome, lines);
    case Section::kFindings:
      return DescribeFindings(outcome, lines);
    case Section::kAdvice:
      return DescribeAdvice(outcome, lines);
    case Section::kPlan:
      return DescribePlan(outcome, lines);
    case Section::kResult:
      return DescribeResult(outcome, lines);
  }
}

// "0001.journal" -> "0001.report".
std::string ReportStem(const std::string& journal_name) {
  return journal_name.substr(0, journal_name.find('.')) + ".report";
}

Status WriteNew(RealFileSystem& files, const std::string& path, const std::string& content) {
  Attributes attributes;
  attributes.mode = 0600;
  RETURN_IF_ERROR(files.CreateFile(path, attributes));
  RETURN_IF_ERROR(files.WriteAt(path, 0, AsBytes(content)));
  return files.SyncFile(path);
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

}  // namespace

std::string_view Name(Command command) {
  switch (command) {
    case Command::kInspect:
      return "inspect";
    case Command::kPlan:
      return "plan";
    case Command::kRehearse:
      return "rehearse";
    case Command::kApply:
      return "apply";
    case Command::kVerify:
      return "verify";
    case Command::kUndo:
      return "undo";
    case Command::kLook:
      return "look";
  }
  return "unknown";
}

json FrameJson(std::string_view command, const Status& status) {
  json document = {{"version", kReportVersion},
                   {"command", command},
                   {"ok", status.has_value()},
                   {"exit_code", status ? 0 : static_cast<int>(status.error().kind)}};
  if (!status) {
    document["error"] = {{"code", status.error().code},
                         {"message", status.error().message},
                         {"hint", status.error().hint}};
  }
  return document;
}

json ToJson(const Command& command, const Outcome& outcome, const Status& status) {
  json document = FrameJson(Name(command), status);
  json stages = json::array();
  for (const auto& stage : outcome.stages) {
    stages.push_back({{"stage", Name(stage.stage)},
                      {"ok", stage.ok},
                      {"ms", stage.took.count()},
                      {"text", stage.text}});
  }
  document["stages"] = std::move(stages);
  if (outcome.disk) document["disk"] = ToJson(*outcome.disk);
  if (outcome.node) document["node"] = NodeJson(*outcome.node);
  document["journal"] = outcome.journal_path;
  if (!outcome.log_path.empty()) document["log"] = outcome.log_path;
  document["journals"] = JournalsJson(outcome);
  if (outcome.findings) document["findings"] = etcd::ToJson(*outcome.findings);
  if (outcome.advice) document["advice"] = etcd::ToJson(*outcome.advice);
  if (outcome.plan) document["plan"] = etcd::ToJson(*outcome.plan);
  if (outcome.verdict) document["verdict"] = etcd::ToJson(*outcome.verdict);
  if (outcome.applied) {
    document["applied"] = {{"journal", outcome.applied->journal_name},
                           {"journal_bytes", outcome.applied->journal_bytes},
                           {"data_bytes", outcome.applied->data_bytes}};
  }
  if (outcome.built && outcome.applied) {
    const backup::Built& built = *outcome.built;
    document["restored"] = {{"revision", built.revision},
                            {"base_revision", built.base_revision},
                            {"changes", built.applied},
                            {"repeated_changes", built.repeated},
                            {"base_bytes", built.copied_bytes},
                            {"digest_matches", built.digest_matches},
                            {"unknown_leases", built.unknown_leases}};
  }
  if (outcome.undone) {
    document["undone"] = {{"journal", outcome.undone->journal_name},
                          {"edits", outcome.undone->edits_undone}};
  }
  if (outcome.sealed) {
    document["sealed"] = {{"closed", outcome.sealed->closed},
                          {"file_system", outcome.sealed->file_system}};
    if (outcome.sealed->has_header) {
      document["sealed"]["header_sha256"] = ToHex(outcome.sealed->header_digest);
      document["sealed"]["header_identical"] = outcome.sealed->header_identical;
    }
  }
  return document;
}

std::vector<std::string> ToText(const Outcome& outcome, Section section) {
  Lines lines;
  Describe(outcome, section, lines);
  return lines.Take();
}

std::vector<std::string> ToText(const Outcome& outcome) {
  Lines lines;
  for (const Section section : {Section::kDisk, Section::kNode, Section::kFindings,
                                Section::kAdvice, Section::kPlan, Section::kResult}) {
    Describe(outcome, section, lines);
  }
  return lines.Take();
}

std::vector<std::string> ToText(const Error& error) {
  std::vector<std::string> lines = {"error: " + error.message};
  if (!error.hint.empty()) lines.push_back("  what next: " + error.hint);
  return lines;
}

void WriteReport(const Request& request, Outcome& outcome, const Target& target) {
  if (!request.keep_report) return;
  const std::string stem =
      JoinPath(target.journal.directory, ReportStem(outcome.applied->journal_name));
  RealFileSystem& files = *target.journal.files;
  Status written =
      WriteNew(files, stem + ".json", ToJson(request.command, outcome, {}).dump(2) + "\n");
  if (written) written = WriteNew(files, stem + ".txt", Joined(ToText(outcome)));
  if (written) written = files.SyncDirectory(target.journal.directory);
  if (!written) {
    outcome.plan->warnings.push_back("the report could not be kept: " + written.error().message);
  }
}

Status SaveReportIn(RealFileSystem& files, const std::string& path, const std::string& text,
                    const std::string& json) {
  const std::pair<std::string, const std::string&> parts[] = {{path + ".txt", text},
                                                              {path + ".json", json}};
  for (const auto& [file, content] : parts) {
    ASSIGN_OR_RETURN(const bool is_there, Exists(files, file));
    if (is_there) RETURN_IF_ERROR(files.Remove(file));
    RETURN_IF_ERROR(WriteNew(files, file, content));
  }
  return files.SyncDirectory(ParentPath(path));
}

Status SaveReport(const std::string& path, const std::string& text, const std::string& json) {
  const std::string parent = ParentPath(path);
  const std::string_view here = path.starts_with('/') ? "/" : ".";
  const std::string folder(parent.empty() ? here : std::string_view(parent));
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name.empty()) {
    return Fail(ErrorKind::kUsage, "bad-path", "save the report: the path names no file",
                "write a path without ending; .txt and .json are added");
  }
  ASSIGN_OR_RETURN(const auto files, RealFileSystem::OpenRoot(folder));
  return SaveReportIn(*files, name, text, json);
}

void RemoveReport(const Target& target, const std::string& journal_name) {
  RealFileSystem& files = *target.journal.files;
  const std::string stem = JoinPath(target.journal.directory, ReportStem(journal_name));
  // Best effort: what cannot be removed is harmless.
  (void)files.Remove(stem + ".json");
  (void)files.Remove(stem + ".txt");
  const auto left = files.List(target.journal.directory);
  if (!left || !left->empty()) return;
  // As with the journal itself, the directory beside it keeps its modification time.
  const std::string parent = ParentPath(target.journal.directory);
  const auto before = files.Stat(parent);
  if (files.Remove(target.journal.directory) && before) {
    (void)files.SetModified(parent, before->modified);
  }
}

}  // namespace rescue::session
