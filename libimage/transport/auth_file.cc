#include "libimage/transport/auth_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "libimage/base/base64.h"
#include "libimage/base/dir.h"
#include "libimage/base/error.h"
#include "libimage/base/fd.h"
#include "libimage/base/json.h"
#include "libimage/base/process.h"

namespace gantry::image {
namespace {

constexpr size_t kMaxHelperOutput = 64 * 1024;
constexpr size_t kMaxHelperName = 64;
// How helpers, and Docker's files, call its own registry.
constexpr std::string_view kDockerHubUrl = "https://index.docker.io/v1/";
// The user name by which a helper says that the password is an identity token.
constexpr std::string_view kTokenUser = "<token>";

std::optional<std::string> Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
}

// Keys as the old formats write them: a URL, of which only the host counts, and Docker Hub's other names.
std::string HostOfKey(std::string_view key) {
  bool url = false;
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (key.starts_with(scheme)) {
      key.remove_prefix(scheme.size());
      url = true;
      break;
    }
  }
  std::string host(url ? key.substr(0, key.find('/')) : key);
  return host == "index.docker.io" || host == "registry-1.docker.io" ? "docker.io" : host;
}

// "host/a/b", "host/a", "host".
std::vector<std::string> KeysFor(const DockerReference& name) {
  std::vector<std::string> keys;
  for (std::string key = name.Repository(); key.size() > name.host.size(); key.erase(key.rfind('/')))
    keys.push_back(key);
  keys.push_back(name.host);
  return keys;
}

std::optional<Credentials> CredentialsOf(const json::Cursor& entry) {
  Credentials out;
  if (const auto auth = entry.Find("auth"); auth && !auth->String().empty()) {
    const std::optional<std::string> pair = DecodeBase64(auth->String());
    const size_t colon = pair ? pair->find(':') : std::string::npos;
    if (colon == std::string::npos)
      auth->Fail("expected base64 of user:password");
    out = {.username = pair->substr(0, colon), .password = pair->substr(colon + 1)};
    // Some writers pad with NUL bytes.
    out.password.erase(out.password.find_last_not_of('\0') + 1);
  } else {
    if (const auto username = entry.Find("username"))
      out.username = username->String();
    if (const auto password = entry.Find("password"))
      out.password = password->String();
  }
  if (const auto token = entry.Find("identitytoken"))
    out.identity_token = token->String();
  return out.username.empty() ? std::nullopt : std::optional(out);
}

// A word, for it becomes the name of a program.
std::string HelperName(const json::Cursor& from) {
  const std::string& name = from.String();
  const auto good = [](char c) {
    return (isalnum(static_cast<unsigned char>(c)) != 0) || c == '-' || c == '_' || c == '.';
  };
  if (name.size() > kMaxHelperName || !std::all_of(name.begin(), name.end(), good))
    from.Fail("expected the name of a credential helper");
  return name;
}

std::string ServerOf(const std::string& host) { return host == "docker.io" ? std::string(kDockerHubUrl) : host; }

Captured RunHelper(const std::string& helper, const char* action, const std::string& input) {
  const std::string program = "docker-credential-" + helper;
  try {
    return RunCaptured({program, action}, input, kMaxHelperOutput);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound)
      throw;
    throw Error(ErrorKind::kFailed, "the credential helper " + Quoted(program) + " is not in PATH",
                "install it, or take it out of the file that names it");
  }
}

[[noreturn]] void ThrowHelperFailed(const std::string& helper, const char* action) {
  throw Error(ErrorKind::kFailed,
              "the credential helper " + Quoted("docker-credential-" + helper) + " fails to " + action,
              "run it by hand to see why");
}

std::optional<Credentials> AskHelper(const std::string& helper, const std::string& host) {
  const Captured answer = RunHelper(helper, "get", ServerOf(host));
  if (answer.status.code != 0) {
    // How helpers say that they have none; nothing else of what they say is safe to show.
    if (answer.output.find("credentials not found") != std::string::npos)
      return std::nullopt;
    ThrowHelperFailed(helper, "get");
  }
  const std::string what = "answer of 'docker-credential-" + helper + "'";
  const json::Value document = json::Parse(answer.output, what);
  const json::Cursor cursor(document, what);
  const std::string user = cursor.At("Username").String();
  const std::string secret = cursor.At("Secret").String();
  if (user == kTokenUser)
    return Credentials{.username = user, .password = {}, .identity_token = secret};
  return Credentials{.username = user, .password = secret};
}

std::optional<std::string> ReadIfThere(const std::string& path) {
  // Root's engines close /run/containers: who may not look for a file there has none.
  if (faccessat(AT_FDCWD, path.c_str(), F_OK, AT_EACCESS) < 0 && errno == EACCES)
    return std::nullopt;
  try {
    return ReadFile(path, kMaxAuthFileBytes);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound)
      throw;
    return std::nullopt;
  }
}

// Docker's oldest file holds nothing but the entries.
bool IsDockercfg(const std::string& path) { return path.ends_with("/.dockercfg"); }

std::optional<Credentials> FindInFile(const std::string& path, const std::string& text, const DockerReference& name) {
  const std::string what = Quoted(path);
  if (IsDockercfg(path))
    return FindCredentialsIn("{\"auths\":" + text + "}", name, what);
  const CredentialHelpers helpers = FindHelpersIn(text, name.host, what);
  if (!helpers.own.empty())
    return AskHelper(helpers.own, name.host);
  if (auto found = FindCredentialsIn(text, name, what))
    return found;
  return helpers.any.empty() ? std::nullopt : AskHelper(helpers.any, name.host);
}

}  // namespace

