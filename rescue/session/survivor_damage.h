// For this room's tests: a real survivor in a temporary directory, its fingerprint, and one
// function for every way in which it may have been left behind.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "rescue/base/checksum.h"
#include "rescue/base/real_file_system.h"
#include "rescue/bolt/transaction.h"
#include "rescue/etcd/inspect.h"
#include "rescue/raftlog/append.h"
#include "tests/support/fixtures.h"

namespace rescue::session::testing {

struct Unpacked {
  rescue::testing::TemporaryDirectory directory;
  explicit Unpacked(const std::string& name) {
    rescue::testing::UnpackArchive(rescue::testing::FixturePath("survivors/" + name + ".tar.xz"),
                                   directory.path());
  }
  std::string data() const { return (directory.path() / "etcd").string(); }
  std::unique_ptr<RealFileSystem> Files() const { return RealFileSystem::OpenRoot(data()).value(); }
};

// Every name with its status (modification time and attributes included) and the SHA-256 of its
// content.
using Tree = std::map<std::string, std::pair<FileStatus, std::string>>;
Tree TreeOf(const FileView& files);

// What may have happened to a survivor before it came to us. All change the files at `data`.
namespace damage {

using Damage = std::function<void(FileSystem& data)>;

// The log.
void RemoveLog(FileSystem& data);
void RemoveLogDirectory(FileSystem& data);
// The log's last entry is `entries_before_backend` before the backend's consistent index (negative:
// behind it).
Damage CutLogBelowBackend(std::int64_t entries_before_backend);
void CutLogBelowCommit(FileSystem& data);
void TearLastRecord(FileSystem& data);   // half a frame, then zeros
void ZeroLastSectors(FileSystem& data);  // whole sectors of the last entry
void FlipLastEntry(FileSystem& data);    // one byte, no sector of zeros
void FlipEntryInTail(FileSystem& data);  // behind the backend, with good records behind it
void FlipEntryBelowBackend(FileSystem& data);
void LoseOldSegment(FileSystem& data);    // the log starts in the middle, no .snap that helps
Damage ForeignLog(std::string fixture);   // of another cluster
void LogOfAnotherTime(FileSystem& data);  // same member, but the backend says another term
// Entries that the cluster had decided on before it died.
void RemoveSurvivor(FileSystem& data);
void AddLearner(FileSystem& data);
void AddUnstarted(FileSystem& data);
void ChangeOwnUrl(FileSystem& data);
void NoSpaceInLog(FileSystem& data);
void RaiseTerm(FileSystem& data);  // an election that this survivor only heard of

// The backend.
Damage Set(std::string bucket, const std::string& key, const std::string& value);
Damage RemoveKey(std::string bucket, const std::string& key);
Damage SetAlarm(int type, bool own);
void ListZombie(FileSystem& data);
void ForgetPromotion(FileSystem& data);
void ForgetNames(FileSystem& data);
Damage BreakMeta(bool newest, bool torn);
void BreakBothMetas(FileSystem& data);
Damage BreakLeaf(const std::string& bucket);  // a page of the bucket's tree, not its root
void BreakRootPage(FileSystem& data);
void StoreWrongFreelist(FileSystem& data);
void CutBackend(FileSystem& data);
void RemoveBackend(FileSystem& data);
void ForgetAppliedEntries(FileSystem& data);  // as an older copy of the backend would be

// Beside them.
void BreakNewestSnap(FileSystem& data);
void BreakAllSnaps(FileSystem& data);
void JoinConfigurations(FileSystem& data);  // the newest .snap lies inside a joint configuration
void ReceiveBackend(FileSystem& data);      // <index>.snap.db waits to be taken over
void LeaveLeftovers(FileSystem& data);
void RemoveMember(FileSystem& data);  // no member/ at all

Damage Both(Damage first, Damage second);

}  // namespace damage
}  // namespace rescue::session::testing
