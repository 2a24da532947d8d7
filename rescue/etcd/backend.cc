#include "rescue/etcd/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "rescue/base/endian.h"
#include "rescue/raftlog/proto.h"

namespace rescue::etcd {
namespace {

using nlohmann::json;

std::optional<std::uint64_t> DecodeU64(ByteView value) {
  ByteReader reader(value);
  const auto number = reader.Read<ub64>();
  if (!number || reader.left() != 0) return std::nullopt;
  return number->Get();
}

// {"voters":[...],"learners":[...],"auto_leave":false}: Go's JSON of raftpb.ConfState.
std::optional<raftlog::ConfState> ParseConfState(std::string_view text) {
  const auto document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return std::nullopt;
  raftlog::ConfState state;
  const std::pair<const char*, std::vector<std::uint64_t>*> lists[] = {
      {"voters", &state.voters},
      {"learners", &state.learners},
      {"voters_outgoing", &state.voters_outgoing},
      {"learners_next", &state.learners_next}};
  for (const auto& [name, list] : lists) {
    const auto found = document.find(name);
    if (found == document.end() || found->is_null()) continue;
    if (!found->is_array()) return std::nullopt;
    for (const auto& id : *found) {
      if (!id.is_number_unsigned()) return std::nullopt;
      list->push_back(id.get<std::uint64_t>());
    }
  }
  return state;
}

// Collects what one bucket holds; a missing bucket holds nothing.
class BucketReader {
 public:
  BucketReader(const bolt::Database& database, std::vector<std::string>& problems)
      : database_(database), problems_(problems) {}

  using Visitor = std::function<void(ByteView key, ByteView value)>;

  void Visit(std::string_view name, const Visitor& visit) {
    auto bucket = database_.FindBucket(AsBytes(name));
    if (!bucket) return Note(name, bucket.error().message);
    if (!*bucket) return;
    const auto status = (*bucket)->ForEach([&](ByteView key, ByteView value, bool is_bucket) {
      if (!is_bucket) visit(key, value);
      return true;
    });
    if (!status) Note(name, status.error().message);
  }

  void Note(std::string_view bucket, std::string_view reason) {
    problems_.push_back(fmt::format("bucket {}: {}", bucket, reason));
  }

