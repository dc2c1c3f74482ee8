#include "libimage/transport/found_signatures.h"

#include <iterator>

#include "libimage/base/ascii.h"

namespace gantry::image {

std::vector<std::string> ToFields(FoundSignatures found) {
  std::vector<std::string> fields{std::to_string(found.signatures.size())};
  for (std::vector<std::string>* texts : {&found.signatures, &found.looked_at})
    fields.insert(fields.end(), std::make_move_iterator(texts->begin()), std::make_move_iterator(texts->end()));
  return fields;
}

std::optional<FoundSignatures> FromFields(std::vector<std::string> fields, size_t max_count) {
  const auto count = fields.empty() ? std::nullopt : ParseDecimal<size_t>(fields[0]);
  if (!count || *count > max_count || fields.size() < 1 + *count)
    return std::nullopt;
  const auto first = std::make_move_iterator(fields.begin() + 1);
  const auto middle = first + static_cast<std::ptrdiff_t>(*count);
  return FoundSignatures{{first, middle}, {middle, std::make_move_iterator(fields.end())}};
}

}  // namespace gantry::image
