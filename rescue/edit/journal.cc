#include "rescue/edit/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace rescue::edit {
namespace {

constexpr std::uint64_t kMaxDoneBytes = std::uint64_t{64} << 20;
constexpr std::size_t kSearchBytes = 1 << 20;

template <typename Disk>
ByteView BytesOf(const Disk& disk) {
  return std::as_bytes(std::span(&disk, 1));
}

std::uint32_t RecordCrc(const DiskFrame& frame, ByteView payload) {
  const std::uint32_t crc = Crc32c(0, BytesOf(frame).first(offsetof(DiskFrame, crc)));
  return Crc32c(crc, payload);
}

struct Record {
  std::string kind;
  std::uint64_t position = 0;  // of the frame
  Bytes payload;
  std::uint64_t end = 0;
};

std::uint64_t PayloadLimit(std::string_view kind) {
  if (kind == kPlanRecord) return kMaxPlanBytes;
  if (kind == kSaveRecord) return sizeof(DiskSave) + kPieceBytes;
  if (kind == kZeroRecord) return sizeof(DiskZero);
  if (kind == kPreparedRecord) return sizeof(Sha256Digest);
  if (kind == kStepRecord) return sizeof(DiskStep);
  if (kind == kDoneRecord || kind == kBuiltRecord) return kMaxDoneBytes;
  return 0;
}

// The record at `position`; nothing when there is no sound one.
Result<std::optional<Record>> ReadRecord(const ReadableFile& file, std::uint64_t position) {
  if (position > file.size() || file.size() - position < sizeof(DiskFrame)) return std::nullopt;
  ASSIGN_OR_RETURN(const Bytes head, ReadExactly(file, position, sizeof(DiskFrame)));
  const auto frame = ByteReader(head).Read<DiskFrame>();
  Record record;
  record.kind.assign(frame->kind.data(), frame->kind.size());
  record.position = position;
  const std::uint64_t length = frame->length;
  const std::uint64_t left = file.size() - position - sizeof(DiskFrame);
  if (PayloadLimit(record.kind) == 0 || length > PayloadLimit(record.kind) || length > left) {
    return std::nullopt;
  }
  ASSIGN_OR_RETURN(record.payload, ReadExactly(file, position + sizeof(DiskFrame), length));
  if (RecordCrc(*frame, record.payload) != frame->crc) return std::nullopt;
  record.end = position + sizeof(DiskFrame) + length;
  return record;
}

// "PREP" is written only when all before it is durable: a journal that has one was complete.
Result<bool> HasPreparedRecord(const ReadableFile& file) {
  constexpr std::size_t kOverlap = 3;
  Bytes window;
  for (std::uint64_t at = 0; at < file.size(); at += kSearchBytes) {
    const std::uint64_t count = std::min<std::uint64_t>(kSearchBytes + kOverlap, file.size() - at);
    ASSIGN_OR_RETURN(window, ReadExactly(file, at, count));
    const std::string_view text = AsText(window);
    for (std::size_t hit = text.find(kPreparedRecord); hit != std::string_view::npos;
         hit = text.find(kPreparedRecord, hit + 1)) {
      ASSIGN_OR_RETURN(const auto record, ReadRecord(file, at + hit));
      if (record && record->payload.size() == sizeof(Sha256Digest)) return true;
    }
  }
  return false;
}

Result<Sha256Digest> DigestOfStart(const ReadableFile& file, std::uint64_t length) {
  Sha256Hasher hasher;
  for (std::uint64_t at = 0; at < length; at += kSearchBytes) {
    ASSIGN_OR_RETURN(const Bytes part,
                     ReadExactly(file, at, std::min<std::uint64_t>(kSearchBytes, length - at)));
    hasher.Update(part);
  }
  return hasher.Finish();
}

// Follows the saved pieces, which come exactly in the order of the plan's ranges.
class PieceCursor {
 public:
  explicit PieceCursor(const JournalPlan& plan) : plan_(plan) { Skip(); }

  bool AtEnd() const { return former_ == plan_.former.size(); }

  bool Take(std::uint64_t former, std::uint64_t offset, std::uint64_t length) {
    if (AtEnd() || length == 0 || former != former_) return false;
    const Range& range = plan_.former[former_].saved[range_];
    if (offset != range.offset + done_ || length > range.length - done_) return false;
    done_ += length;
    if (done_ == range.length) {
      done_ = 0;
      ++range_;
      Skip();
    }
    return true;
  }

 private:
  void Skip() {
    while (!AtEnd() && range_ == plan_.former[former_].saved.size()) {
      ++former_;
      range_ = 0;
    }
  }

