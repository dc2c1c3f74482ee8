#include "tests/support/registry_server.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "libimage/base/ascii.h"
#include "libimage/base/base64.h"
#include "libimage/base/digest.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/transport/http.h"

namespace gantry::testing {
namespace {

const std::set<std::string> kKinds{"drop", "lose",  "stall",    "status", "cut",  "more",  "flip",
                                   "set",  "unset", "redirect", "refuse", "part", "forget"};

std::string Decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// A parameter of a query or a form; empty when absent.
std::string Parameter(const std::string& form, const std::string& name) {
  for (size_t at = 0; at < form.size();) {
    const size_t end = std::min(form.find('&', at), form.size());
    const std::string pair = form.substr(at, end - at);
    if (pair.starts_with(name + "="))
      return Decoded(pair.substr(name.size() + 1));
    at = end + 1;
  }
  return {};
}

std::string QueryOf(const std::string& target) {
  const size_t mark = target.find('?');
  return mark == std::string::npos ? "" : target.substr(mark + 1);
}

std::string Errors(const std::string& code) {
  return R"({"errors":[{"code":")" + code + R"(","message":"so it is"}]})";
}

size_t NumberOr(const std::string& text, size_t otherwise) { return text.empty() ? otherwise : std::stoul(text); }

// The member of a manifest, as text; empty when absent.
std::string TextOf(const json::Value& manifest, std::string_view key) {
  const json::Value* found = manifest.object() != nullptr ? manifest.object()->Find(key) : nullptr;
  return found != nullptr && found->string() != nullptr ? *found->string() : "";
}

}  // namespace

RegistryServer::RegistryServer(Options options, const std::string& address) : options_(std::move(options)) {
  server_ = std::make_unique<HttpServer>([this](const SeenRequest& r, Exchange& out) { Serve(r, out); }, address);
}

RegistryServer::RegistryServer(Options options, const TestCertificate& certificate) : options_(std::move(options)) {
  server_ = std::make_unique<HttpServer>([this](const SeenRequest& r, Exchange& out) { Serve(r, out); }, certificate);
}

void RegistryServer::Script(const std::string& lines) {
  const std::lock_guard lock(mutex_);
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) {
    if (line.empty())
      continue;
    std::istringstream words(line);
    Fault fault;
    words >> fault.method >> fault.part >> fault.kind;
    std::getline(words >> std::ws, fault.argument);
    if (!kKinds.contains(fault.kind))
      throw std::runtime_error("no line of a script: " + line);
    script_.push_back(fault);
  }
}

void RegistryServer::Reset() {
  const std::lock_guard lock(mutex_);
  script_.clear();
}

bool RegistryServer::script_is_done() const {
  const std::lock_guard lock(mutex_);
  return script_.empty();
}

void RegistryServer::PutBlob(const std::string& repository, const std::string& digest, const std::string& bytes) {
  if (!options_.upstream.empty()) {
    const Answer begun = Forward({"POST", "/v2/" + repository + "/blobs/uploads/", {}, ""});
    for (const std::string& line : begun.headers) {
      if (line.starts_with("location: "))
        Forward({"PUT", line.substr(line.find('/')) + "&digest=" + digest, {}, bytes});
    }
    return;
  }
  const std::lock_guard lock(mutex_);
  repositories_[repository].blobs[digest] = bytes;
}

void RegistryServer::PutManifest(const std::string& repository, const std::string& reference, const std::string& type,
                                 const std::string& bytes) {
  if (!options_.upstream.empty()) {
    Forward({"PUT", "/v2/" + repository + "/manifests/" + reference, {{"content-type", type}}, bytes});
    return;
  }
  const std::lock_guard lock(mutex_);
  const std::string digest = Digest::Of(bytes).str();
  repositories_[repository].manifests[digest] = {type, bytes};
  if (reference != digest)
    repositories_[repository].tags[reference] = digest;
}

std::optional<std::string> RegistryServer::Blob(const std::string& repository, const std::string& digest) const {
  if (!options_.upstream.empty()) {
    const Answer answer = Forward({"GET", "/v2/" + repository + "/blobs/" + digest, {}, ""});
    return answer.status == 200 ? std::optional(answer.body) : std::nullopt;
  }
  const std::lock_guard lock(mutex_);
  const auto found = repositories_.find(repository);
  if (found == repositories_.end() || !found->second.blobs.contains(digest))
    return std::nullopt;
  return found->second.blobs.at(digest);
}

