#include "serve/service.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "libimage/base/error.h"
#include "libimage/base/json.h"
#include "libimage/model/media_type.h"

namespace gantry::serve {
namespace {

constexpr const char* kAciType = "application/octet-stream";

// Too much is being made already.
struct Busy {};

int StatusOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kNotFound:
      return 404;
    case ErrorKind::kRefused:
      return 403;
    case ErrorKind::kCorrupt:
    case ErrorKind::kNetwork:
      return 502;
    case ErrorKind::kUnsupported:
      return 501;
    default:
      return 500;
  }
}

HttpAnswer Plain(int status, const std::string& text) { return {.status = status, .text = text + "\n"}; }

std::string QuotedTag(const std::string& text) { return "\"" + text + "\""; }

bool IsRegistryPath(const std::string& path) { return path == "/v2" || path.starts_with("/v2/"); }

// As the distribution protocol has errors (distribution-spec, "Error codes"); else text, message and hint.
HttpAnswer ErrorAnswer(const std::string& path, int status, const std::string& message, const std::string& hint) {
  HttpAnswer answer{.status = status, .error = message};
  if (!IsRegistryPath(path)) {
    answer.text = message + "\n" + (hint.empty() ? "" : "  " + hint + "\n");
    return answer;
  }
  const char* code = status == 403                               ? "DENIED"
                     : status == 401                             ? "UNAUTHORIZED"
                     : status == 503                             ? "TOOMANYREQUESTS"
                     : status == 501                             ? "UNSUPPORTED"
                     : status != 404                             ? "UNKNOWN"
                     : path.find("/blobs/") != std::string::npos ? "BLOB_UNKNOWN"
                                                                 : "MANIFEST_UNKNOWN";
  answer.type = "application/json";
  answer.text = json::Print(
      json::Object{{"errors", json::Array{json::Object{{"code", code}, {"message", message}, {"detail", hint}}}}});
  return answer;
}

}  // namespace

HttpAnswer FileAnswer(UniqueFd fd, std::string type, std::string etag, std::string how) {
  struct stat status {};
  if (fstat(fd.get(), &status) < 0)
    ThrowErrno("stat a file of the cache");
  return {.type = std::move(type),
          .file = std::make_shared<const UniqueFd>(std::move(fd)),
          .size = static_cast<uint64_t>(status.st_size),
          .etag = std::move(etag),
          .how = std::move(how)};
}

Service::Service(ServiceOptions options, Cache& cache, UniqueFd kitchen,
                 std::function<std::shared_ptr<Access>()> access)
    : options_(std::move(options)),
      host_(HostOf(options_.url)),
      signer_(Digest::Of(options_.public_keys).str()),
      cache_(cache),
      access_(std::move(access)) {
  orders_ = std::make_unique<Orders>(std::move(kitchen), options_.limits,
                                     [this](const std::shared_ptr<Making>& making, const Record* record,
                                            const Error* error) { End(making, record, error); });
}

HttpAnswer Service::Answer(const HttpRequest& request) {
  std::string user;
  HttpAnswer answer;
  try {
    answer = Route(request, user);
  } catch (const Error& error) {
    answer = ErrorAnswer(request.path, StatusOf(error.kind()), error.message(), error.hint());
    if (error.kind() == ErrorKind::kRefused)
      ++figures_.refused;
  } catch (const Busy&) {
    ++figures_.busy;
    answer = ErrorAnswer(request.path, 503, "too many conversions wait already", "ask again in a while");
    answer.headers.emplace_back("Retry-After", "10");
  }
  if (IsRegistryPath(request.path))
    answer.headers.emplace_back("Docker-Distribution-API-Version", "registry/2.0");
  answer.user = user;
  return answer;
}

