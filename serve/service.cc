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

// How often a signature is made anew because the image changed meanwhile.
constexpr int kMaxSignings = 5;

// Too much is being made already.
struct Busy {};

// The client has left while it waited. The status is for the log alone.
struct Left {};
constexpr int kLeftStatus = 499;

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

// What leaves `step`.
std::optional<Error> CaughtOf(const std::function<void()>& step) {
  try {
    step();
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    return Error(ErrorKind::kFailed, error.what());
  }
}

Error TooSmall() { return {ErrorKind::kFailed, "it went out of the cache at once", "the cache is too small"}; }

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
                 std::function<std::shared_ptr<Access>()> access, std::function<void()> lost)
    : options_(std::move(options)),
      host_(HostOf(options_.url)),
      signer_(Digest::Of(options_.public_keys).str()),
      cache_(cache),
      access_(std::move(access)) {
  orders_ = std::make_unique<Orders>(
      std::move(kitchen), options_.limits,
      [this](const std::shared_ptr<Making>& making, const Record* record, const Error* error) {
        End(making, record, error);
      },
      std::move(lost));
  const std::vector<std::string> left = cache_.Evict({});
  const std::lock_guard lock(mutex_);
  unwanted_.insert(left.begin(), left.end());
  Clean();
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
  } catch (const Left&) {
    answer = Plain(kLeftStatus, "the client has left");
  } catch (const std::exception& error) {
    answer = ErrorAnswer(request.path, 500, error.what(), {});
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
    return AnswerRegistry(*registry, request.is_gone);
  if (const auto aci = AciRequest::Parse(request.path, host_, request.query("version")))
    return AnswerAci(*aci, request);
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
  const std::string stored_as = StoredAs(order);
  std::unique_lock lock(mutex_);
  gone_.wait(lock, [&] { return !going_.contains(stored_as); });
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
  order.known = found.entry ? found.entry->record->source : "";
  found.making = orders_->Place(std::move(order));
  if (!found.making)
    throw Busy();
  makings_.emplace(key, found.making);
  found.how = found.entry ? "asked" : "made";
  return found;
}

Cache::Entry Service::Await(const std::string& key, const Found& found, const HasLeft& has_left) {
  if (!found.making)
    return found.entry.value();
  const Wait wait = BeginWait();
  const Making::State state = found.making->WaitOver(has_left);
  if (state == Making::State::kFailed) {
    // A registry that cannot be reached takes nothing away that the policy of now has allowed.
    const Error error = found.making->error();
    if (error.kind() == ErrorKind::kNetwork && found.entry && cache_.IsCurrent(*found.entry))
      return *found.entry;
    throw error;
  }
  if (state != Making::State::kDone)
    throw Left();
  auto entry = cache_.Find(key);
  if (!entry)
    throw TooSmall();
  return *std::move(entry);
}

Service::Wait Service::BeginWait() {
  if (++waits_ > options_.waits) {
    --waits_;
    throw Busy();
  }
  return {this, [this](void*) { --waits_; }};
}

void Service::Keep(const Order& order, const Record* record, const Error* error) {
  const std::string key = KeyOf(order);
  if (error != nullptr) {
    ++figures_.failed;
    // What is refused or gone upstream is not served from here either.
    if (error->kind() == ErrorKind::kRefused || error->kind() == ErrorKind::kNotFound)
      cache_.Remove(key);
  } else if (order.kind == Order::Kind::kSign) {
    cache_.SetSigned(order.aci_name, order.known, signer_);
  } else if (record->unchanged) {
    cache_.Touch(key);
  } else {
    figures_.made += record->source != order.known ? 1 : 0;
    cache_.Add(order, *record);
  }
}

void Service::End(const std::shared_ptr<Making>& making, const Record* record, const Error* error) {
  const Order& order = making->order();
  if (order.kind == Order::Kind::kClean)
    return EndClean(error != nullptr);
  const std::string key = KeyOf(order);
  const std::optional<Error> failure = CaughtOf([&] { Keep(order, record, error); });
  const bool failed = error != nullptr || failure;
  std::vector<std::string> unwanted;
  // What cannot be removed now goes at the next end, or the next start.
  if (failed)
    static_cast<void>(CaughtOf([&] { cache_.Abandon(order, StoredAs(order)); }));
  static_cast<void>(CaughtOf([&] { unwanted = cache_.Evict(key); }));
  {
    const std::lock_guard lock(mutex_);
    makings_.erase(key);
    unwanted_.insert(unwanted.begin(), unwanted.end());
    if (!failed) {
      for (const std::string& name : record->names) unwanted_.erase(name);
    }
    // The layers of an ACI have no name in the store, nor has what was fetched of an image when that failed.
    garbage_ = garbage_ || failed || order.kind == Order::Kind::kAci;
    Clean();
  }
  if (failure)
    throw *failure;
}

void Service::EndClean(bool failed) {
  const std::lock_guard lock(mutex_);
  cleaning_ = false;
  const std::set<std::string> were = std::exchange(going_, {});
  gone_.notify_all();
  if (failed) {
    unwanted_.insert(were.begin(), were.end());
    garbage_ = true;  // for the next end of anything
  } else {
    Clean();
  }
}