std::optional<std::string> RegistryServer::Manifest(const std::string& repository, const std::string& reference) const {
  if (!options_.upstream.empty()) {
    const Answer answer = Forward({"GET",
                                   "/v2/" + repository + "/manifests/" + reference,
                                   {{"accept", "application/vnd.oci.image.manifest.v1+json"}},
                                   ""});
    return answer.status == 200 ? std::optional(answer.body) : std::nullopt;
  }
  const std::lock_guard lock(mutex_);
  const auto found = repositories_.find(repository);
  if (found == repositories_.end())
    return std::nullopt;
  const auto tag = found->second.tags.find(reference);
  const auto manifest = found->second.manifests.find(tag == found->second.tags.end() ? reference : tag->second);
  return manifest == found->second.manifests.end() ? std::nullopt : std::optional(manifest->second.bytes);
}

size_t RegistryServer::open_uploads() const {
  const std::lock_guard lock(mutex_);
  return uploads_.size();
}

size_t RegistryServer::Count(const std::string& method, const std::string& part) const {
  const std::vector<SeenRequest> all = requests();
  return static_cast<size_t>(std::count_if(all.begin(), all.end(), [&](const SeenRequest& request) {
    return request.method == method && request.target.find(part) != std::string::npos;
  }));
}

void RegistryServer::Serve(const SeenRequest& request, Exchange& out) {
  if (request.method == "GET")
    std::this_thread::sleep_for(options_.read_delay);
  if (const std::optional<Fault> fault = TakeFault(request))
    Commit(*fault, request, out);
  else
    Deliver(Route(request), out);
}

std::optional<RegistryServer::Fault> RegistryServer::TakeFault(const SeenRequest& request) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(script_.begin(), script_.end(), [&](const Fault& fault) {
    return (fault.method == "*" || fault.method == request.method) &&
           request.target.find(fault.part) != std::string::npos;
  });
  if (found == script_.end())
    return std::nullopt;
  Fault fault = *found;
  script_.erase(found);
  return fault;
}

void RegistryServer::Deliver(const Answer& answer, Exchange& out) {
  out.SendHead(answer.status, answer.headers, answer.body.size());
  if (!answer.head)
    out.SendRaw(answer.body);
}

void RegistryServer::Commit(const Fault& fault, const SeenRequest& request, Exchange& out) {
  const std::string& argument = fault.argument;
  if (fault.kind == "status") {
    std::istringstream words(argument);
    Answer answer;
    std::string word;
    std::getline(words, word, ';');
    answer.status = std::stoi(word);
    while (std::getline(words, word, ';')) answer.headers.push_back(word);
    answer.body = Errors("SCRIPTED");
    answer.head = request.method == "HEAD";
    return Deliver(answer, out);
  }
  if (fault.kind == "redirect")
    return out.Send(307, {"Location: " + argument + request.target}, "");
  if (fault.kind == "refuse")
    return Deliver({.status = 400, .body = Errors(argument)}, out);
  if (fault.kind == "stall" && argument.empty())
    return out.Stall();
  if (fault.kind == "forget") {
    const std::lock_guard lock(mutex_);
    uploads_.clear();
  }
  SeenRequest met = request;
  if ((fault.kind == "drop" && !request.body.empty()) || fault.kind == "part") {
    met.body = request.body.substr(0, std::stoul(argument));
    met.method = "PATCH";  // what has come stays, and nothing is closed
    const size_t cut = options_.upstream.empty() ? request.target.find('?') : request.target.find("&digest=");
    met.target = request.target.substr(0, cut);
  }
  Answer answer = Route(met);
  if (fault.kind == "lose" || (fault.kind == "drop" && !request.body.empty()))
    return out.Drop();
  if (fault.kind == "drop" || fault.kind == "stall") {
    out.SendHead(answer.status, answer.headers, answer.body.size());
    out.SendRaw(answer.body.substr(0, std::stoul(argument)));
    return fault.kind == "drop" ? out.Drop() : out.Stall();
  }
  if (fault.kind == "cut")
    answer.body.resize(std::stoul(argument));
  if (fault.kind == "more")
    answer.body += "more";
  if (fault.kind == "flip")
    answer.body.at(std::stoul(argument)) ^= 1;
  if (fault.kind == "set" || fault.kind == "unset") {
    const std::string name = argument.substr(0, argument.find(':'));
    std::erase_if(answer.headers,
                  [&](const std::string& line) { return LowerAscii(line).starts_with(LowerAscii(name) + ":"); });
    if (fault.kind == "set")
      answer.headers.push_back(argument);
  }
  Deliver(answer, out);
}

