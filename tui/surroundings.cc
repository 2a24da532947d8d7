// What the machine says to the wizard beside the command line.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tui/wizard.h"

namespace rescue::tui {
namespace {

constexpr std::string_view kFaceWord = "etcd-rescue.ui";
constexpr const char* kSecretCredential = "etcd-rescue.master-secret";

std::string FirstWord(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// "etcd-rescue.ui=line" among the words of the kernel command line.
std::string FromKernel() {
  std::ifstream file("/proc/cmdline");
  std::string word;
  const std::string name = std::string(kFaceWord) + "=";
  std::string value;
  while (file >> word) {
    if (word.starts_with(name)) value = word.substr(name.size());
  }
  return value;
}

}  // namespace

void CompleteFromSurroundings(WizardOptions& options) {
  std::string face;
  if (const char* directory = std::getenv("CREDENTIALS_DIRECTORY")) {
    const std::string secret = std::string(directory) + "/" + kSecretCredential;
    if (::access(secret.c_str(), R_OK) == 0) options.setup.credential = secret;
    face = FirstWord(std::string(directory) + "/" + std::string(kFaceWord));
  }
  if (face.empty() && options.setup.appliance) face = FromKernel();
  if (options.face == WizardOptions::Face::kAuto) {
    if (face == "line") options.face = WizardOptions::Face::kLines;
    if (face == "screen") options.face = WizardOptions::Face::kScreen;
  }
  if (options.setup.appliance) options.setup.tpm = ::access("/dev/tpmrm0", R_OK | W_OK) == 0;
  if (options.setup.appliance) options.setup.report_path = "etcd-rescue-report";
  if (options.setup.report_path.empty()) {
    const char* home = std::getenv("HOME");
    options.setup.report_path =
        std::string(home == nullptr ? "/run" : home) + "/etcd-rescue-report";
  }
}

}  // namespace rescue::tui
