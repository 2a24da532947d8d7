// The help of every screen, in the words of that screen.
#include "tui/screens.h"

namespace rescue::tui {
namespace {

std::vector<Line> Paragraphs(std::initializer_list<const char*> texts) {
  std::vector<Line> lines;
  for (const char* text : texts) {
    if (!lines.empty()) lines.push_back(Text(""));
    lines.push_back(Text(text));
  }
  return lines;
}

std::vector<Line> ScreenHelp(const Model& model) {
  switch (model.screen) {
    case Screen::kWelcome:
      return Paragraphs(
          {"The way through: Disks, Secret, Diagnosis, Choose path, Parameters, Review, Apply, "
           "Report. Up to Review everything is only looked at, on a view of the disk in memory: "
           "the disk itself stays as it is, to the byte.",
           "What is written after your confirmation is a few hundred bytes, behind an undo "
           "journal. Undo gives every byte back."});
    case Screen::kDisks:
      return Paragraphs(
          {"A state disk is known by its content, never by size or position: a LUKS2 header, best "
           "with Constellation's token. Disks that this system uses itself are never candidates.",
           "Mark several survivors of the same cluster with Space to have them compared: the one "
           "whose log is ahead loses least."});
    case Screen::kSecret:
      return Paragraphs(
          {"The disk's key is derived from the cluster's master secret and the LUKS UUID of the "
           "disk. Taken are: the JSON file {\"key\": ..., \"salt\": ...}, the URI "
           "kms://cluster-kms?key=...&salt=..., or a disk key of 32 bytes in hex or base64.",
           "Nothing that is typed is shown or kept. After three wrong ones you are back at the "
           "disks. Opening takes some seconds: the disk's key derivation is meant to be slow."});
    case Screen::kCompare:
      return Paragraphs(
          {"The higher term of the last log entry wins, then the higher index: that survivor "
           "lacks the least of what was acknowledged. Healthy ones come before damaged ones.",
           "Equal hashes at the common revision mean equal data. Where data that must be equal "
           "differs, that is said as DIVERGENCE, and no program should decide for you."});
    case Screen::kDiagnosis:
      return Paragraphs(
          {"survivor and members: who this is and who belonged to the cluster. backend: the "
           "database, its revision, and whether its pages are sound. log: what was written after "
           "it; 'only in log' is what a copy of the database alone would lose.",
           "'as it is' says what etcd would do with this disk today. d shows all of it."});
    case Screen::kPath:
      return Paragraphs(
          {"Every way was planned, and what it would lose is said with it. The recommended one "
           "comes first.",
           "force-new-cluster continues the log under the same IDs. restore begins a new log "
           "behind the survivor's own backend and carries the log's entries over; with new IDs "
           "no former member can ever come back.",
           "undo takes the last apply back, to the byte."});
    case Screen::kParameters:
      return Paragraphs(
          {"What is filled in comes from the disk; leave it unless you know better.",
           "peer URLs: where the next members will reach this one; several with commas. raise "
           "revision by and mark compacted: after going back in time they make Kubernetes' "
           "watchers list again. drop the unknown: only entries that this member knew to be "
           "committed are kept.",
           "Tab and arrows move, Space sets and clears a box, Enter goes on. Letters go into the "
           "field with the cursor."});
    case Screen::kReview:
      return Paragraphs(
          {"The whole plan, already rehearsed: each edit, the members that are removed, what is "
           "kept, what is lost, and where the undo journal will lie.",
           "To write it, type the four characters that are asked for, and Enter. Anything else "
           "writes nothing. The plan is made again on the disk itself; if it is not this very "
           "plan, nothing is written either.",
           "PgUp, PgDn and the arrows scroll. Tab leaves the field: letters are keys there, as on "
           "the other screens."});
    case Screen::kApply:
      return Paragraphs(
          {"The plan is rehearsed once more on a view in memory, applied and taken back there; "
           "then the disk is opened, the journal written, the edits done, and everything "
           "verified and closed.",
           "It cannot be stopped half-way. After a power failure the journal says what to take "
           "back."});
    case Screen::kReport:
      return Paragraphs(
          {"next says what to do now, with commands. Start etcd with its old flags, without "
           "--force-new-cluster; never start the other members with their old data; add new ones "
           "one at a time.",
           "The report was also kept beside the journal on the disk. s saves a copy, u takes "
           "everything back."});
  }
  return {};
}

}  // namespace

std::vector<Line> HelpFor(const Model& model) {
  std::vector<Line> lines = ScreenHelp(model);
  lines.push_back(Text(""));
  const std::pair<const char*, const char*> keys[] = {
      {"Enter", "goes on, or takes what is marked with >"},
      {"arrows, Tab", "move; at the end they scroll"},
      {"Space", "sets and clears a box; pages through text"},
      {"b, Esc, Left", "one screen back, with everything as you left it"},
      {"h, F1", "this help"},
      {"l, F2", "the log: stages, kernel, libraries"},
      {"d, F3", "details"},
      {"j k, PgDn PgUp", "a page down, a page up"},
      {"t, F9", "line mode: the same questions, one at a time"},
      {"Ctrl-L", "draws the screen anew, and asks the terminal for its size"},
      {"q, F10, Ctrl-C", "leave, after a question"},
  };
  for (const auto& [key, what] : keys) {
    lines.push_back(Text(fmt::format("{:<16} {}", key, what)));
  }
  return lines;
}

}  // namespace rescue::tui