std::vector<std::string> AuthFiles() {
  if (const auto only = Environment("REGISTRY_AUTH_FILE"))
    return {*only};
  const auto home = Environment("HOME");
  std::vector<std::string> out;
  const auto runtime = Environment("XDG_RUNTIME_DIR");
  out.push_back((runtime ? *runtime + "/containers" : "/run/containers/" + std::to_string(geteuid())) + "/auth.json");
  if (const auto config = Environment("XDG_CONFIG_HOME")) {
    out.push_back(*config + "/containers/auth.json");
  } else if (home) {
    out.push_back(*home + "/.config/containers/auth.json");
  }
  if (const auto docker = Environment("DOCKER_CONFIG")) {
    out.push_back(*docker + "/config.json");
  } else if (home) {
    out.push_back(*home + "/.docker/config.json");
  }
  if (home)
    out.push_back(*home + "/.dockercfg");
  return out;
}

std::optional<Credentials> FindCredentialsIn(std::string_view json, const DockerReference& name,
                                             std::string_view what) {
  const json::Value document = json::Parse(json, what);
  const auto auths = json::Cursor(document, std::string(what)).Find("auths");
  if (!auths)
    return std::nullopt;
  const auto entries = auths->Members(kMaxAuthEntries);
  for (const std::string& wanted : KeysFor(name)) {
    for (const auto& [key, entry] : entries) {
      if (key != wanted)
        continue;
      if (auto found = CredentialsOf(entry))
        return found;
    }
  }
  for (const auto& [key, entry] : entries) {
    if (HostOfKey(key) != name.host)
      continue;
    if (auto found = CredentialsOf(entry))
      return found;
  }
  return std::nullopt;
}

CredentialHelpers FindHelpersIn(std::string_view json, const std::string& host, std::string_view what) {
  const json::Value document = json::Parse(json, what);
  const json::Cursor cursor(document, std::string(what));
  CredentialHelpers out;
  if (const auto store = cursor.Find("credsStore"))
    out.any = HelperName(*store);
  if (const auto helpers = cursor.Find("credHelpers")) {
    for (const auto& [key, helper] : helpers->Members(kMaxAuthEntries)) {
      if (HostOfKey(key) == host)
        out.own = HelperName(helper);
    }
  }
  return out;
}

std::optional<Credentials> FindCredentials(const DockerReference& name) {
  for (const std::string& path : AuthFiles()) {
    const std::optional<std::string> text = ReadIfThere(path);
    if (!text)
      continue;
    if (auto found = FindInFile(path, *text, name))
      return found;
  }
  return std::nullopt;
}

namespace {

// The file as it is, locked against other writers of ours, and its replacement.
class AuthDocument {
 public:
  explicit AuthDocument(const std::string& file)
      : file_(file),
        slash_(file.rfind('/')),
        dir_(Dir::Create(slash_ == std::string::npos ? "." : file.substr(0, slash_), 0700)) {
    while (flock(dir_.fd(), LOCK_EX) < 0) {
      if (errno != EINTR)
        ThrowErrno("lock " + Quoted(dir_.name()));
    }
    const std::optional<std::string> text = ReadIfThere(file);
    value_ = text ? json::Parse(*text, Quoted(file)) : json::Value(json::Object());
    if (value_.object() == nullptr)
      json::Cursor(value_, Quoted(file)).Fail("expected an object");
    text_ = text.value_or("{}");
  }

  const std::string& text() const { return text_; }

  json::Object Entries() const {
    const json::Value* entries = value_.object()->Find("auths");
    if (entries == nullptr || entries->is_null())
      return {};
    if (entries->object() == nullptr)
      json::Cursor(value_, Quoted(file_)).At("auths").Fail("expected an object");
    return *entries->object();
  }

  void Write(json::Object entries) {
    value_.object()->Set("auths", std::move(entries));
    dir_.WriteFileAtomically(RelPath::Parse(slash_ == std::string::npos ? file_ : file_.substr(slash_ + 1)),
                             json::PrintPretty(value_), 0600);
  }

 private:
  std::string file_;
  size_t slash_;
  Dir dir_;
  std::string text_;
  json::Value value_;
};

std::string HostOf(const std::string& key) { return key.substr(0, key.find('/')); }

}  // namespace

void StoreCredentials(const std::string& file, const std::string& key, const Credentials& credentials) {
  AuthDocument document(file);
  json::Object entries = document.Entries();
  const CredentialHelpers helpers = FindHelpersIn(document.text(), HostOf(key), Quoted(file));
  const std::string& helper = helpers.own.empty() ? helpers.any : helpers.own;
  if (helper.empty()) {
    entries.Set(key, json::Object({{"auth", EncodeBase64(credentials.username + ":" + credentials.password)}}));
  } else {
    const json::Object secret{
        {"ServerURL", ServerOf(HostOf(key))}, {"Username", credentials.username}, {"Secret", credentials.password}};
    if (RunHelper(helper, "store", json::Print(secret)).status.code != 0)
      ThrowHelperFailed(helper, "store");
    entries.Set(key, json::Object());
  }
  document.Write(std::move(entries));
}

bool RemoveCredentials(const std::string& file, const std::string& key) {
  if (!ReadIfThere(file))
    return false;
  AuthDocument document(file);
  json::Object entries = document.Entries();
  const bool known = entries.Find(key) != nullptr;
  const CredentialHelpers helpers = FindHelpersIn(document.text(), HostOf(key), Quoted(file));
  const std::string& helper = helpers.own.empty() ? helpers.any : helpers.own;
  const bool kept = !helper.empty() && AskHelper(helper, HostOf(key));
  if (kept && RunHelper(helper, "erase", ServerOf(HostOf(key))).status.code != 0)
    ThrowHelperFailed(helper, "erase");
  entries.Remove(key);
  if (known)
    document.Write(std::move(entries));
  return known || kept;
}

}  // namespace gantry::image
