// What the binaries that talk to registries make of their flags and of the configuration of this machine.
#pragma once

#include <string>
#include <vector>

#include "libimage/confine/confine.h"
#include "libimage/model/reference.h"
#include "libimage/transport/fetcher.h"
#include "libimage/transport/http.h"
#include "tools/policy_options.h"

namespace gantry::tools {

// How the registry of `name` is talked to. Reads what certs.d and registries.conf have for it: call before Confine.
// kRefused when registries.conf blocks it.
image::HttpOptions HttpOptionsOf(const PolicyOptions& policy, const image::DockerReference& name);

// The same, with what registries say beside their answers told to those who want to know (--verbose).
image::HttpOptions WithNotes(image::HttpOptions http, const CommonOptions& common);

// The places where `name` is to be fetched from, by registries.conf. As above.
std::vector<image::FetchSource> FetchSourcesOf(const PolicyOptions& policy, const image::DockerReference& name);

// What a process with the network keeps that reads what it sends from a socket alone.
image::Confinement PushConfinement();

// The same for one that fetches into the store at `store_root`.
image::Confinement FetchConfinement(const std::string& store_root);

}  // namespace gantry::tools
