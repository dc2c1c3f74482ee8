// What the binaries that talk to registries make of their flags and of the configuration of this machine.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libimage/confine/confine.h"
#include "libimage/model/reference.h"
#include "libimage/transport/fetcher.h"
#include "libimage/transport/http.h"
#include "libimage/transport/pusher.h"
#include "tools/policy_options.h"

namespace gantry::tools {

// How the registry of `name` is talked to. Reads what certs.d and registries.conf have for it: call before Confine.
// kRefused when registries.conf blocks it.
image::HttpOptions HttpOptionsOf(const PolicyOptions& policy, const image::DockerReference& name);

// The same, with what registries say beside their answers told to those who want to know (--verbose).
image::HttpOptions WithNotes(image::HttpOptions http, const CommonOptions& common);

// The places where `name` is to be fetched from, by registries.conf. As above.
std::vector<image::FetchSource> FetchSourcesOf(const PolicyOptions& policy, const image::DockerReference& name);

// What a name that a user wrote may stand for, by registries.conf (RegistriesConf::Resolve).
std::vector<image::DockerReference> ResolveShortName(const std::string& text);

// What a process with the network keeps that reads what it sends from a socket alone.
image::Confinement PushConfinement();

// The same for one that fetches into the store at `store_root`.
image::Confinement FetchConfinement(const std::string& store_root);

// The flags of a gantry-push that is a child of this program; and that child, which puts what it is told to put into
// the repository of `name`.
std::vector<std::string> PushArguments(const PolicyOptions& policy, const CommonOptions& common);
image::Pusher StartPush(const image::DockerReference& name, const std::vector<std::string>& arguments);

// The other way round: a gantry-fetch that is a child, and offers what the repository has. `arguments` name its store.
image::Fetcher StartFetch(const image::DockerReference& name, const image::Platform& platform,
                          const std::vector<std::string>& arguments);

// Says what --insecure-options gives up on the way; `done` is "fetched" or "pushed".
void WarnOfInsecureNetwork(const PolicyOptions& policy, std::string_view done);

}  // namespace gantry::tools
