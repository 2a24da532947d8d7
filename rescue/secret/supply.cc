#include "rescue/secret/supply.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "rescue/secret/prompt.h"
#include "rescue/secret/source.h"
#include "rescue/secret/tpm_places.h"
#include "rescue/secret/tpm_seal.h"

namespace rescue::secret {
namespace {

constexpr std::string_view kTpmFile = "tpm:";
constexpr std::string_view kSecretQuestion =
    "\r\nMaster secret or disk key (type or paste it, then Enter; nothing is shown): ";

Result<Secret> FromCredential(const Surroundings& around) {
  if (around.credentials.empty()) {
    return Fail(ErrorKind::kCannotUnlock, "no-secret",
                "read the secret: there are no credentials here",
                "name a file with --secret, or let it be typed with --secret prompt");
  }
  ASSIGN_OR_RETURN(auto text, ReadSecretFile(around.credentials + "/" + kSecretCredential));
  return ParseSecret(std::move(text));
}

Result<Secret> FromPrompt(const Surroundings& around) {
  ASSIGN_OR_RETURN(auto text,
                   AskOnTerminals(around.terminals, kSecretQuestion, AnswerForm::kSecretText));
  return ParseSecret(std::move(text));
}

Result<Secret> FromTpm(const std::string& file, const Surroundings& around) {
  ASSIGN_OR_RETURN(const Tpm tpm, Tpm::Open(around.tpm));
  ASSIGN_OR_RETURN(const FoundBlob blob, FindBlob(tpm, file, around.credentials));
  UnsealWishes wishes;
  ASSIGN_OR_RETURN(wishes.key, ReadImageKey(around.image_key));
  ASSIGN_OR_RETURN(wishes.signatures, ReadPcrSignatures(around.image_signature));
  wishes.spend_last_try = around.spend_last_try;
  if (around.pin) {
    wishes.pin = around.pin;
  } else if (!around.pin_file.empty() || !around.terminals.empty()) {
    wishes.pin = [&](const LockoutState& state) {
      return ReadPin(around, fmt::format("\r\nPIN of the sealed secret ({} of {} tries left): ",
                                         state.tries_left(), state.allowed));
    };
  }
  auto secret = UnsealSecret(tpm, blob.bytes, wishes);
  if (!secret) return Fail(std::move(secret.error().Within("from " + blob.place)));
  return secret;
}

}  // namespace

SupplyWish ParseSupply(std::string_view word) {
  if (word == "-") return {Supply::kStandardInput, {}};
  if (word == "credential") return {Supply::kCredential, {}};
  if (word == "prompt") return {Supply::kPrompt, {}};
  if (word == "tpm") return {Supply::kTpm, {}};
  if (word.starts_with(kTpmFile)) return {Supply::kTpm, std::string(word.substr(kTpmFile.size()))};
  return {Supply::kFile, std::string(word)};
}

Surroundings OwnSurroundings() {
  Surroundings around;
  if (const char* credentials = std::getenv("CREDENTIALS_DIRECTORY")) {
    around.credentials = credentials;
  }
  around.terminals = {"/dev/tty"};
  return around;
}

Result<SecretBytes> ReadPin(const Surroundings& around, const std::string& question) {
  if (around.pin_file.empty()) return AskOnTerminals(around.terminals, question, AnswerForm::kLine);
  ASSIGN_OR_RETURN(SecretBytes pin, ReadSecretFile(around.pin_file));
  const ByteView bytes = std::as_const(pin).Reveal();
  std::size_t size = bytes.size();
  while (size > 0 && (bytes[size - 1] == std::byte{'\n'} || bytes[size - 1] == std::byte{'\r'})) {
    --size;
  }
  pin.Shrink(size);
  return pin;
}

Result<Secret> Obtain(const SupplyWish& wish, const Surroundings& around) {
  switch (wish.from) {
    case Supply::kCredential:
      return FromCredential(around);
    case Supply::kPrompt:
      return FromPrompt(around);
    case Supply::kTpm:
      return FromTpm(wish.path, around);
    case Supply::kStandardInput: {
      ASSIGN_OR_RETURN(auto text, ReadSecretFd(STDIN_FILENO, "standard input"));
      return ParseSecret(std::move(text));
    }
    case Supply::kFile: {
      ASSIGN_OR_RETURN(auto text, ReadSecretFile(wish.path));
      return ParseSecret(std::move(text));
    }
  }
  return Fail(ErrorKind::kUsage, "no-secret", "read the secret: no way was chosen");
}

}  // namespace rescue::secret