RegistryServer::Answer RegistryServer::Forward(const SeenRequest& request) const {
  image::HttpClient http(image::HttpOptions{});
  std::vector<std::string> headers;
  for (const auto& [name, value] : request.headers) {
    const bool kept = name == "accept" || name == "content-type" || name == "content-range" || name == "if-match";
    if (kept || (name == "range" && options_.ranges))
      headers.push_back(name + ": " + value);
  }
  const image::HttpResponse response =
      http.Send({.method = request.method,
                 .url = *image::Url::Parse("http://" + options_.upstream + request.target),
                 .headers = headers,
                 .body = AsBytes(request.body),
                 .retries = false,
                 .max_body_bytes = size_t{1} << 30,
                 .what = "upstream"});
  Answer answer{.status = response.status, .headers = {}, .body = response.body, .head = request.method == "HEAD"};
  for (const auto& [name, value] : response.headers) {
    if (name == "location" || name == "range" || name == "content-range" || name == "content-type" || name == "etag" ||
        name == "link" || name.starts_with("docker-") || name.starts_with("oci-"))
      answer.headers.push_back(name + ": " + value);
  }
  return answer;
}

RegistryServer::Answer RegistryServer::Route(const SeenRequest& request) {
  const std::lock_guard lock(mutex_);
  const std::string path = request.target.substr(0, request.target.find('?'));
  if (path == "/token")
    return Token(request);
  if (auto refusal = Refusal(request)) {
    refusal->head = request.method == "HEAD";
    return *refusal;
  }
  if (!options_.upstream.empty())
    return Forward(request);
  if (path == "/v2/")
    return {.body = "{}"};
  for (const char* part : {"/blobs/", "/manifests/", "/tags/list", "/referrers/"}) {
    const size_t at = path.rfind(part);
    if (path.starts_with("/v2/") && at != std::string::npos && at > 4)
      return Authorized(request, path.substr(4, at - 4), path.substr(at));
  }
  return {.status = 404, .body = Errors("NAME_UNKNOWN"), .head = request.method == "HEAD"};
}

RegistryServer::Answer RegistryServer::Authorized(const SeenRequest& request, const std::string& name,
                                                  const std::string& rest) {
  Repository& repository = repositories_[name];
  const std::string last = rest.substr(rest.rfind('/') + 1);
  Answer answer;
  if (rest == "/blobs/uploads/" && request.method == "POST")
    answer = BeginUpload(request, name, repository);
  else if (rest.starts_with("/blobs/uploads/"))
    answer = ContinueUpload(request, repository, last);
  else if (rest.starts_with("/blobs/"))
    answer = Blobs(request, repository, last);
  else if (rest.starts_with("/manifests/"))
    answer =
        request.method == "PUT" ? PutManifestAnswer(request, repository, last) : Manifests(request, repository, last);
  else if (rest == "/tags/list")
    answer = Tags(request, name, repository);
  else
    answer = Referrers(request, repository, last);
  answer.head = request.method == "HEAD";
  return answer;
}

std::optional<RegistryServer::Answer> RegistryServer::Refusal(const SeenRequest& request) {
  const std::string sent = request.Header("authorization");
  if (options_.user.empty() && options_.identity_token.empty())
    return std::nullopt;
  if (options_.basic) {
    if (sent == "Basic " + EncodeBase64(options_.user + ":" + options_.password))
      return std::nullopt;
    return Answer{.status = 401, .headers = {"WWW-Authenticate: Basic realm=\"test\""}, .body = Errors("UNAUTHORIZED")};
  }
  if (last_token_ > 0 && sent == "Bearer token-" + std::to_string(last_token_))
    return std::nullopt;
  return Answer{.status = 401,
                .headers = {"WWW-Authenticate: Bearer realm=\"" + server_->Url("/token") + "\",service=\"test\""},
                .body = Errors("UNAUTHORIZED")};
}

RegistryServer::Answer RegistryServer::Token(const SeenRequest& request) {
  const bool refreshed = !options_.identity_token.empty() &&
                         Parameter(request.body, "refresh_token") == options_.identity_token &&
                         Parameter(request.body, "grant_type") == "refresh_token";
  const bool known = !options_.user.empty() && request.Header("authorization") ==
                                                   "Basic " + EncodeBase64(options_.user + ":" + options_.password);
  if (!refreshed && !known)
    return {.status = 401, .body = Errors("UNAUTHORIZED")};
  return {.body = R"({"access_token":"token-)" + std::to_string(++last_token_) + R"(","expires_in":)" +
                  std::to_string(options_.token_seconds) + "}"};
}

