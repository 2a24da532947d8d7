#include "rescue/rpc/port.h"

#include <catch2/catch_test_macros.hpp>

namespace rescue::rpc {
namespace {

const std::vector<std::string> kOne = {"/dev/ttyS0"};
const std::vector<std::string> kTwo = {"/dev/ttyS0", "/dev/ttyS1"};

TEST_CASE("TheVirtioPortGoesFirst") {
  CHECK(ChoosePort({true, kTwo, ""}) == kVirtioPort);
  CHECK(ChoosePort({true, kTwo, "rpc"}) == kVirtioPort);
  CHECK(ChoosePort({true, {}, ""}) == kVirtioPort);
}

TEST_CASE("ASerialLineIsTakenOnlyWhenItIsAskedFor") {
  CHECK(ChoosePort({false, kTwo, "rpc"}) == "/dev/ttyS1");
  CHECK(ChoosePort({false, kOne, "rpc"}) == "/dev/ttyS0");
  CHECK(ChoosePort({true, kTwo, "rpc:ttyS0"}) == "/dev/ttyS0");
  CHECK(ChoosePort({false, {}, "rpc:hvc0"}) == "/dev/hvc0");
  for (const PortFacts& facts : {PortFacts{false, kTwo, ""}, PortFacts{false, {}, "rpc"}}) {
    const auto port = ChoosePort(facts);
    REQUIRE_FALSE(port);
    CHECK(port.error().code == "no-port");
  }
}

TEST_CASE("WhatIsNoLineIsRefused") {
  for (const char* asked : {"yes", "rpc:", "rpc:../etc/passwd", "rpc:.", "rpc:a/b", "line"}) {
    INFO(asked);
    const auto port = ChoosePort({true, kTwo, asked});
    REQUIRE_FALSE(port);
    CHECK(port.error().code == "bad-console");
  }
}

}  // namespace
}  // namespace rescue::rpc
