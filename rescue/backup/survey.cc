#include "rescue/backup/survey.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/backup/events.h"
#include "rescue/base/units.h"

namespace rescue::backup {
namespace {

class Surveyor {
 public:
  Surveyor(const FileView& view, const SurveyOptions& options, std::uint64_t total)
      : view_(view), options_(options), total_(total) {}

  void Look(SurveyedObject& found) {
    path_ = found.object.path;
    found.read = true;
    Status read = found.object.name.kind == ObjectKind::kFull ? ReadFull(found) : ReadDelta(found);
    if (!read) found.problem = std::move(read).error();
    done_ += found.object.size;
    Report(0);
  }

 private:
  void Report(std::uint64_t more) const {
    if (options_.progress) options_.progress(std::min(done_ + more, total_), total_, path_);
  }

  Status ReadFull(SurveyedObject& found) {
    ASSIGN_OR_RETURN(const auto stored, view_.Open(found.object.path));
    ASSIGN_OR_RETURN(const auto file, OpenFull(*stored, found.object.path));
    JudgeOptions judge;
    judge.progress = [&](std::uint64_t done, std::uint64_t size) {
      // The digest, then perhaps the pages: no more than what is stored.
      Report(size == 0 ? 0
                       : static_cast<std::uint64_t>(static_cast<double>(found.object.size) *
                                                    static_cast<double>(done) /
                                                    static_cast<double>(size)));
    };
    ASSIGN_OR_RETURN(found.snapshot, JudgeSnapshot(*file, judge));
    RETURN_IF_ERROR(Accept(*found.snapshot, {.hash_mismatch = false, .in_store = true}, path_));
    if (found.snapshot->revision >= found.object.name.last) return {};
    return Fail(ErrorKind::kDataDamaged, "full-short",
                fmt::format("check {}: it ends at revision {}, its name promises {}", path_,
                            found.snapshot->revision, found.object.name.last),
                "fetch it again; if it is the same, its name is wrong: use an earlier full");
  }

  Status ReadDelta(SurveyedObject& found) {
    ASSIGN_OR_RETURN(const auto file, view_.Open(found.object.path));
    EventReader reader(
        OpenObject(*file, {found.object.name.compression, kMaxDeltaSize, found.object.path}),
        found.object.name, found.object.path);
    std::uint64_t reported = 0;
    for (;;) {
      ASSIGN_OR_RETURN(const Event* event, reader.Next());
      if (event == nullptr) return {};
      ++found.events;
      if (event->tombstone) ++found.deletions;
      if (reader.stored_position() >= reported + kMiB) {
        reported = reader.stored_position();
        Report(reported);
      }
    }
  }

  const FileView& view_;
  const SurveyOptions& options_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  std::string path_;
};

const SurveyedObject* Find(const StoreSurvey& survey, const StoreObject& object) {
  const auto found = std::ranges::find(survey.objects, object, &SurveyedObject::object);
  return found == survey.objects.end() ? nullptr : &*found;
}

// How far the newest chain leads, and what ends it.
void FollowChain(StoreSurvey& survey) {
  const auto fulls = Fulls(survey.store);
  if (fulls.empty()) {
    if (auto none = ChooseChain(survey.store, std::nullopt); !none) survey.obstacle = none.error();
    return;
  }
  const SurveyedObject* full = Find(survey, fulls.front());
  std::optional<std::uint64_t> held;
  if (full->snapshot && !full->problem) held = full->snapshot->revision;
  survey.chain = MakeChain(survey.store, fulls.front(), held);
  if (full->problem) {
    survey.obstacle = full->problem;
    return;
  }
  survey.reachable = std::max(held.value_or(0), fulls.front().name.last);
  for (const auto& delta : survey.chain->deltas) {
    const SurveyedObject* found = Find(survey, delta);
    if (found->problem) {
      survey.obstacle = found->problem;
      return;
    }
    survey.reachable = delta.name.last;
  }
  if (survey.chain->gap) {
    const auto chosen = ChooseChain(
        survey.store, std::nullopt,
        held ? HeldRevision([&](const StoreObject&) { return Result<std::uint64_t>(*held); })
             : HeldRevision());
    if (!chosen) survey.obstacle = chosen.error();
  }
}

}  // namespace

Result<std::unique_ptr<ReadableFile>> OpenFull(const ReadableFile& file, const std::string& path) {
  OpenOptions options{CompressionOf(path), file.size(), path};
  if (options.compression != Compression::kNone) {
    options.limit = kDeclaredSizeNeeds;
    Bytes start(kDeclaredSizeNeeds - 1);
    ASSIGN_OR_RETURN(const std::size_t count, OpenObject(file, options)->Read(start));
    ASSIGN_OR_RETURN(const std::uint64_t declared,
                     DeclaredBackendSize(ByteView(start).first(count), path));
    if (declared > kMaxFullSize) {
      return Fail(ErrorKind::kRefused, "object-too-large",
                  fmt::format("read {}: it says that it holds {}", path, FormatSize(declared)),
                  "look at where it comes from; etcd does not work with such a backend");
    }
    // bbolt allocates at most as much ahead: up to 16 MiB it doubles the file, then it adds 16 MiB
    // (bolt_unix.go, mmap sizes; db.go, DB.grow).
    options.limit = 2 * declared + 64 * kMiB;
  }
  return OpenSeekable(file, std::move(options));
}

HeldRevision HeldIn(const FileView& view) {
  return [&view](const StoreObject& full) -> Result<std::uint64_t> {
    ASSIGN_OR_RETURN(const auto stored, view.Open(full.path));
    ASSIGN_OR_RETURN(const auto file, OpenFull(*stored, full.path));
    ASSIGN_OR_RETURN(const auto found,
                     JudgeSnapshot(*file, {JudgeOptions::Walk::kNever, /*digest=*/false, {}}));
    if (found.verdict != Verdict::kNoTrailer) {
      RETURN_IF_ERROR(Accept(found, {.hash_mismatch = true, .in_store = true}, full.path));
    }
    return found.revision;
  };
}

Result<StoreSurvey> SurveyStore(const FileView& view, const Store& store,
                                const SurveyOptions& options) {
  StoreSurvey survey;
  survey.store = store;
  std::uint64_t total = 0;
  for (const auto& object : store.objects) {
    total += object.size;
    survey.objects.push_back({object, false, {}, {}, 0, 0});
  }
  if (options.read) {
    Surveyor surveyor(view, options, total);
    for (auto& object : survey.objects) surveyor.Look(object);
  }
  FollowChain(survey);
  return survey;
}

}  // namespace rescue::backup