RegistryServer::Answer RegistryServer::Blobs(const SeenRequest& request, Repository& repository,
                                             const std::string& digest) {
  const auto found = repository.blobs.find(digest);
  if (found == repository.blobs.end())
    return {.status = 404, .body = Errors("BLOB_UNKNOWN")};
  const std::string& bytes = found->second;
  const std::string range = request.Header("range");
  if (!options_.ranges || !range.starts_with("bytes="))
    return {.headers = {"Docker-Content-Digest: " + digest}, .body = bytes};
  const size_t first = std::stoul(range.substr(6));
  const size_t last = std::min(NumberOr(range.substr(range.find('-') + 1), bytes.size() - 1), bytes.size() - 1);
  if (first > last)
    return {.status = 416, .body = Errors("RANGE_INVALID")};
  return {.status = 206,
          .headers = {"Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" +
                      std::to_string(bytes.size())},
          .body = bytes.substr(first, last - first + 1)};
}

RegistryServer::Answer RegistryServer::Manifests(const SeenRequest& request, Repository& repository,
                                                 const std::string& reference) {
  const auto tag = repository.tags.find(reference);
  if (request.method == "DELETE" && tag != repository.tags.end()) {
    repository.tags.erase(tag);
    return {.status = 202};
  }
  const auto found = repository.manifests.find(tag == repository.tags.end() ? reference : tag->second);
  if (found == repository.manifests.end())
    return {.status = 404, .body = Errors("MANIFEST_UNKNOWN")};
  if (request.method == "DELETE") {
    std::erase_if(repository.tags, [&](const auto& entry) { return entry.second == found->first; });
    repository.manifests.erase(found);
    return {.status = 202};
  }
  Answer answer{.headers = {"Content-Type: " + found->second.type, "Docker-Content-Digest: " + found->first},
                .body = found->second.bytes};
  if (options_.versions)
    answer.headers.push_back("ETag: \"" + found->first + "\"");
  return answer;
}

// Only over blobs and manifests that are here.
RegistryServer::Answer RegistryServer::PutManifestAnswer(const SeenRequest& request, Repository& repository,
                                                         const std::string& reference) {
  const std::string digest = Digest::Of(request.body).str();
  if (reference.find(':') != std::string::npos && reference != digest)
    return {.status = 400, .body = Errors("DIGEST_INVALID")};
  const std::string wanted = request.Header("if-match");
  const auto tagged = repository.tags.find(reference);
  if (options_.versions && !request.Header("if-none-match").empty() && tagged != repository.tags.end())
    return {.status = 412, .body = Errors("PRECONDITION")};
  if (!wanted.empty() && (tagged == repository.tags.end() || wanted != "\"" + tagged->second + "\""))
    return {.status = 412, .body = Errors("PRECONDITION")};
  const json::Value manifest = json::Parse(request.body, "manifest");
  std::vector<std::string> missing;
  for (const char* key : {"config", "layers", "manifests"}) {
    const json::Value* member = manifest.object()->Find(key);
    if (member == nullptr)
      continue;
    const json::Array entries = member->array() != nullptr ? *member->array() : json::Array{*member};
    for (const json::Value& entry : entries) {
      const std::string needed = TextOf(entry, "digest");
      if (!repository.blobs.contains(needed) && !repository.manifests.contains(needed))
        missing.push_back(needed);
    }
  }
  if (!missing.empty())
    return {.status = 400, .body = Errors("MANIFEST_BLOB_UNKNOWN")};
  repository.manifests[digest] = {request.Header("content-type"), request.body};
  if (reference != digest)
    repository.tags[reference] = digest;
  Answer answer{.status = 201, .headers = {"Location: /v2/x/manifests/" + digest, "Docker-Content-Digest: " + digest}};
  const json::Value* subject = manifest.object()->Find("subject");
  if (subject != nullptr && options_.referrers)
    answer.headers.push_back("OCI-Subject: " + TextOf(*subject, "digest"));
  return answer;
}

RegistryServer::Answer RegistryServer::Session(int status, const std::string& id) {
  const Upload& upload = uploads_.at(id);
  Answer answer{.status = status,
                .headers = {"Location: /v2/" + upload.repository + "/blobs/uploads/" + id + "?state=x%3Dy"}};
  if (!upload.bytes.empty())
    answer.headers.push_back("Range: 0-" + std::to_string(upload.bytes.size() - 1));
  if (options_.min_chunk > 0)
    answer.headers.push_back("OCI-Chunk-Min-Length: " + std::to_string(options_.min_chunk));
  return answer;
}