HttpAnswer Service::Route(const HttpRequest& request, std::string& user) {
  if (request.path == "/healthz")
    return draining_ ? Plain(503, "draining") : Plain(200, "ok");
  if (request.query("ac-discovery"))
    return Discover();
  if (request.path == "/pubkeys.gpg" && !options_.public_keys.empty())
    return {.type = "application/pgp-keys", .text = options_.public_keys};
  const std::shared_ptr<Access> access = access_();
  if (!access->open()) {
    const auto who = access->WhoIs(request.header("Authorization"));
    if (!who) {
      HttpAnswer answer = ErrorAnswer(request.path, 401, "who is asking is not known", "log in");
      answer.headers.emplace_back("WWW-Authenticate", access->Challenge());
      return answer;
    }
    user = *who;
  }
  if (request.path == "/metrics")
    return AnswerFigures();
  if (const auto registry = RegistryRequest::Parse(request.path))
    return AnswerRegistry(*registry);
  if (const auto aci = AciRequest::Parse(request.path, host_, request.query("version")))
    return AnswerAci(*aci, request.streams);
  return ErrorAnswer(request.path, 404, "there is nothing by this name",
                     "gantry-serve(8) says how images are called here");
}

// appc spec, discovery.md.
HttpAnswer Service::Discover() const {
  std::string page = "<!DOCTYPE html>\n<html><head><title>gantry</title>\n";
  const auto add = [&](const char* name, const std::string& value) {
    page += "<meta name=\"" + std::string(name) + "\" content=\"" + host_ + " " + value + "\">\n";
  };
  add("ac-discovery", options_.url + "/{name}-{version}-{os}-{arch}.{ext}?version={version}");
  if (!options_.public_keys.empty())
    add("ac-discovery-pubkeys", options_.url + "/pubkeys.gpg");
  return {.type = "text/html; charset=utf-8", .text = page + "</head><body></body></html>\n"};
}

// --- What is there, and what is on its way ---

Service::Found Service::Obtain(Order order) {
  const std::string key = KeyOf(order);
  const std::lock_guard lock(mutex_);
  Found found{.entry = cache_.Find(key)};
  if (found.entry && cache_.IsFresh(*found.entry)) {
    found.how = "hit";
    ++figures_.hits;
    return found;
  }
  if (const auto there = makings_.find(key); there != makings_.end()) {
    found.making = there->second;
    found.how = "joined";
    ++figures_.joined;
    return found;
  }
  order.known = found.entry ? found.entry->record.source : "";
  found.making = orders_->Place(std::move(order));
  if (!found.making)
    throw Busy();
  makings_.emplace(key, found.making);
  found.how = found.entry ? "asked" : "made";
  return found;
}

Cache::Entry Service::Await(const std::string& key, const Found& found) {
  if (!found.making)
    return found.entry.value();
  if (found.making->WaitOver() == Making::State::kFailed) {
    // A registry that cannot be reached takes nothing away that the policy of now has allowed.
    const Error error = found.making->error();
    if (error.kind() == ErrorKind::kNetwork && found.entry && cache_.IsCurrent(*found.entry))
      return *found.entry;
    throw error;
  }
  auto entry = cache_.Find(key);
  if (!entry)
    throw Error(ErrorKind::kFailed, "it went out of the cache at once", "the cache is too small");
  return *std::move(entry);
}

void Service::End(const std::shared_ptr<Making>& making, const Record* record, const Error* error) {
  const Order& order = making->order();
  const std::string key = KeyOf(order);
  if (order.kind == Order::Kind::kClean) {
    const std::lock_guard lock(mutex_);
    cleaning_ = false;
    return;
  }
  std::optional<Error> failure;
  try {
    if (error != nullptr) {
      ++figures_.failed;
      // What is refused or gone upstream is not served from here either.
      if (error->kind() == ErrorKind::kRefused || error->kind() == ErrorKind::kNotFound)
        cache_.Remove(key);
    } else if (order.kind == Order::Kind::kSign) {
      cache_.SetSigned(order.aci_name, signer_);
    } else if (record->unchanged) {
      cache_.Touch(key);
    } else {
      figures_.made += record->source != order.known ? 1 : 0;
      cache_.Add(order, *record);
    }
  } catch (const Error& late) {
    failure = late;
  }
  std::vector<std::string> unwanted = cache_.Evict(key);
  {
    const std::lock_guard lock(mutex_);
    makings_.erase(key);
    unwanted_.insert(unwanted.begin(), unwanted.end());
    // The layers of an ACI have no name in the store.
    garbage_ = garbage_ || !unwanted_.empty() || order.kind == Order::Kind::kAci;
    Clean();
  }
  if (failure)
    throw *failure;
}

// With the mutex. One at a time.
void Service::Clean() {
  if (!garbage_ || cleaning_)
    return;
  Order order{.kind = Order::Kind::kClean, .names = {unwanted_.begin(), unwanted_.end()}};
  if (orders_->Place(std::move(order)) == nullptr)
    return;
  unwanted_.clear();
  garbage_ = false;
  cleaning_ = true;
}

