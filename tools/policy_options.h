// The flags of the binaries that deal with trust: --policy and --insecure-options, --as and --registries.d.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "libimage/confine/confine.h"
#include "libsign/policy.h"
#include "libsign/registries_d.h"
#include "tools/tool_main.h"

namespace gantry::tools {

struct PolicyOptions {
  std::string policy_path;            // --policy; empty: the usual places
  std::vector<std::string> insecure;  // --insecure-options: any of image, http, tls

  bool insecure_image() const { return Has("image"); }  // accept images that no policy allows
  bool insecure_http() const { return Has("http"); }    // plain HTTP to registries that are not on loopback
  bool insecure_tls() const { return Has("tls"); }      // certificates of registries are not checked

  // The same flags for a child process of gantry's.
  std::vector<std::string> Arguments() const;

 private:
  bool Has(std::string_view what) const;
};

// Adds both flags. `options` must outlive the parse.
void AddPolicyOptions(CLI::App& app, PolicyOptions& options);

// Only --insecure-options, limited to `allowed`; for binaries that decide nothing but use the network.
void AddInsecureOptions(CLI::App& app, PolicyOptions& options, const std::vector<std::string>& allowed);

// Adds --as and --registries.d: the name to sign or judge an image under, and where lookasides are configured.
void AddLookasideOptions(CLI::App& app, std::string& as, std::string& registries);
void AddRegistriesOption(CLI::App& app, std::string& registries);

// The value of --as: a registry name with or without docker://. nullopt when `text` is empty.
std::optional<image::DockerReference> ParseAs(const std::string& text);

// nullopt for an option that was not given.
std::optional<std::string> Given(const std::string& value);

// Adds to `keep` what gpg needs: programs, and places for its private directory.
void KeepForGpg(image::Confinement& keep);

// What a decision by `policy` keeps: the keys, whoever may read them, the lookasides on this machine, gpg. Where the
// image is comes beside.
image::Confinement DecisionConfinement(const sign::Policy& policy, const sign::RegistriesD& registries);

// The policy that decides. With --insecure-options=image it accepts everything, and says so on stderr, --quiet or not.
sign::Policy LoadPolicy(const PolicyOptions& options, const CommonOptions& common);

// Says what --insecure-options gives up on the way; `done` is "fetched" or "pushed".
void WarnOfInsecureNetwork(const PolicyOptions& policy, std::string_view done);

}  // namespace gantry::tools
