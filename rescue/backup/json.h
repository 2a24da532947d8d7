// Backups as JSON. Keys are stable; sizes are bytes, times seconds since 1970 and also as text.
#pragma once

#include <nlohmann/json.hpp>

#include "rescue/backup/survey.h"

namespace rescue::backup {

nlohmann::json ToJson(const SnapshotFile& snapshot);
nlohmann::json ToJson(const SurveyedObject& object);
nlohmann::json ToJson(const Chain& chain);
nlohmann::json ToJson(const StoreSurvey& survey);
nlohmann::json ToJson(const ForeignFile& foreign);

// "2026-11-21T09:08:00Z"; the number itself when it is no year of four digits.
std::string TimeText(std::int64_t seconds);

}  // namespace rescue::backup
