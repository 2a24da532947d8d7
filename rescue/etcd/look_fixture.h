// For the tests of what only looks: histories of writes under this room's name.
#pragma once

#include "rescue/etcd/key_record.h"
#include "rescue/mvcc/history_testing.h"

namespace rescue::etcd::testing {

using mvcc::testing::Compaction;
using mvcc::testing::History;
using mvcc::testing::KeyValue;
using mvcc::testing::MakeBackend;
using mvcc::testing::Remaining;
using mvcc::testing::RevisionKey;
using mvcc::testing::Write;

}  // namespace rescue::etcd::testing