bool Service::StillAllowed(const std::string& key) {
  const auto entry = cache_.Find(key);
  if (!entry)
    return false;
  if (!cache_.IsCurrent(*entry))
    Await(key, Obtain(entry->order));
  return true;
}

// --- App Container Images ---

HttpAnswer Service::AnswerAci(const AciRequest& request, bool streams) {
  const Order order{.kind = Order::Kind::kAci,
                    .name = request.repository,
                    .reference = request.version,
                    .platform = request.platform.ToString(),
                    .aci_name = request.name};
  if (request.signature && options_.public_keys.empty())
    return ErrorAnswer("", 404, "this server signs nothing", "it has no --sign-key");
  const std::string key = KeyOf(order);
  Found found = Obtain(order);
  if (request.signature)
    return AnswerSignature(key, std::move(found));
  if (found.making && streams && found.making->WaitBegun() == Making::State::kBegun)
    return {.type = kAciType, .stream = StreamOf(found.making, key), .how = found.how};
  const Cache::Entry entry = Await(key, found);
  return FileAnswer(cache_.OpenFile(key, false), kAciType, QuotedTag(entry.record.image_id), found.how);
}

std::shared_ptr<Making> Service::Sign(const std::string& key) {
  const Order order{.kind = Order::Kind::kSign, .reference = FileOf(key), .aci_name = key};
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Making>& place = makings_[KeyOf(order)];
  if (!place)
    place = orders_->Place(order);
  if (!place) {
    makings_.erase(KeyOf(order));
    throw Busy();
  }
  return place;
}

HttpAnswer Service::AnswerSignature(const std::string& key, Found found) {
  const Cache::Entry entry = Await(key, found);
  for (int tries = 0; entry.signed_by != signer_; ++tries) {
    const std::shared_ptr<Making> making = Sign(key);
    if (making->WaitOver() != Making::State::kFailed)
      break;
    const Error error = making->error();
    const bool made_elsewhere = error.kind() == ErrorKind::kNotFound || error.kind() == ErrorKind::kCorrupt;
    if (!made_elsewhere || tries > 0)
      throw error;
    // Of before a restart, or not what was made: only what the kitchen knows is signed.
    cache_.Remove(key);
    Await(key, Obtain(entry.order));
  }
  return FileAnswer(cache_.OpenFile(key, true), "application/pgp-signature", {}, found.how);
}

ByteStream Service::StreamOf(const std::shared_ptr<Making>& making, const std::string& key) const {
  struct Reader {
    std::optional<UniqueFd> file;
    BlockPool pool;
    bool over = false;
    uint64_t size = 0;
  };
  auto reader = std::make_shared<Reader>();
  const RelPath path = RelPath::Parse(std::string(kNewDir) + "/" + std::to_string(making->order().id) + ".0");
  return [this, making, key, path, reader](uint64_t offset) -> std::optional<Block> {
    while (true) {
      // What began again may begin with other bytes: who has some already gets no more.
      const bool again = making->began_again();
      if (again && !reader->over && offset > 0)
        return std::nullopt;
      if (!reader->file && !again)
        reader->file = cache_.dir().TryOpenBeneath(path, O_RDONLY);
      if (reader->file && (!again || reader->over)) {
        std::shared_ptr<std::byte[]> buffer = reader->pool.Take();
        const size_t got =
            ReadFullAt(reader->file->get(), offset, {buffer.get(), reader->pool.block_bytes()}, "what is being made");
        const std::byte* const bytes = buffer.get();
        if (got > 0)
          return Block(std::move(buffer), {bytes, got});
      }
      if (reader->over)
        return offset == reader->size ? std::optional(Block()) : std::nullopt;
      const Making::State state = making->WaitForMore();
      if (state == Making::State::kFailed)
        return std::nullopt;
      if (state != Making::State::kDone)
        continue;
      const Record record = making->record();
      reader->over = true;
      reader->size = record.size;
      if (record.file != 0 && offset > 0)
        return std::nullopt;
      if (record.file != 0 || !reader->file)
        reader->file = cache_.OpenFile(key, false);
    }
  };
}

}  // namespace gantry::serve