  const JournalPlan& plan_;
  std::size_t former_ = 0;
  std::size_t range_ = 0;
  std::uint64_t done_ = 0;
};

std::optional<SavedPiece> PieceOf(const Record& record) {
  SavedPiece piece;
  ByteReader reader(record.payload);
  if (record.kind == kSaveRecord) {
    const auto save = reader.Read<DiskSave>();
    if (!save) return std::nullopt;
    piece.former = save->former;
    piece.offset = save->offset;
    piece.length = reader.left();
    piece.position = record.position + sizeof(DiskFrame) + sizeof(DiskSave);
    return piece;
  }
  const auto zero = reader.Read<DiskZero>();
  if (!zero) return std::nullopt;
  piece.former = zero->former;
  piece.offset = zero->offset;
  piece.length = zero->length;
  piece.zero = true;
  return piece;
}

// PLAN, pieces, PREP. False: not all of it is there.
Result<bool> ReadBody(const ReadableFile& file, Journal& journal) {
  ASSIGN_OR_RETURN(const auto plan, ReadRecord(file, sizeof(DiskHeader)));
  if (!plan || plan->kind != kPlanRecord) return false;
  ASSIGN_OR_RETURN(journal.plan, DecodePlan(AsText(plan->payload)));
  PieceCursor cursor(journal.plan);
  std::uint64_t at = plan->end;
  while (true) {
    ASSIGN_OR_RETURN(const auto record, ReadRecord(file, at));
    if (!record) return false;
    at = record->end;
    if (record->kind == kPreparedRecord) {
      ASSIGN_OR_RETURN(const Sha256Digest digest, DigestOfStart(file, record->position));
      journal.end = at;
      return cursor.AtEnd() && Equal(record->payload, digest);
    }
    if (record->kind != kSaveRecord && record->kind != kZeroRecord) return false;
    const auto piece = PieceOf(*record);
    if (!piece || !cursor.Take(piece->former, piece->offset, piece->length)) return false;
    journal.saved.push_back(*piece);
  }
}

// STEP records and a DONE record, up to the first position without a sound record.
Status ReadTail(const ReadableFile& file, Journal& journal) {
  while (true) {
    ASSIGN_OR_RETURN(const auto record, ReadRecord(file, journal.end));
    if (!record) return {};
    if (record->kind == kStepRecord) {
      const auto step = ByteReader(record->payload).Read<DiskStep>();
      if (!step || step->step >= journal.plan.steps.size() || step->undoing > 1) return {};
      journal.step = step->step;
      journal.undoing = step->undoing == 1;
    } else if (record->kind == kBuiltRecord) {
      ASSIGN_OR_RETURN(auto built, DecodeAfter(AsText(record->payload)));
      std::move(built.begin(), built.end(), std::back_inserter(journal.built));
    } else if (record->kind == kDoneRecord) {
      ASSIGN_OR_RETURN(journal.after, DecodeAfter(AsText(record->payload)));
      // It stays the end: what comes next, the start of an undo, takes its place.
      return {};
    } else {
      return {};
    }
    journal.end = record->end;
  }
}

tl::unexpected<Error> Damaged(std::string_view reason) {
  return Fail(ErrorKind::kUnfinishedJournal, "journal-damaged", fmt::format("{}", reason),
              "if its changes are to stay, move this journal file away");
}

}  // namespace

std::vector<Range> Merged(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.offset < b.offset; });
  std::vector<Range> merged;
  for (const Range& range : ranges) {
    if (range.length == 0) continue;
    if (!merged.empty() && merged.back().offset + merged.back().length >= range.offset) {
      Range& last = merged.back();
      last.length = std::max(last.length, range.offset + range.length - last.offset);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

Bytes EncodeHeader(std::uint32_t flags) {
  DiskHeader header{};
  std::copy(kJournalMagic.begin(), kJournalMagic.end(), header.magic.begin());
  header.version = kJournalVersion;
  header.flags = flags;
  header.crc = Crc32c(0, BytesOf(header).first(offsetof(DiskHeader, crc)));
  return ToBytes(BytesOf(header));
}

Bytes EncodeRecord(std::string_view kind, ByteView payload) {
  DiskFrame frame{};
  std::copy_n(kind.begin(), frame.kind.size(), frame.kind.begin());
  frame.length = static_cast<std::uint32_t>(payload.size());
  frame.crc = RecordCrc(frame, payload);
  Bytes record = ToBytes(BytesOf(frame));
  Append(record, payload);
  return record;
}

Result<Journal> ReadJournal(const ReadableFile& file) {
  Journal journal;
  ASSIGN_OR_RETURN(const bool prepared, HasPreparedRecord(file));
  if (file.size() >= sizeof(DiskHeader)) {
    ASSIGN_OR_RETURN(const Bytes bytes, ReadExactly(file, 0, sizeof(DiskHeader)));
    const auto header = ByteReader(bytes).Read<DiskHeader>();
    const bool sound =
        std::string_view(header->magic.data(), header->magic.size()) == kJournalMagic &&
        header->crc == Crc32c(0, ByteView(bytes).first(offsetof(DiskHeader, crc)));
    if (sound && header->version != kJournalVersion) {
      return Fail(ErrorKind::kUnfinishedJournal, "journal-version",
                  fmt::format("the journal has version {}, this program knows {}",
                              header->version.Get(), kJournalVersion),
                  "use the version of etcd-rescue that wrote it");
    }
    if (sound) journal.flags = header->flags;
    if (!sound && prepared) return Damaged("its header is damaged");
    if (!sound) return journal;
  }
  if (!prepared) return journal;
  ASSIGN_OR_RETURN(const bool whole, ReadBody(file, journal));
  if (!whole) return Damaged("it was complete once, and its records are damaged now");
  RETURN_IF_ERROR(ReadTail(file, journal));
  journal.complete = true;
  return journal;
}

}  // namespace rescue::edit