// With the mutex. One at a time; the name that an image on its way will have stays, and none comes while its own goes.
void Service::Clean() {
  if (cleaning_)
    return;
  std::set<std::string> coming;
  for (const auto& [key, making] : makings_) coming.insert(StoredAs(making->order()));
  Order order{.kind = Order::Kind::kClean};
  for (const std::string& name : unwanted_) {
    if (order.names.size() < kMaxOrderNames && !coming.contains(name))
      order.names.push_back(name);
  }
  if (order.names.empty() && !garbage_)
    return;
  going_ = {order.names.begin(), order.names.end()};
  for (const std::string& name : going_) unwanted_.erase(name);
  garbage_ = false;
  cleaning_ = true;
  if (!orders_->Place(std::move(order)))
    going_.clear();  // nobody removes anything any more
}

std::string Service::StoredAs(const Order& order) const {
  const auto name =
      order.kind == Order::Kind::kImage ? options_.upstreams.Find(order.name, order.reference) : std::nullopt;
  return name ? name->WithDefaultTag().ToString() : "";
}

bool Service::StillAllowed(const std::string& key, const HasLeft& has_left) {
  const auto entry = cache_.Find(key);
  if (!entry)
    return false;
  if (!cache_.IsCurrent(*entry))
    Await(key, Obtain(entry->order), has_left);
  return true;
}

// --- App Container Images ---

HttpAnswer Service::AnswerAci(const AciRequest& request, const HttpRequest& http) {
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
    return AnswerSignature(key, found, http.is_gone);
  if (found.making && http.streams) {
    Wait wait = BeginWait();
    if (found.making->WaitBegun(http.is_gone) == Making::State::kBegun) {
      return {.type = kAciType, .stream = StreamOf(found.making, key, std::move(wait), http.is_gone), .how = found.how};
    }
  }
  const Cache::Entry entry = Await(key, found, http.is_gone);
  return FileAnswer(cache_.OpenFile(key, false), kAciType, QuotedTag(entry.record->image_id), found.how);
}

HttpAnswer Service::AnswerSignature(const std::string& key, const Found& found, const HasLeft& has_left) {
  std::optional<Cache::Entry> entry = Await(key, found, has_left);
  bool anew = false;
  for (int tries = 0; entry && entry->signed_by != signer_; ++tries) {
    if (tries == kMaxSignings)
      throw Busy();
    try {
      OrderSignature(key, *entry, has_left);
      entry = cache_.Find(key);
    } catch (const Error& error) {
      const bool made_elsewhere = error.kind() == ErrorKind::kNotFound || error.kind() == ErrorKind::kCorrupt;
      if (!made_elsewhere || std::exchange(anew, true))
        throw;
      // Of before a restart, or not what was made: only what the kitchen knows is signed.
      cache_.Remove(key);
      entry = Await(key, Obtain(entry->order), has_left);
    }
  }
  if (!entry)
    throw TooSmall();
  return FileAnswer(cache_.OpenFile(key, true), "application/pgp-signature", {}, found.how);
}

// One at a time for a file: one that was ordered for the image before ends first, and its signature goes.
void Service::OrderSignature(const std::string& key, const Cache::Entry& entry, const HasLeft& has_left) {
  const Order order{
      .kind = Order::Kind::kSign, .reference = FileOf(key), .aci_name = key, .known = entry.record->image_id};
  const Wait wait = BeginWait();
  std::shared_ptr<Making> making;
  {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Making>& place = makings_[KeyOf(order)];
    if (!place)
      place = orders_->Place(order);
    making = place;
    if (!making) {
      makings_.erase(KeyOf(order));
      throw Busy();
    }
  }
  const Making::State state = making->WaitOver(has_left);
  if (state == Making::State::kFailed)
    throw making->error();
  if (state != Making::State::kDone)
    throw Left();
}

ByteStream Service::StreamOf(const std::shared_ptr<Making>& making, const std::string& key, Wait wait,
                             HasLeft has_left) const {
  struct Reader {
    Wait wait;
    std::optional<UniqueFd> file;
    BlockPool pool;
    bool over = false;
    uint64_t size = 0;
  };
  auto reader = std::make_shared<Reader>();
  reader->wait = std::move(wait);
  const RelPath path = RelPath::Parse(std::string(kNewDir) + "/" + std::to_string(making->order().id) + ".0");
  return [this, making, key, path, reader, has_left = std::move(has_left)](uint64_t offset) -> std::optional<Block> {
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
      if (state == Making::State::kFailed || has_left())
        return std::nullopt;
      if (state != Making::State::kDone)
        continue;
      const Record record = making->record();
      reader->over = true;
      reader->wait.reset();
      reader->size = record.size;
      if (record.file != 0 && offset > 0)
        return std::nullopt;
      if (record.file != 0 || !reader->file)
        reader->file = cache_.OpenFile(key, false);
    }
  };
}

}  // namespace gantry::serve
