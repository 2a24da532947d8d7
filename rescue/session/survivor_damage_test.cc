// Not a test itself: the survivors of cases_test.cc, and what happened to them.
#include "rescue/session/survivor_damage.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "rescue/base/endian.h"
#include "rescue/bolt/format.h"
#include "rescue/raftlog/member.h"

namespace rescue::session::testing {
namespace {

using etcd::Findings;

// A fixture that is not as a damage needs it is a flaw of the test.
void Need(bool condition, const char* what) {
  if (!condition) throw std::logic_error(std::string("survivor test: ") + what);
}

void Must(const Status& status) {
  if (!status) throw std::logic_error("survivor test: " + status.error().message);
}

Findings Look(const FileView& data) { return etcd::Inspect(data, {false, {}}).value(); }

void Flip(FileSystem& data, const std::string& path, std::uint64_t offset) {
  const auto file = data.Open(path).value();
  Bytes byte = ReadExactly(*file, offset, 1).value();
  byte[0] ^= std::byte{0x55};
  Must(data.WriteAt(path, offset, byte));
}

void Do(FileSystem& data, const edit::EditList& edits) {
  for (const auto& edit : edits) {
    const auto& write = std::get<edit::WriteRange>(edit);
    Must(data.WriteAt(write.path, write.offset, write.bytes));
  }
}

void Commit(FileSystem& data, const bolt::TransactionRequest& request) {
  const auto file = data.Open(etcd::kBackendPath).value();
  Do(data, bolt::PlanCommit(*file, std::string(etcd::kBackendPath), request).value().edits);
}

// The log's file ends in zeros where `entry` began.
void CutLogAt(FileSystem& data, const Findings& findings, const raftlog::EntryRef& entry) {
  const auto& segment = findings.log->segments[entry.segment];
  Must(data.Truncate(segment.path, entry.record_offset));
  Must(data.Truncate(segment.path, segment.size));
}

void AppendEntries(FileSystem& data, const std::vector<raftlog::Entry>& wanted, bool committed) {
  const Findings findings = Look(data);
  const auto& log = *findings.log;
  std::vector<raftlog::Entry> entries = wanted;
  std::uint64_t index = log.last_index();
  for (auto& entry : entries) {
    entry.index = ++index;
    entry.term = log.last_term();
  }
  raftlog::HardState state = *log.hard_state;
  if (committed) state.commit = index;
  Do(data, raftlog::PlanAppend(log, entries, state).value().edits);
}

raftlog::Entry Change(raftlog::ConfChangeType type, const raftlog::Member& member) {
  raftlog::ConfChange change{7, type, member.id, {}};
  if (type != raftlog::ConfChangeType::kRemoveNode) {
    change.context = ToBytes(AsBytes(raftlog::WriteMemberContext(member, false)));
  }
  raftlog::Entry entry;
  entry.type = raftlog::EntryType::kConfChange;
  entry.data = raftlog::EncodeConfChange(change);
  return entry;
}

raftlog::Member NewMember(bool learner) {
  raftlog::Member member;
  member.id = 0x1234567890abcdef;
  member.peer_urls = {"http://10.9.8.7:2380"};
  member.is_learner = learner;
  return member;
}

std::uint64_t Self(const Findings& findings) { return findings.log->metadata.node_id; }

void Collect(const FileView& files, const std::string& path, Tree& tree) {
  auto status = files.Stat(path).value();
  std::string digest;
  if (status.type == FileType::kRegular) {
    digest = ToHex(Sha256(ReadWhole(files, path, std::uint64_t{1} << 30).value()));
  }
  const bool directory = status.type == FileType::kDirectory;
  tree[path] = {std::move(status), std::move(digest)};
  if (!directory) return;
  const auto entries = files.List(path).value();
  for (const auto& entry : entries) Collect(files, JoinPath(path, entry.name), tree);
}

}  // namespace

Tree TreeOf(const FileView& files) {
  Tree tree;
  Collect(files, "", tree);
  return tree;
}

namespace damage {

Damage Both(Damage first, Damage second) {
  return [first = std::move(first), second = std::move(second)](FileSystem& data) {
    first(data);
    second(data);
  };
}

void RemoveLog(FileSystem& data) {
  const Findings findings = Look(data);
  for (const auto& segment : findings.log->segments) Must(data.Remove(segment.path));
}

void RemoveLogDirectory(FileSystem& data) {
  const auto entries = data.List(etcd::kLogDirectory).value();
  for (const auto& entry : entries) Must(data.Remove(JoinPath(etcd::kLogDirectory, entry.name)));
  Must(data.Remove(etcd::kLogDirectory));
}

Damage CutLogBelowBackend(std::int64_t entries_before_backend) {
  return [=](FileSystem& data) {
    const Findings findings = Look(data);
    const auto last = static_cast<std::uint64_t>(
        static_cast<std::int64_t>(findings.ConsistentIndex()) - entries_before_backend);
    const auto* entry = findings.log->Find(last + 1);
    Need(entry != nullptr, "no entry to cut at");
    CutLogAt(data, findings, *entry);
  };
}

void CutLogBelowCommit(FileSystem& data) {
  // The hard state stays: it is written once more behind the last entry that is left.
  const Findings findings = Look(data);
  const auto& log = *findings.log;
  const std::uint64_t last = findings.CommitIndex() - 3;
  Need(last > findings.ConsistentIndex(), "no tail to cut");
  CutLogAt(data, findings, *log.Find(last + 1));
  const Findings cut = Look(data);
  raftlog::Log lying = *cut.log;
  raftlog::HardState state = *log.hard_state;
  // PlanAppend refuses a commit index beyond the log, so the log claims to be longer.
  lying.entries.push_back(lying.entries.back());
  lying.entries.back().index = log.last_index();
  Do(data, raftlog::PlanAppend(lying, {}, state).value().edits);
}

void TearLastRecord(FileSystem& data) {
  const Findings findings = Look(data);
  const auto& tail = findings.log->tail;
  Bytes torn(40, std::byte{0x17});
  const ul64 length(4096);
  std::memcpy(torn.data(), &length, sizeof(length));
  Must(data.WriteAt(tail.path, tail.offset, torn));
}

void ZeroLastSectors(FileSystem& data) {
  const Findings findings = Look(data);
  const auto& tail = findings.log->tail;
  const auto& last = findings.log->entries.back();
  const std::uint64_t from = (last.record_offset + 511) / 512 * 512;
  Need(from < tail.offset, "the last entry lies within one sector");
  Must(data.WriteAt(tail.path, from, Bytes(tail.offset - from + 512)));
}

void FlipLastEntry(FileSystem& data) {
  Findings findings = Look(data);
  // Nothing must follow it: cut at the end of its frame.
  const auto last = findings.log->entries.back();
  const auto& segment = findings.log->segments[last.segment];
  const std::uint64_t end = (last.data_offset + last.data_size + 7) / 8 * 8;
  Must(data.Truncate(segment.path, end));
  Must(data.Truncate(segment.path, segment.size));
  Flip(data, segment.path, last.data_offset);
}

void FlipEntryInTail(FileSystem& data) {
  const Findings findings = Look(data);
  const auto* entry = findings.log->Find(findings.ConsistentIndex() + 2);
  Need(entry != nullptr && entry->index + 2 < findings.LastIndex(), "the tail is too short");
  Flip(data, findings.log->segments[entry->segment].path, entry->data_offset);
}

void FlipEntryBelowBackend(FileSystem& data) {
  const Findings findings = Look(data);
  const auto* entry = findings.log->Find(findings.ConsistentIndex() - 2);
  Need(entry != nullptr && entry->data_size > 0, "no such entry");
  Flip(data, findings.log->segments[entry->segment].path, entry->data_offset);
}

void LoseOldSegment(FileSystem& data) {
  // A log that starts at entry 20 behind a mark at 19, as after a purge; no .snap is left.
  const Findings findings = Look(data);
  const auto& log = *findings.log;
  raftlog::FreshLog fresh;
  fresh.metadata = log.metadata;
  fresh.wire_form = log.wire_form;
  raftlog::SnapshotMark mark;
  mark.index = 19;
  mark.term = log.Find(19)->term;
  fresh.mark = mark;
  raftlog::EntryReader reader(data, log);
  for (const auto& ref : log.entries) {
    if (ref.index > 19) fresh.entries.push_back(reader.Read(ref).value());
  }
  fresh.last_state = log.hard_state;
  const Bytes content = raftlog::EncodeFreshLog(fresh).value();
  const std::string path = log.segments.front().path;
  Must(data.Truncate(path, 0));
  Must(data.WriteAt(path, 0, content));
  BreakAllSnaps(data);
}

Damage ForeignLog(std::string fixture) {
  return [fixture = std::move(fixture)](FileSystem& data) {
    const Unpacked other(fixture);
    const auto files = other.Files();
    const Findings theirs = Look(*files);
    RemoveLog(data);
    for (const auto& segment : theirs.log->segments) {
      Must(data.CreateFile(segment.path, {}));
      Must(data.WriteAt(segment.path, 0,
                        ReadExactly(*files->Open(segment.path).value(), 0, segment.used).value()));
    }
  };
}

void LogOfAnotherTime(FileSystem& data) {
  const ub64 term(Look(data).backend->term + 5);
  Set("meta", "term", std::string(reinterpret_cast<const char*>(&term), 8))(data);
}

void RemoveSurvivor(FileSystem& data) {
  raftlog::Member self;
  self.id = Self(Look(data));
  AppendEntries(data, {Change(raftlog::ConfChangeType::kRemoveNode, self)}, true);
}

void AddLearner(FileSystem& data) {
  AppendEntries(data, {Change(raftlog::ConfChangeType::kAddLearnerNode, NewMember(true))}, true);
}

void AddUnstarted(FileSystem& data) {
  AppendEntries(data, {Change(raftlog::ConfChangeType::kAddNode, NewMember(false))}, true);
}

void ChangeOwnUrl(FileSystem& data) {
  raftlog::Member self;
  self.id = Self(Look(data));
  self.peer_urls = {"http://10.1.1.1:2380"};
  AppendEntries(data, {Change(raftlog::ConfChangeType::kUpdateNode, self)}, true);
}

void NoSpaceInLog(FileSystem& data) {
  // InternalRaftRequest{alarm: {action ACTIVATE, memberID 9, alarm NOSPACE}}
  raftlog::Entry entry;
  entry.data = ToBytes(AsBytes(std::string("\x52\x06\x08\x01\x10\x09\x18\x01", 8)));
  AppendEntries(data, {entry}, true);
}

void RaiseTerm(FileSystem& data) {
  const Findings findings = Look(data);
  raftlog::HardState state = *findings.log->hard_state;
  state.term += 3;
  state.vote = 0;
  Do(data, raftlog::PlanAppend(*findings.log, {}, state).value().edits);
}

Damage Set(std::string bucket, const std::string& key, const std::string& value) {
  return [bucket = std::move(bucket), key = ToBytes(AsBytes(key)),
          value = ToBytes(AsBytes(value))](FileSystem& data) {
    Commit(data, {{{bucket, false, {{key, value}}}}, {}, 0, {}, {}});
  };
}

Damage RemoveKey(std::string bucket, const std::string& key) {
  return [bucket = std::move(bucket), key = ToBytes(AsBytes(key))](FileSystem& data) {
    Commit(data, {{{bucket, false, {{key, std::nullopt}}}}, {}, 0, {}, {}});
  };
}

Damage SetAlarm(int type, bool own) {
  return [=](FileSystem& data) {
    // AlarmMember{memberID 9 (one byte), alarm}; the survivor's own ID needs a longer number.
    std::string key;
    key += '\x08';
    std::uint64_t id = own ? Self(Look(data)) : 9;
    for (; id >= 0x80; id >>= 7) key += static_cast<char>((id & 0x7f) | 0x80);
    key += static_cast<char>(id);
    key += '\x10';
    key += static_cast<char>(type);
    Set("alarm", key, "")(data);
  };
}

void ListZombie(FileSystem& data) {
  const auto member = NewMember(false);
  Set("members", raftlog::FormatMemberId(member.id), raftlog::WriteMemberJson(member))(data);
}

void ForgetPromotion(FileSystem& data) {
  const Findings findings = Look(data);
  for (auto member : findings.backend->members) {
    if (member.id != Self(findings)) continue;
    member.is_learner = true;
    Set("members", raftlog::FormatMemberId(member.id), raftlog::WriteMemberJson(member))(data);
  }
}

void ForgetNames(FileSystem& data) {
  const Findings findings = Look(data);
  for (auto member : findings.backend->members) {
    member.name.clear();
    Set("members", raftlog::FormatMemberId(member.id), raftlog::WriteMemberJson(member))(data);
  }
}

Damage BreakMeta(bool newest, bool torn) {
  return [=](FileSystem& data) {
    const auto meta = Look(data).backend->meta;
    const int slot = newest ? meta.slot : 1 - meta.slot;
    const std::uint64_t at = static_cast<std::uint64_t>(slot) * meta.page_size;
    if (torn) {
      Must(data.WriteAt(etcd::kBackendPath, at + sizeof(bolt::PageHeader) + 32, Bytes(48)));
    } else {
      Flip(data, std::string(etcd::kBackendPath), at + sizeof(bolt::PageHeader) + 56);
    }
  };
}

void BreakBothMetas(FileSystem& data) {
  BreakMeta(false, false)(data);
  BreakMeta(true, false)(data);
}

// The path from the bucket's root to its middle leaf; every page number on it.
Damage BreakLeaf(const std::string& bucket_name) {
  return [=](FileSystem& data) {
    const auto file = data.Open(etcd::kBackendPath).value();
    const auto database = bolt::Database::Open(*file).value();
    const auto bucket = database.FindBucket(AsBytes(bucket_name)).value();
    Need(bucket && bucket->root_page() != 0, "the bucket has no pages of its own");
    const std::uint64_t page_size = database.meta().page_size;
    const Bytes root = ReadExactly(*file, bucket->root_page() * page_size, page_size).value();
    bolt::PageHeader header;
    std::memcpy(&header, root.data(), sizeof(header));
    Need(header.flags == bolt::kBranchPage, "the bucket has one page only");
    bolt::BranchElement element;
    std::memcpy(&element, root.data() + sizeof(header) + (header.count / 2) * sizeof(element),
                sizeof(element));
    // The page says that it is another one.
    Flip(data, std::string(etcd::kBackendPath), element.page * page_size);
  };
}

void BreakRootPage(FileSystem& data) {
  const auto meta = Look(data).backend->meta;
  Flip(data, std::string(etcd::kBackendPath), meta.root_page * meta.page_size);
}

void StoreWrongFreelist(FileSystem& data) {
  // A list behind the high water mark that names the root page as free.
  const auto meta = Look(data).backend->meta;
  const std::string path(etcd::kBackendPath);
  Bytes page(meta.page_size);
  bolt::PageHeader header{};
  header.id = meta.high_water_mark;
  header.flags = bolt::kFreelistPage;
  header.count = 1;
  const ul64 listed(meta.root_page);
  std::memcpy(page.data(), &header, sizeof(header));
  std::memcpy(page.data() + sizeof(header), &listed, sizeof(listed));
  Must(data.WriteAt(path, meta.high_water_mark * meta.page_size, page));
  const std::uint64_t at = static_cast<std::uint64_t>(meta.slot) * meta.page_size + sizeof(header);
  const Bytes raw = ReadExactly(*data.Open(path).value(), at, sizeof(bolt::MetaBody)).value();
  bolt::MetaBody body;
  std::memcpy(&body, raw.data(), sizeof(body));
  body.freelist_page = meta.high_water_mark;
  body.high_water_mark = meta.high_water_mark + 1;
  body.checksum = Fnv1a64(std::as_bytes(std::span(&body, 1)).first(bolt::kMetaChecksummed));
  Must(data.WriteAt(path, at, std::as_bytes(std::span(&body, 1))));
}

void CutBackend(FileSystem& data) {
  const auto meta = Look(data).backend->meta;
  Must(data.Truncate(etcd::kBackendPath, meta.high_water_mark / 2 * meta.page_size));
}

void RemoveBackend(FileSystem& data) { Must(data.Remove(etcd::kBackendPath)); }

void ForgetAppliedEntries(FileSystem& data) {
  const Findings findings = Look(data);
  const auto* mark = findings.log->newest_mark();
  Need(mark != nullptr && mark->index > 20, "no snapshot in the log");
  const ub64 index(mark->index - 10);
  Set("meta", "consistent_index", std::string(reinterpret_cast<const char*>(&index), 8))(data);
}

void BreakNewestSnap(FileSystem& data) {
  const Findings findings = Look(data);
  Need(!findings.snaps.empty(), "there is no .snap");
  Flip(data, JoinPath(etcd::kSnapDirectory, raftlog::FormatSnapName(findings.snaps.front().name)),
       40);
}

void BreakAllSnaps(FileSystem& data) {
  const Findings findings = Look(data);
  for (const auto& snap : findings.snaps) {
    Flip(data, JoinPath(etcd::kSnapDirectory, raftlog::FormatSnapName(snap.name)), 40);
  }
}

void JoinConfigurations(FileSystem& data) {
  const Findings findings = Look(data);
  Need(!findings.snaps.empty(), "there is no .snap");
  auto snap = findings.snaps.front();
  snap.metadata.conf_state.voters_outgoing = {0x77, 0x88};
  const std::string path = JoinPath(etcd::kSnapDirectory, raftlog::FormatSnapName(snap.name));
  Must(data.Truncate(path, 0));
  Must(data.WriteAt(path, 0, raftlog::EncodeSnapFile(snap.metadata, snap.store)));
}

void ReceiveBackend(FileSystem& data) {
  const Findings findings = Look(data);
  const auto* mark = findings.log->newest_mark();
  Need(mark != nullptr && mark->index > 20, "no snapshot in the log");
  const std::string received =
      JoinPath(etcd::kSnapDirectory, raftlog::FormatSnapDatabaseName(mark->index));
  const Bytes content = ReadWhole(data, etcd::kBackendPath, std::uint64_t{1} << 30).value();
  Must(data.CreateFile(received, data.Stat(etcd::kBackendPath)->attributes));
  Must(data.WriteAt(received, 0, content));
  ForgetAppliedEntries(data);
}

void LeaveLeftovers(FileSystem& data) {
  for (const char* name : {"db.tmp.12345", "tmp98765"}) {
    const std::string path = JoinPath(etcd::kSnapDirectory, name);
    Must(data.CreateFile(path, {}));
    Must(data.WriteAt(path, 0, Bytes(100, std::byte{1})));
  }
}

void RemoveMember(FileSystem& data) { Must(data.Rename("member", "lost")); }

}  // namespace damage
}  // namespace rescue::session::testing
