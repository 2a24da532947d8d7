// A disk in a report: as JSON for machines, as lines for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "rescue/session/pipeline.h"

namespace rescue::session {

nlohmann::json ToJson(const disk::FoundDisk& found);
nlohmann::json ToJson(const DiskFacts& facts);

// A label (may be empty: it continues the one above) and its text.
struct ReportLine {
  std::string label;
  std::string text;
};
std::vector<ReportLine> DescribeDisk(const DiskFacts& facts);

// For lists: what is to be said about a disk's header below its own line.
std::vector<std::string> DescribeHeaderFindings(const disk::FoundDisk& found);

// "needs 112 MiB of memory and about 1.3 s for 1 key slot".
std::string Describe(const disk::UnlockCost& cost);

}  // namespace rescue::session
