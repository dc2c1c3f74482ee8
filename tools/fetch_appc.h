// Images by appc name: found by discovery, judged as an aci: is, and kept in the store as the files that they came as,
// for it is those that are signed.
#pragma once

#include <string>

#include "libimage/model/image.h"
#include "libimage/model/reference.h"
#include "libimage/transport/appc_fetcher.h"
#include "libsign/policy.h"
#include "tools/policy_options.h"
#include "tools/tool_main.h"

namespace gantry::tools {

class AppcFetch {
 public:
  // Starts the half with the network: call before Confine. `platform` as on the command line. kUsage for several.
  AppcFetch(const image::AppcReference& name, const std::string& platform, const PolicyOptions& policy,
            const CommonOptions& common);

  // Decides, and keeps the file only then.
  image::VerifiedImage Fetch(const sign::Policy& policy);

  // With the labels by which it was looked for: "appc:example.com/app:1.0,os=linux,arch=amd64".
  std::string name() const;

 private:
  image::AppcReference wanted_;
  std::string platform_;
  CommonOptions common_;
  image::AppcFetcher fetcher_;
};

}  // namespace gantry::tools
