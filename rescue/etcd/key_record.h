// The records of bucket "key" under this room's name: mvcc/key_record.h has them, for the backups'
// sake, too.
#pragma once

#include "rescue/etcd/backend.h"
#include "rescue/mvcc/key_record.h"

namespace rescue::etcd {

using mvcc::ChooseRevision;
using mvcc::DecodeKeyRecord;
using mvcc::ForEachKeyRecord;
using mvcc::KeyRecord;
using mvcc::kKeyBucket;
using mvcc::ReadRevisionBounds;
using mvcc::RevisionBounds;

}  // namespace rescue::etcd