 private:
  const bolt::Database& database_;
  std::vector<std::string>& problems_;
};

void ReadMetaBucket(BucketReader& reader, Backend& backend) {
  reader.Visit("meta", [&](ByteView key, ByteView value) {
    const std::string_view name = AsText(key);
    if (name == "consistent_index" || name == "term") {
      const auto number = DecodeU64(value);
      if (!number) return reader.Note("meta", fmt::format("{} is not 8 bytes", name));
      (name == "term" ? backend.term : backend.consistent_index) = *number;
    } else if (name == "confState") {
      backend.conf_state = ParseConfState(AsText(value));
      if (!backend.conf_state) reader.Note("meta", "confState is not a configuration");
    } else if (name == "storageVersion") {
      backend.storage_version = Printable(value, 32);
    } else if (name == "scheduledCompactRev" || name == "finishedCompactRev") {
      const auto revision = DecodeRevision(value);
      if (!revision) return reader.Note("meta", fmt::format("{} is not a revision", name));
      backend.compacted = std::max(backend.compacted, revision->main);
    }
  });
}

void ReadMembers(BucketReader& reader, Backend& backend) {
  reader.Visit("members", [&](ByteView key, ByteView value) {
    auto member = raftlog::ParseMemberJson(AsText(value));
    const auto id = raftlog::ParseMemberId(AsText(key));
    if (!member || !id || member->id != *id) {
      return reader.Note("members", fmt::format("record {} is not a member", Printable(key, 40)));
    }
    backend.members.push_back(*std::move(member));
  });
  reader.Visit("members_removed", [&](ByteView key, ByteView) {
    const auto id = raftlog::ParseMemberId(AsText(key));
    if (!id) {
      return reader.Note("members_removed",
                         fmt::format("record {} is not a member ID", Printable(key, 40)));
    }
    backend.removed.push_back(*id);
  });
  // Keys are hexadecimal without leading zeros, so key order is not ID order.
  std::sort(backend.members.begin(), backend.members.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  std::sort(backend.removed.begin(), backend.removed.end());
}

void ReadCluster(BucketReader& reader, Backend& backend) {
  reader.Visit("cluster", [&](ByteView key, ByteView value) {
    if (AsText(key) == "clusterVersion") {
      backend.cluster_version = Printable(value, 32);
    } else if (AsText(key) == "downgrade") {
      const auto document = json::parse(AsText(value), nullptr, /*allow_exceptions=*/false);
      const bool enabled = document.is_object() && document.contains("enabled") &&
                           document["enabled"].is_boolean() && document["enabled"].get<bool>();
      if (!enabled) return;
      const auto target = document.find("target-version");
      backend.downgrade = target != document.end() && target->is_string()
                              ? Printable(target->get_ref<const std::string&>(), 32)
                              : "unknown";
    }
  });
}

// The key is an AlarmMember message {memberID = 1, alarm = 2}; the value is empty.
std::optional<Alarm> DecodeAlarmKey(ByteView key) {
  Alarm alarm;
  const Status read = raftlog::ReadFields(key, "alarm", [&](raftlog::ProtoReader& field) {
    if (field.tag() == 1) return raftlog::TakeUint64(field, alarm.member_id);
    if (field.tag() == 2) return raftlog::TakeEnum(field, AlarmType::kCorrupt, alarm.type);
    field.skip();
    return true;
  });
  if (!read) return std::nullopt;
  return alarm;
}

void ReadAlarmsAuthLeases(BucketReader& reader, Backend& backend) {
  reader.Visit("alarm", [&](ByteView key, ByteView) {
    const auto alarm = DecodeAlarmKey(key);
    if (!alarm) return reader.Note("alarm", "a record is not an alarm");
    backend.alarms.push_back(*alarm);
  });
  reader.Visit("auth", [&](ByteView key, ByteView value) {
    if (AsText(key) == "authEnabled") {
      backend.auth_enabled = value.size() == 1 && value[0] == std::byte{1};
    }
  });
  reader.Visit("lease", [&](ByteView, ByteView) { ++backend.leases; });
}

Status ReadLatestRevision(const bolt::Database& database, Backend& backend) {
  ASSIGN_OR_RETURN(const auto bucket, database.FindBucket(AsBytes("key")));
  if (!bucket) {
    backend.problems.emplace_back("bucket key: missing, so there is no key space");
    return {};
  }
  const auto last = bucket->Last();
  if (!last) {
    backend.problems.push_back("bucket key: " + last.error().message);
  } else if (*last) {
    const auto revision = DecodeRevision((*last)->first);
    if (revision) {
      backend.latest = *revision;
      backend.latest_is_marker = (*last)->second.empty();
    } else {
      backend.problems.emplace_back("bucket key: the last key is not a revision");
    }
  }
  return {};
}

}  // namespace

Result<Backend> ReadBackend(const FileView& data, std::string_view path) {
  const auto file = data.Open(path);
  if (!file) {
    if (!IsNotFound(file.error())) return Fail(file.error());
    return Fail(ErrorKind::kDataDamaged, "backend-missing",
                fmt::format("read the backend: {} does not exist", path),
                "look for the right data directory, or restore from a backup");
  }
  auto opened = bolt::Database::Open(**file);
  if (!opened) return Fail(std::move(opened.error().Within(path)));
  const bolt::Database database = *std::move(opened);

  Backend backend;
  backend.file_size = (*file)->size();
  backend.meta = database.meta();
  if (database.problem()) {
    backend.meta_problem =
        fmt::format("meta page {}: {}", database.problem()->slot, database.problem()->reason);
  }
  BucketReader reader(database, backend.problems);
  ReadMetaBucket(reader, backend);
  ReadMembers(reader, backend);
  ReadCluster(reader, backend);
  ReadAlarmsAuthLeases(reader, backend);
  RETURN_IF_ERROR(ReadLatestRevision(database, backend));
  return backend;
}

}  // namespace rescue::etcd
