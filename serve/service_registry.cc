// The distribution protocol's pulls, and the figures.
#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"
#include "serve/service.h"

namespace gantry::serve {
namespace {

// Tags by which a signature is found that cosign made: "sha256-HEX.sig".
std::optional<Digest> SubjectOfTag(const std::string& tag) {
  const size_t dash = tag.find('-');
  const size_t dot = tag.find('.');
  if (dash == std::string::npos)
    return std::nullopt;
  return Digest::TryParse(tag.substr(0, dash) + ":" + tag.substr(dash + 1, dot - dash - 1));
}

constexpr std::string_view kRefName = "org.opencontainers.image.ref.name";

}  // namespace

HttpAnswer Service::AnswerRegistry(const RegistryRequest& request, const HasLeft& has_left) {
  switch (request.kind) {
    case RegistryRequest::Kind::kPing:
      return {.type = "application/json", .text = "{}"};
    case RegistryRequest::Kind::kManifest:
      return AnswerManifest(request, has_left);
    case RegistryRequest::Kind::kBlob:
      return AnswerPart(FormedName::Parse(request.name), Digest::Parse(request.reference), false, has_left);
    case RegistryRequest::Kind::kTags:
      return AnswerTags(request, has_left);
    case RegistryRequest::Kind::kReferrers:
      return AnswerReferrers(request);
  }
  return {.status = 404};
}

HttpAnswer Service::AnswerManifest(const RegistryRequest& request, const HasLeft& has_left) {
  const FormedName name = FormedName::Parse(request.name);
  const auto digest = Digest::TryParse(request.reference);
  if (digest && (!name.form.as_upstream() || cache_.FindPart(name.name, {}, *digest, true)))
    return AnswerPart(name, *digest, true, has_left);
  if (const auto subject = digest ? std::nullopt : SubjectOfTag(request.reference)) {
    for (const image::Descriptor& referrer : cache_.ReferrersOf(name.name, *subject)) {
      const auto tag = referrer.annotations.find(std::string(kRefName));
      if (tag != referrer.annotations.end() && tag->second == request.reference)
        return AnswerPart(name, referrer.digest, true, has_left);
    }
  }
  const Order order{
      .kind = Order::Kind::kImage, .name = name.name, .reference = request.reference, .form = name.form.ToString()};
  const std::string key = KeyOf(order);
  const Found found = Obtain(order);
  const Cache::Entry entry = Await(key, found, has_left);
  return SendPart(Cache::TopOf(key, entry), found.how);
}

HttpAnswer Service::AnswerPart(const FormedName& name, const Digest& digest, bool manifest, const HasLeft& has_left) {
  const auto part = cache_.FindPart(name.name, name.form.ToString(), digest, manifest);
  if (!part || !StillAllowed(part->key, has_left)) {
    throw Error(ErrorKind::kNotFound, digest.str() + " is not here",
                "ask for the manifest by its tag; what is used least goes out of the cache");
  }
  return SendPart(*part, "hit");
}

HttpAnswer Service::SendPart(const Cache::Part& part, const std::string& how) {
  const std::string digest = part.descriptor.digest.str();
  const std::string type = part.descriptor.media_type.empty() ? "application/octet-stream" : part.descriptor.media_type;
  try {
    HttpAnswer answer;
    if (auto content = cache_.ReadSmall(part))
      answer = {.type = type, .content = content, .size = content->size(), .etag = QuotedTag(digest), .how = how};
    else
      answer = FileAnswer(cache_.OpenBlob(part), type, QuotedTag(digest), how);
    answer.headers.emplace_back("Docker-Content-Digest", digest);
    return answer;
  } catch (const Error& error) {
    // Somebody else took it out of the store: it is made anew when it is asked for next.
    if (error.kind() == ErrorKind::kNotFound)
      cache_.Remove(part.key);
    throw;
  }
}

HttpAnswer Service::AnswerTags(const RegistryRequest& request, const HasLeft& has_left) {
  const FormedName name = FormedName::Parse(request.name);
  const Order order{.kind = Order::Kind::kTags, .name = name.name, .reference = "latest"};
  const Found found = Obtain(order);
  const Cache::Entry entry = Await(KeyOf(order), found, has_left);
  const json::Object list{{"name", request.name}, {"tags", entry.record->tags}};
  return {.type = "application/json", .text = json::Print(list), .how = found.how};
}

HttpAnswer Service::AnswerReferrers(const RegistryRequest& request) {
  json::Array list;
  for (const image::Descriptor& one :
       cache_.ReferrersOf(FormedName::Parse(request.name).name, Digest::Parse(request.reference)))
    list.push_back(one.ToJson());
  const json::Object index{{"schemaVersion", 2}, {"mediaType", image::kOciIndexType}, {"manifests", std::move(list)}};
  return {.type = std::string(image::kOciIndexType), .text = json::Print(index)};
}

void Service::Count(const HttpLogLine& line) {
  const size_t first = line.whole ? static_cast<size_t>(line.status) / 100 : 0;
  ++figures_.answers.at(first < figures_.answers.size() ? first : 0);
  figures_.bytes += line.bytes;
}

// The text format of Prometheus, version 0.0.4.
HttpAnswer Service::AnswerFigures() const {
  std::string out;
  const auto add = [&out](const std::string& name, const char* type, const char* help, uint64_t value) {
    out += "# HELP gantry_serve_" + name + " " + help + "\n# TYPE gantry_serve_" + name + " " + type + "\n";
    out += "gantry_serve_" + name + " " + std::to_string(value) + "\n";
  };
  out += "# HELP gantry_serve_answers_total Answers by class of status.\n# TYPE gantry_serve_answers_total counter\n";
  for (size_t i = 2; i < figures_.answers.size(); ++i) {
    out += "gantry_serve_answers_total{status=\"" + std::to_string(i) + "xx\"} " + std::to_string(figures_.answers[i]) +
           "\n";
  }
  add("broken_answers_total", "counter", "Answers that did not come to their end.", figures_.answers[0]);
  add("sent_bytes_total", "counter", "Bytes of bodies.", figures_.bytes);
  add("cache_hits_total", "counter", "Requests for what was there.", figures_.hits);
  add("joined_total", "counter", "Requests that waited for what another had ordered.", figures_.joined);
  add("made_total", "counter", "Things that were made.", figures_.made);
  add("failed_total", "counter", "Things that could not be made.", figures_.failed);
  add("refused_total", "counter", "Requests for what the policy does not allow.", figures_.refused);
  add("busy_total", "counter", "Requests that were sent away because too much was waited for.", figures_.busy);
  add("orders_running", "gauge", "Things that are being made.", orders_->running());
  add("orders_waiting", "gauge", "Things that wait to be made.", orders_->waiting());
  add("cache_bytes", "gauge", "Bytes of what is there.", cache_.bytes());
  add("cache_entries", "gauge", "Things that are there.", cache_.entries());
  return {.type = "text/plain; version=0.0.4; charset=utf-8", .text = out};
}

}  // namespace gantry::serve
