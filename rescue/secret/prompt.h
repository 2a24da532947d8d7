// A secret that somebody types or pastes on a terminal: not echoed, kept in secret memory, and the
// terminal is as it was afterwards, whatever ends the question.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/result.h"
#include "rescue/base/secret_bytes.h"

namespace rescue::secret {

// How an answer ends.
enum class AnswerForm {
  kLine,  // with the first line: a PIN, a passphrase
  // A pasted secret may contain line breaks, from a mail or a terminal's width. It ends with a line
  // break outside a bracketed paste after which nothing follows for kQuietMilliseconds, and outside
  // the braces of JSON; or with Ctrl-D.
  kSecretText,
};

inline constexpr int kQuietMilliseconds = 250;
// A terminal hands over lines of at most 4095 bytes; no form of a secret is longer.
inline constexpr std::size_t kMaxAnswer = 4095;

// Asks on all of these terminals at once and takes the answer of the one on which somebody types
// (an appliance has a screen and serial lines). Terminals that cannot be opened are left out.
//
// The lines stay in the kernel's canonical mode: with echo off it wipes its own buffers then
// (n_tty.c, zero_buffer), and backspace and Ctrl-U work as everywhere. Ctrl-C and signals that end
// or stop the process restore the terminals first.
//
// Errors: kCannotUnlock "no-terminal", "no-secret" (nothing was typed), "bad-secret" (too long).
Result<SecretBytes> AskOnTerminals(const std::vector<std::string>& devices,
                                   std::string_view question, AnswerForm form);

}  // namespace rescue::secret
