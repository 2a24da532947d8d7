#include "rescue/cli/buttons.h"

#include <fcntl.h>
#include <linux/input.h>

#include <catch2/catch_test_macros.hpp>
#include <fstream>

#include "rescue/base/unique_fd.h"
#include "rescue/cli/run_program.h"
#include "tests/support/fixtures.h"

namespace rescue::cli {
namespace {

struct Keyboard {
  UniqueFd read_end;
  UniqueFd write_end;

  Keyboard() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    read_end = UniqueFd(ends[0]);
    write_end = UniqueFd(ends[1]);
  }

  void Send(unsigned short type, unsigned short code, int value) const {
    input_event event{};
    event.type = type;
    event.code = code;
    event.value = value;
    REQUIRE(::write(write_end.get(), &event, sizeof(event)) == sizeof(event));
  }
};

TEST_CASE("OnlyThePowerKeyGoingDownCounts") {
  const Keyboard keyboard;
  CHECK(TookPowerKey(keyboard.read_end.get()) == false);
  keyboard.Send(EV_KEY, KEY_A, 1);
  keyboard.Send(EV_KEY, KEY_POWER, 0);
  keyboard.Send(EV_MSC, KEY_POWER, 1);
  CHECK(TookPowerKey(keyboard.read_end.get()) == false);
  keyboard.Send(EV_KEY, KEY_POWER, 1);
  keyboard.Send(EV_SYN, SYN_REPORT, 0);
  CHECK(TookPowerKey(keyboard.read_end.get()) == true);
}

TEST_CASE("AnInputDeviceThatIsGoneIsAnErrorAndNoLoop") {
  Keyboard keyboard;
  keyboard.write_end = {};
  CHECK_FALSE(TookPowerKey(keyboard.read_end.get()).has_value());
}

TEST_CASE("PowersOffNothingButTheAppliance") {
  const rescue::testing::TemporaryDirectory directory;
  const auto release = (directory.path() / "os-release").string();
  std::ofstream(release) << "ID=debian\nIMAGE_ID=something-else\n";
  CHECK(CheckIsAppliance(release).error().code == "not-the-appliance");
  std::ofstream(release) << "ID=debian\nIMAGE_ID=etcd-rescue\n";
  CHECK(CheckIsAppliance(release).has_value());
  CHECK_FALSE(CheckIsAppliance("/no/such/os-release").has_value());
}

}  // namespace
}  // namespace rescue::cli
