// What a process does before a secret comes into its memory.
#pragma once

namespace rescue::cli {

// No core file, no other process of the same user looking in.
void GuardSecrets();

}  // namespace rescue::cli
