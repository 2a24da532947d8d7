#include "rescue/bolt/database.h"

#include <fmt/format.h>

#include "rescue/bolt/cursor.h"
#include "rescue/bolt/meta.h"

namespace rescue::bolt {
namespace {

// The bucket's place in front of what went wrong: "bucket key: page 12: ...".
tl::unexpected<Error> InBucket(Error error, const std::string& path) {
  return Fail(std::move(error.Within(path.empty() ? "bbolt root bucket" : "bbolt bucket " + path)));
}

}  // namespace

Result<Database> Database::Open(const ReadableFile& file) {
  ASSIGN_OR_RETURN(ChosenMeta chosen, ChooseMeta(file, std::nullopt));
  return Database(file, chosen.meta, std::move(chosen.problem));
}

Result<Database> Database::OpenAt(const ReadableFile& file, int slot) {
  ASSIGN_OR_RETURN(ChosenMeta chosen, ChooseMeta(file, slot));
  return Database(file, chosen.meta, std::move(chosen.problem));
}

Bucket Database::Root() const {
  Bucket root(*file_, meta_);
  root.root_page_ = meta_.root_page;
  root.sequence_ = meta_.root_sequence;
  return root;
}

// Stands on `key`, or on nothing when the bucket does not hold it.
Result<std::optional<Bucket::Found>> Bucket::Find(ByteView key) const {
  Cursor cursor({file_, &meta_, root_page_, inline_page_});
  if (auto status = cursor.Seek(key); !status) return InBucket(std::move(status).error(), path_);
  if (cursor.at_end()) return std::optional<Found>();
  Bytes scratch;
  const auto at = cursor.Key(scratch);
  if (!at) return InBucket(at.error(), path_);
  if (!Equal(*at, key)) return std::optional<Found>();
  const auto value = cursor.Value(scratch);
  if (!value) return InBucket(value.error(), path_);
  return Found{cursor.element().is_bucket, ToBytes(*value)};
}

Result<std::optional<Bytes>> Bucket::Get(ByteView key) const {
  ASSIGN_OR_RETURN(auto found, Find(key));
  if (!found || found->is_bucket) return std::optional<Bytes>();
  return std::optional<Bytes>(std::move(found->value));
}

Result<std::optional<Bucket>> Bucket::FindBucket(ByteView name) const {
  ASSIGN_OR_RETURN(auto found, Find(name));
  if (!found || !found->is_bucket) return std::optional<Bucket>();
  Bucket inner(*file_, meta_);
  inner.path_ = path_.empty() ? Printable(name) : path_ + "/" + Printable(name);
  ByteReader reader(found->value);
  const auto header = reader.Read<BucketHeader>();
  if (!header) {
    return InBucket({ErrorKind::kDataDamaged, "bolt-page",
                     fmt::format("its header has only {} bytes", found->value.size()),
                     "run the full check to see every damaged page and the keys it affects"},
                    inner.path_);
  }
  inner.root_page_ = header->root_page;
  inner.sequence_ = header->sequence;
  if (inner.is_inline()) {
    inner.inline_page_ = std::make_shared<const Bytes>(ToBytes(*reader.Take(reader.left())));
  }
  return std::optional<Bucket>(std::move(inner));
}

Result<std::vector<std::string>> Bucket::Buckets() const {
  std::vector<std::string> names;
  RETURN_IF_ERROR(ForEach([&](ByteView key, ByteView, bool is_bucket) {
    if (is_bucket) names.emplace_back(AsText(key));
    return true;
  }));
  return names;
}

Status Bucket::ForEach(const Visitor& visit, ByteView from) const {
  Cursor cursor({file_, &meta_, root_page_, inline_page_});
  auto status = cursor.Seek(from);
  Bytes key_scratch;
  Bytes value_scratch;
  Bytes previous;
  while (status && !cursor.at_end()) {
    const auto key = cursor.Key(key_scratch);
    if (!key) return InBucket(key.error(), path_);
    // Also what ends the walk when pages are used twice: it can't go back without being seen here.
    if (!previous.empty() && !KeyLess(previous, *key)) {
      return InBucket({ErrorKind::kDataDamaged, "bolt-page",
                       fmt::format("key {} comes after {}", Printable(*key), Printable(previous)),
                       "run the full check to see where the tree is damaged"},
                      path_);
    }
    previous.assign(key->begin(), key->end());
    const auto value = cursor.Value(value_scratch);
    if (!value) return InBucket(value.error(), path_);
    if (!visit(*key, *value, cursor.element().is_bucket)) return {};
    status = cursor.Next();
  }
  if (!status) return InBucket(std::move(status).error(), path_);
  return {};
}

Result<std::optional<std::pair<Bytes, Bytes>>> Bucket::Last() const {
  using Pair = std::pair<Bytes, Bytes>;
  Cursor cursor({file_, &meta_, root_page_, inline_page_});
  if (auto status = cursor.SeekLast(); !status) return InBucket(std::move(status).error(), path_);
  if (cursor.at_end()) return std::optional<Pair>();
  Bytes key_scratch;
  Bytes value_scratch;
  const auto key = cursor.Key(key_scratch);
  if (!key) return InBucket(key.error(), path_);
  const auto value = cursor.Value(value_scratch);
  if (!value) return InBucket(value.error(), path_);
  return Pair{ToBytes(*key), ToBytes(*value)};
}

}  // namespace rescue::bolt
