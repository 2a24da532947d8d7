// A data directory as it would look after a list of edits, without writing anything: what the
// rehearsal inspects. Modification times are the former ones (0 for new entries).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "rescue/base/file.h"
#include "rescue/edit/edit.h"

namespace rescue::edit {

class Overlay final : public FileView {
 public:
  // `base` must outlive the overlay. Fails when an edit does not fit what it would meet (a missing
  // file, a name that is taken): "plan-stale" (kRefused).
  // `after_each` sees the overlay after every edit (with the edit's index) and may stop it.
  using Observer = std::function<Status(const Overlay&, std::size_t)>;
  static Result<std::unique_ptr<Overlay>> Make(const FileView& base, const EditList& edits,
                                               const Observer& after_each = {});

  Result<std::unique_ptr<ReadableFile>> Open(std::string_view path) const override;
  Result<FileStatus> Stat(std::string_view path) const override;
  Result<std::vector<DirectoryEntry>> List(std::string_view path) const override;

  struct Node;  // private: one changed or new entry
  ~Overlay() override;

 private:
  explicit Overlay(const FileView& base);
  Status Apply(const Edit& edit);

  const FileView& base_;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rescue::edit
