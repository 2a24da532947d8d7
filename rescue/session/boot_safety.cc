#include "rescue/session/boot_safety.h"

#include <fmt/format.h>

namespace rescue::session {
namespace {

bool LooksLikeConstellation(const BootQuestion& question) {
  if (question.header != nullptr && disk::HasStateToken(*question.header)) return true;
  return question.layout != nullptr && question.layout->kind == node::LayoutKind::kConstellation;
}

void AddVolumeObjections(const BootQuestion& question, std::vector<std::string>& because) {
  if (question.file_system != "ext4") {
    because.push_back(fmt::format(
        "there is {} on the volume, not ext4: the node would make a new, empty file system",
        question.file_system.empty() ? "no file system" : question.file_system));
  }
  if (question.layout != nullptr && question.layout->kind != node::LayoutKind::kConstellation) {
    because.push_back(fmt::format(
        "the volume has the layout {}, not Constellation's: the node would not find its state",
        node::Name(question.layout->kind)));
  }
  if (question.node_state != nullptr && question.node_state->stops_boot) {
    because.push_back(question.node_state->problems.front());
  }
  if (!question.unfinished_journal.empty()) {
    because.push_back(
        fmt::format("an apply was interrupted (journal {}): undo it, or apply again, first",
                    question.unfinished_journal));
  }
}

}  // namespace

std::string_view Name(BootSafety::Answer answer) {
  switch (answer) {
    case BootSafety::Answer::kYes:
      return "yes";
    case BootSafety::Answer::kNo:
      return "no";
    case BootSafety::Answer::kNotJudged:
      return "not-judged";
  }
  return "not-judged";
}

std::string_view Name(BootSafety::Basis basis) {
  switch (basis) {
    case BootSafety::Basis::kNothing:
      return "nothing";
    case BootSafety::Basis::kHeader:
      return "header";
    case BootSafety::Basis::kVolume:
      return "volume";
    case BootSafety::Basis::kSealedDisk:
      return "sealed-disk";
  }
  return "nothing";
}

BootSafety JudgeBoot(const BootQuestion& question) {
  BootSafety safety;
  safety.basis = question.basis;
  if (question.header == nullptr) {
    safety.because.emplace_back(
        "the disk is not encrypted, so no Constellation node boots from it");
    return safety;
  }
  const bool opened = question.basis == BootSafety::Basis::kVolume ||
                      question.basis == BootSafety::Basis::kSealedDisk;
  // Without a token only the inside tells whose disk it is; until then Constellation's rules count.
  const bool other = question.profile == disk::Profile::kLuks2 || opened;
  if (other && !LooksLikeConstellation(question)) {
    safety.because.emplace_back(
        "neither token nor layout is Constellation's, and other nodes' rules are not known");
    return safety;
  }
  safety.because = disk::NodeObjections(*question.header);
  if (opened) AddVolumeObjections(question, safety.because);
  safety.answer = safety.because.empty() ? BootSafety::Answer::kYes : BootSafety::Answer::kNo;
  return safety;
}

}  // namespace rescue::session
