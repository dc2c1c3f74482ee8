#include "libimage/transport/appc_fetcher.h"

#include <utility>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/message.h"
#include "libimage/store/store.h"
#include "libimage/transport/discovery.h"

namespace gantry::image {
namespace {

constexpr char kBegin = 'b';
constexpr char kFound = 'f';    // place, signature if there is one
constexpr char kContent = 'c';  // a part of the file
constexpr char kDone = 'd';
constexpr MessageBounds kBounds{4, kMaxSignatureBytes + 1024 * 1024, "the process that fetches"};

// The half that has the network.
class Network {
 public:
  Network(const AppcPlan& plan, int channel) : plan_(plan), channel_(channel), http_(plan.http) {}

  void Run() {
    for (const std::string& name : DiscoveryNames(plan_.wanted.name)) {
      const std::optional<Page> page = GetPage(name);
      if (!page)
        continue;
      bool about_it = false;
      for (const DiscoveryTag& tag : DiscoveryPage::Parse(page->answer.body).images) {
        if (!tag.IsFor(plan_.wanted.name))
          continue;
        about_it = true;
        if (Try([&] { return Take(tag, *page); }))
          return;
      }
      if (about_it)
        break;  // those above are not asked where this one answers
    }
    if (first_error_)
      throw *first_error_;
    throw Error(ErrorKind::kNotFound, "no page says where " + Quoted(plan_.wanted.name) + " lies",
                "its host must answer https://" + plan_.wanted.name + "?ac-discovery=1 (appc meta discovery)");
  }

 private:
  struct Page {
    HttpResponse answer;
    bool secure;
  };

  // Whether `step` did it; the first error of all is kept for the end.
  bool Try(const std::function<bool()>& step) {
    try {
      return step();
    } catch (const Error& error) {
      if (begun_)
        throw;
      if (!first_error_)
        first_error_ = error;
      return false;
    }
  }

  std::optional<Page> GetPage(const std::string& name) {
    const std::string rest = name + "?ac-discovery=1";
    std::optional<Page> page;
    const auto get = [&](const std::string& scheme) {
      return Try([&] {
        const auto url = Url::Parse(scheme + rest);
        if (!url)
          throw Error(ErrorKind::kUsage, Quoted(name) + " makes no web address");
        HttpResponse answer = http_.Get({.url = *url, .max_body_bytes = kMaxDiscoveryPageBytes, .what = "discovery"});
        if (answer.ok())
          page = Page{std::move(answer), url->https()};
        return page.has_value();
      });
    };
    const auto zone = ZoneOfHost(name.substr(0, name.find('/')));
    const bool may_be_plain = zone == NetworkZone::kLoopback || plan_.http.allow_http;
    const std::optional<Error> before = first_error_;
    if (!get("https://") && may_be_plain) {
      first_error_ = before;  // that there is no TLS is none
      get("http://");
    }
    return page;
  }

  Url AddressOf(const DiscoveryTag& tag, const Page& page, std::string_view extension) const {
    const auto text = Render(tag.value, plan_.wanted, extension);
    const auto url = text ? Url::Parse(*text) : std::nullopt;
    if (!url)
      throw Error(ErrorKind::kNotFound, "the template " + Quoted(tag.value) + " makes no web address for " +
                                            Quoted(Reference(plan_.wanted).ToString()));
    if (page.secure && !url->https() && !plan_.http.allow_http)
      throw Error(ErrorKind::kNetwork, "discovery leads from https to plain http, to " + Quoted(url->Shown()));
    return *url;
  }

  // False when the file is not there.
  bool Take(const DiscoveryTag& tag, const Page& page) {
    const Url file = AddressOf(tag, page, "aci");
    HttpRequest request{.url = AddressOf(tag, page, "aci.asc"),
                        .led_by = page.answer.zone,
                        .max_body_bytes = kMaxSignatureBytes,
                        .what = "signature"};
    HttpResponse signature = http_.Get(request);
    if (!signature.ok() && signature.status != 404)
      ThrowStatus(signature, request);
    request.url = file;
    request.what = "image";
    std::vector<std::string> found{file.Shown()};
    if (signature.ok())
      found.push_back(std::move(signature.body));
    return Stream(request, std::move(found));
  }

  bool Stream(const HttpRequest& request, std::vector<std::string> found) {
    uint64_t size = 0;
    http_.Start(request, [&](std::span<const std::byte> bytes) {
      if (!std::exchange(begun_, true))
        SendMessage(channel_, {kFound, std::move(found)});
      if (bytes.size() > kMaxFetchedAciBytes - size)
        throw Error(ErrorKind::kCorrupt, "image: it is longer than an App Container Image may be");
      size += bytes.size();
      SendMessage(channel_, {kContent, {std::string(AsText(bytes))}});
    });
    const HttpClient::Finished finished = http_.WaitAny();
    if (finished.error)
      std::rethrow_exception(finished.error);
    if (!finished.response.ok())
      ThrowStatus(finished.response, request);
    if (!begun_)
      throw Error(ErrorKind::kCorrupt, "image: " + Quoted(request.url.Shown()) + " is empty");
    SendMessage(channel_, {kDone, {}});
    return true;
  }

  [[noreturn]] static void ThrowStatus(const HttpResponse& answer, const HttpRequest& request) {
    const bool absent = answer.status == 404 || answer.status == 410;
    throw Error(
        absent ? ErrorKind::kNotFound : ErrorKind::kNetwork,
        request.what + ": " + Quoted(request.url.Shown()) + " answers with status " + std::to_string(answer.status),
        absent ? "check the name, the version and the labels" : "");
  }

  const AppcPlan& plan_;
  int channel_;
  HttpClient http_;
  bool begun_ = false;  // somebody has a part of it already
  std::optional<Error> first_error_;
};

[[noreturn]] void ThrowBroken() {
  throw Error(ErrorKind::kFailed, std::string(kBounds.who) + " does not keep to its protocol");
}

}  // namespace

AppcFetcher AppcFetcher::Start(AppcPlan plan) {
  auto [channel, process] = ForkOverSocket([&plan](int theirs) {
    return ReportErrors(theirs, [&] {
      plan.confine();
      if (ReceiveMessage(theirs, kBounds))
        Network(plan, theirs).Run();
    });
  });
  return {std::move(channel), std::move(process)};
}

AppcFound AppcFetcher::Receive(Sink& into) {
  SendMessage(channel_.get(), {kBegin, {}});
  std::optional<AppcFound> found;
  uint64_t size = 0;
  while (const std::optional<Message> message = ReceiveMessage(channel_.get(), kBounds)) {
    const std::vector<std::string>& fields = message->fields;
    if (message->kind == kFound && !found && !fields.empty()) {
      found = AppcFound{fields.size() == 2 ? std::optional(fields[1]) : std::nullopt, fields[0]};
    } else if (message->kind == kContent && found && fields.size() == 1) {
      if (fields[0].size() > kMaxFetchedAciBytes - size)
        ThrowBroken();
      size += fields[0].size();
      into.Write(AsBytes(fields[0]));
    } else if (message->kind == kDone && found) {
      process_.Wait();
      return *std::move(found);
    } else {
      ThrowBroken();
    }
  }
  throw Error(ErrorKind::kFailed, "the process that fetches ended early", "nothing was kept; run it again");
}

}  // namespace gantry::image
