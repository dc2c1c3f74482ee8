// appc meta discovery (appc spec 0.8.11, discovery.md): where the image of a name lies, by pages that its host serves.
//
// The page at a name, or at one of those above it, has in its <head>
//
//   <meta name="ac-discovery" content="PREFIX TEMPLATE">
//   <meta name="ac-discovery-pubkeys" content="PREFIX URL">
//
// A page is foreign text: whoever writes into its body, a wiki's author, must not be able to say where images lie. No
// I/O here, and nothing is trusted: whom the found image is by, its signature tells.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libimage/model/aci_manifest.h"
#include "libimage/model/descriptor.h"
#include "libimage/model/reference.h"

namespace gantry::image {

constexpr size_t kMaxDiscoveryPageBytes = 1024 * 1024;
constexpr size_t kMaxDiscoveryTags = 1000;  // meta elements of one page
constexpr size_t kMaxTagAttributes = 64;    // of one element
constexpr size_t kMaxDiscoveryDepth = 32;   // components of a name
constexpr std::string_view kDefaultAppcVersion = "latest";

struct DiscoveryTag {
  std::string prefix;  // an AC Identifier
  std::string value;   // a template, or the address of keys

  // Whether it is about that name: example.com/foo is about example.com/foo/bar, not about example.com/foobar.
  bool IsFor(std::string_view name) const;
  friend bool operator==(const DiscoveryTag&, const DiscoveryTag&) = default;
};

struct DiscoveryPage {
  std::vector<DiscoveryTag> images;  // ac-discovery, in the order of the page
  std::vector<DiscoveryTag> keys;    // ac-discovery-pubkeys

  // Reads the head as a browser would, up to what can only stand in a body. A tag whose content has another form is
  // passed over; kCorrupt for more elements or attributes than are taken.
  static DiscoveryPage Parse(std::string_view html);
};

// The names whose pages are looked at, in their order: the name, then those above it. kUnsupported when there are more
// than kMaxDiscoveryDepth.
std::vector<std::string> DiscoveryNames(const std::string& name);

// With os and arch, for `platform` where they are not given. kUnsupported for a platform that appc does not know.
AppcReference WithPlatform(AppcReference wanted, const Platform& platform);

// The address that a template gives for an image, or for its signature: {name}, {version}, the labels and {ext}. Values
// are percent-encoded. nullopt where the template asks for a label that there is none of.
std::optional<std::string> Render(std::string_view address_template, const AppcReference& wanted,
                                  std::string_view extension);

// What is found must be what was asked for, whoever signed it: the name and every label of `wanted`, but for os and
// arch of an image that says nothing about them. kCorrupt otherwise.
void RequireSame(const AciManifest& found, const AppcReference& wanted);

}  // namespace gantry::image
