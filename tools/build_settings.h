// Instructions of a Containerfile that change the configuration and no file.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/build/containerfile.h"
#include "libimage/build/draft.h"
#include "libimage/build/words.h"

namespace gantry::tools {

// `has_cmd`: the stage said CMD itself; an ENTRYPOINT drops one that came with the base.
void ApplySetting(image::Draft& draft, const image::Instruction& step, const image::WordRules& words, bool& has_cmd);

// The words of RUN, CMD or ENTRYPOINT: those of the JSON form, else the shell and the text.
std::vector<std::string> CommandOf(const image::Draft& draft, const image::Instruction& step);

std::optional<std::string> EnvironmentOf(const image::Draft& draft, std::string_view name);

// `path` from the working directory, absolute and clean.
std::string InDirectory(const image::Draft& draft, const std::string& path);

}  // namespace gantry::tools
