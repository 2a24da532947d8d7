#include "rescue/edit/edit.h"

#include <catch2/catch_test_macros.hpp>
#include <set>

#include "rescue/edit/scenarios.h"

namespace rescue::edit {

TEST_CASE("Describes every edit in one line for people") {
  Attributes attributes;
  attributes.mode = 0640;
  attributes.uid = 998;
  attributes.gid = 997;
  CHECK(Describe(WriteRange{"member/wal/a.wal", 1234, Bytes(136)}) ==
        "write 136 bytes at 1234 of member/wal/a.wal");
  CHECK(Describe(Truncate{"a", 5}) == "set the size of a to 5 bytes");
  CHECK(Describe(CreateFile{"a", Bytes(3), attributes}) ==
        "create a with 3 bytes, owner 998:997, mode 0640");
  CHECK(Describe(MakeDirectory{"a", attributes}) == "create directory a, owner 998:997, mode 0640");
  CHECK(Describe(Rename{"a", "b"}) == "rename a to b");
  CHECK(Describe(Remove{"a"}) == "remove a");
  CHECK(Describe(SetAttributes{"a", attributes}) == "set owner 998:997, mode 0640 of a");
  CHECK(Describe(BuildDirectory{"a", "x", 9, attributes}) ==
        "build directory a with at most 9 bytes, owner 998:997, mode 0640");
  CHECK(Describe(Exchange{"a", "b", "c"}) == "exchange a and b");
  const std::string odd = Describe(Remove{"a\nb"});
  CHECK(odd == "remove a\\x0ab");
  const std::string path =
      "member/wal/0000000000000000-0000000000000000-0000000000000000-0000000000000000.wal";
  CHECK(Describe(Remove{path}) ==
        "remove member/wal/0000000000000000-...0000000-0000000000000000.wal");
}

TEST_CASE("Counts the bytes that go into the data directory") {
  CHECK(BytesWritten(WriteRange{"a", 9, Bytes(136)}) == 136);
  CHECK(BytesWritten(CreateFile{"a", Bytes(7), {}}) == 7);
  CHECK(BytesWritten(Truncate{"a", 1000}) == 0);
  CHECK(BytesWritten(Rename{"a", "b"}) == 0);
}

TEST_CASE("The same list has the same fingerprint for ever") {
  // Journals and reports carry it: these values may never change.
  CHECK(Fingerprint({}) == "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
  CHECK(Fingerprint(testing::RebuildPlan({})) == Fingerprint(testing::RebuildPlan({})));
}

TEST_CASE("Any change of a list changes its fingerprint") {
  Attributes attributes;
  std::set<std::string> seen;
  const auto add = [&](const EditList& edits) { CHECK(seen.insert(Fingerprint(edits)).second); };
  add({});
  add({Remove{"ab"}});
  add({Remove{"a"}, Remove{"b"}});
  add({Remove{"b"}, Remove{"a"}});
  add({Rename{"a", "b"}});
  add({Rename{"ab", ""}});
  add({Truncate{"a", 1}});
  add({Truncate{"a", 256}});
  add({WriteRange{"a", 1, {}}});
  add({WriteRange{"a", 1, Bytes(1)}});
  add({WriteRange{"a", 1, Bytes(2)}});
  add({CreateFile{"a", {}, attributes}});
  add({MakeDirectory{"a", attributes}});
  add({SetAttributes{"a", attributes}});
  add({BuildDirectory{"a", "", 0, attributes}});
  add({BuildDirectory{"a", "x", 0, attributes}});
  add({BuildDirectory{"a", "x", 1, attributes}});
  add({Exchange{"a", "b", "c"}});
  add({Exchange{"b", "a", "c"}});
  add({Exchange{"a", "b", "d"}});
  attributes.xattrs["user.x"] = Bytes(1);
  add({SetAttributes{"a", attributes}});
  attributes.xattrs["user.x"] = Bytes(2);
  add({SetAttributes{"a", attributes}});
  attributes.gid = 1;
  add({SetAttributes{"a", attributes}});
}

}  // namespace rescue::edit