RegistryServer::Answer RegistryServer::BeginUpload(const SeenRequest& request, const std::string& name,
                                                   Repository& repository) {
  const std::string query = QueryOf(request.target);
  const std::string mount = Parameter(query, "mount");
  const auto from = repositories_.find(Parameter(query, "from"));
  if (options_.mounts && !mount.empty() && from != repositories_.end() && from->second.blobs.contains(mount)) {
    repository.blobs[mount] = from->second.blobs.at(mount);
    return {.status = 201, .headers = {"Docker-Content-Digest: " + mount}};
  }
  const std::string id = std::to_string(++last_upload_);
  uploads_[id].repository = name;
  return Session(202, id);
}

RegistryServer::Answer RegistryServer::ContinueUpload(const SeenRequest& request, Repository& repository,
                                                      const std::string& id) {
  const auto found = uploads_.find(id);
  if (found == uploads_.end())
    return {.status = 404, .body = Errors("BLOB_UPLOAD_UNKNOWN")};
  if (request.method == "DELETE") {
    uploads_.erase(found);
    return {.status = 204};
  }
  if (request.method == "GET")
    return Session(204, id);
  if (request.method == "PUT")
    return CloseUpload(request, repository, id);
  std::string& bytes = found->second.bytes;
  const std::string range = request.Header("content-range");
  if (!range.empty() && std::stoul(range) != bytes.size())
    return Session(416, id);
  bytes += request.body;
  return Session(202, id);
}

RegistryServer::Answer RegistryServer::CloseUpload(const SeenRequest& request, Repository& repository,
                                                   const std::string& id) {
  const std::string digest = Parameter(QueryOf(request.target), "digest");
  const std::string bytes = uploads_.at(id).bytes + request.body;
  if (Digest::Of(bytes).str() != digest)
    return {.status = 400, .body = Errors("DIGEST_INVALID")};
  repository.blobs[digest] = bytes;
  uploads_.erase(id);
  return {.status = 201, .headers = {"Docker-Content-Digest: " + digest}};
}

RegistryServer::Answer RegistryServer::Tags(const SeenRequest& request, const std::string& name,
                                            const Repository& repository) {
  const std::string query = QueryOf(request.target);
  const std::string last = Parameter(query, "last");
  const size_t page = std::min(options_.page, NumberOr(Parameter(query, "n"), options_.page));
  json::Array tags;
  Answer answer;
  for (auto at = repository.tags.upper_bound(last); at != repository.tags.end(); ++at) {
    if (tags.size() == page) {
      answer.headers.push_back("Link: </v2/" + name + "/tags/list?n=" + std::to_string(page) +
                               "&last=" + *tags.back().string() + ">; rel=\"next\"");
      break;
    }
    tags.emplace_back(at->first);
  }
  answer.body = json::Print(json::Object({{"name", name}, {"tags", std::move(tags)}}));
  return answer;
}

RegistryServer::Answer RegistryServer::Referrers(const SeenRequest& request, const Repository& repository,
                                                 const std::string& digest) {
  if (!options_.referrers)
    return {.status = 404, .body = Errors("NOT_FOUND")};
  const std::string wanted = Parameter(QueryOf(request.target), "artifactType");
  const std::string last = Parameter(QueryOf(request.target), "last");
  const bool filtered = !wanted.empty() && options_.filters;
  json::Array found;
  Answer answer{.headers = {"Content-Type: application/vnd.oci.image.index.v1+json"}};
  for (auto at = repository.manifests.upper_bound(last); at != repository.manifests.end(); ++at) {
    const auto& [name, stored] = *at;
    const json::Value manifest = json::Parse(stored.bytes, "manifest");
    const json::Value* subject = manifest.object()->Find("subject");
    const std::string type = TextOf(manifest, "artifactType");
    if (subject == nullptr || TextOf(*subject, "digest") != digest || (filtered && type != wanted))
      continue;
    if (found.size() == options_.page) {
      answer.headers.push_back("Link: <?last=" + TextOf(found.back(), "digest") +
                               (wanted.empty() ? "" : "&artifactType=" + wanted) + ">; rel=\"next\"");
      break;
    }
    found.emplace_back(json::Object({{"mediaType", stored.type},
                                     {"digest", name},
                                     {"size", static_cast<uint64_t>(stored.bytes.size())},
                                     {"artifactType", type}}));
  }
  if (filtered)
    answer.headers.emplace_back("OCI-Filters-Applied: artifactType");
  answer.body = json::Print(json::Object({{"schemaVersion", 2},
                                          {"mediaType", "application/vnd.oci.image.index.v1+json"},
                                          {"manifests", std::move(found)}}));
  return answer;
}

}  // namespace gantry::testing
