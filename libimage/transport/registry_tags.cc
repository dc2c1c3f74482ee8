// The tags of a repository (distribution-spec 1.1, "Listing Tags").
#include <algorithm>

#include "libimage/base/ascii.h"
#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/transport/registry.h"

namespace gantry::image {
namespace {

constexpr size_t kTagsOfAPage = 1000;  // what we ask for; a registry may give less
constexpr size_t kMaxTagBytes = 128;
constexpr size_t kMaxErrorsRead = 16;

bool IsTag(std::string_view text) {
  const auto good = [](unsigned char c) { return c < 0x80 && (isalnum(c) != 0 || c == '_' || c == '.' || c == '-'); };
  return !text.empty() && text.size() <= kMaxTagBytes && text[0] != '.' && text[0] != '-' &&
         std::all_of(text.begin(), text.end(), good);
}

// They are printed, and become parts of names.
void AppendTags(const std::string& body, const std::string& what, std::vector<std::string>& into) {
  const json::Value document = json::Parse(body, what);
  const auto tags = json::Cursor(document, what).Find("tags");
  if (!tags)
    return;
  for (const json::Cursor& tag : tags->Elements(kMaxTags - into.size())) {
    if (!IsTag(tag.String()))
      tag.Fail("expected a tag");
    into.push_back(tag.String());
  }
}

// An empty list is one; without any, or with nonsense, it is not known.
bool ListsNone(const std::string& body, const std::string& what) {
  const json::Value document = json::Parse(body, what);
  const json::Cursor tags = json::Cursor(document, what).At("tags");
  return tags.value().is_null() || tags.Elements(kMaxTags).empty();
}

// Others than the registry answer with 404, too, and registries do that have no such list.
bool NamesNoRepository(const std::string& body, const std::string& what) {
  const json::Value document = json::Parse(body, what);
  const std::vector<json::Cursor> errors = json::Cursor(document, what).At("errors").Elements(kMaxErrorsRead);
  return std::any_of(errors.begin(), errors.end(),
                     [](const json::Cursor& error) { return error.At("code").String() == "NAME_UNKNOWN"; });
}

// Whether the parameters of a link say that it leads to the next page.
bool LeadsOn(std::string_view parameters) {
  const std::string text = LowerAscii(parameters);
  return text.find("rel=\"next\"") != std::string::npos || text.ends_with("rel=next") ||
         text.find("rel=next;") != std::string::npos;
}

}  // namespace

std::optional<std::string> NextPage(std::string_view link) {
  while (true) {
    const size_t open = link.find('<');
    const size_t close = link.find('>', open);
    if (open == std::string_view::npos || close == std::string_view::npos)
      return std::nullopt;
    const std::string_view address = link.substr(open + 1, close - open - 1);
    link.remove_prefix(close + 1);
    if (LeadsOn(Trimmed(link.substr(0, link.find(',')))))
      return std::string(address);
  }
}

std::optional<HttpRequest> RegistryClient::NextRequest(const HttpRequest& request, const HttpResponse& response,
                                                       const std::string& path) const {
  const std::optional<std::string> next = NextPage(response.Header("link"));
  if (!next)
    return std::nullopt;
  const std::optional<Url> url = RequestFor(path, request.what).url.Resolve(*next);
  if (!url || url->Origin() != shared_->Base()->Origin()) {
    throw Error(ErrorKind::kNetwork,
                request.what + ": the next page is at " + Quoted(*next) + ", which is not this registry");
  }
  HttpRequest out = request;
  out.url = *url;
  out.may_be_plain = false;
  out.led_by = response.zone;
  return out;
}

std::vector<std::string> RegistryClient::ListTags() {
  const std::string what = "tags of " + Quoted(repository());
  std::vector<std::string> tags;
  HttpRequest request = RequestFor("tags/list?n=" + std::to_string(kTagsOfAPage), what);
  request.max_body_bytes = kMaxTagPageBytes;
  for (size_t page = 0; page < kMaxTagPages; ++page) {
    const HttpResponse response = Get(request);
    AppendTags(response.body, what, tags);
    const std::optional<HttpRequest> next = NextRequest(request, response, "tags/list");
    if (!next)
      return tags;
    request = *next;
  }
  throw Error(ErrorKind::kCorrupt, what + ": more than " + std::to_string(kMaxTagPages) + " pages",
              "the registry is broken or hostile");
}

bool RegistryClient::MayHaveTags() {
  constexpr int kNotFound = 404;
  const std::string what = "tags of " + Quoted(repository());
  try {
    HttpRequest request = RequestFor("tags/list?n=1", what);
    request.max_body_bytes = kMaxTagPageBytes;
    request.retries = false;
    const HttpResponse response = Send(std::move(request));
    if (response.status == kNotFound)
      return !NamesNoRepository(response.body, what);
    return !response.ok() || NextPage(response.Header("link")) || !ListsNone(response.body, what);
  } catch (const Error&) {
    return true;
  }
}

}  // namespace gantry::image
