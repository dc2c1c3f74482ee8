// A registry inside the test that keeps to the distribution protocol (distribution-spec 1.1), until its script says
// otherwise. Content lives in memory; blobs, manifests, tags, uploads in chunks, mounts, lists with pages, referrers,
// tokens.
//
// With an upstream it is a proxy before a true registry that meets the same faults.
//
// A line of the script is "METHOD PART KIND [ARGUMENT]": the first request with that method ("*" is any) whose target
// has PART in it meets the fault, once; written several times it meets several. Kinds:
//   drop N        the connection ends after N bytes of the body, the client's if it sent one, else ours
//   lose          the work is done, the connection ends without an answer
//   stall [N]     nothing more comes, after the head and N bytes of the body if N is given
//   status S[;HEADER]...   that answer, and nothing is done
//   cut N, more, flip N    the body ends after N bytes, goes on, or has another byte at N
//   set HEADER, unset NAME one header of the true answer is another, or missing
//   redirect PREFIX        307 to the same target at PREFIX
//   refuse CODE            400 with that code of an error
//   part N        takes N bytes of a chunk only, and says so
//   forget        the upload is not known any more
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/http_server.h"

namespace gantry::testing {

class RegistryServer {
 public:
  struct Options {
    std::string user, password;  // both empty: everybody may do everything
    std::string identity_token;  // for the token server, in place of the password
    bool basic = false;          // Basic in place of tokens
    bool referrers = true;       // the API; else only tags as the fall-back has them
    bool filters = true;         // referrers by type; else all are listed
    bool versions = true;        // ETag, and If-Match is heeded
    bool mounts = true;          // else a mount begins an upload
    bool ranges = true;          // else a Range is not heeded
    size_t min_chunk = 0;        // OCI-Chunk-Min-Length
    size_t page = 1000;          // entries of a list
    int token_seconds = 300;
    std::chrono::milliseconds read_delay{0};  // before each answer to a GET
    std::string upstream = {};  // "127.0.0.1:PORT" of a true registry that has the content; faults and tokens stay ours
  };

  RegistryServer() : RegistryServer(Options()) {}
  explicit RegistryServer(Options options, const std::string& address = "127.0.0.1");
  RegistryServer(Options options, const TestCertificate& certificate);
  RegistryServer(const RegistryServer&) = delete;
  RegistryServer& operator=(const RegistryServer&) = delete;

  std::string host() const { return server_->host(); }
  std::string Url(const std::string& target) const { return server_->Url(target); }

  // Adds lines to the script; throws for what is none. Reset forgets all that is left of it.
  void Script(const std::string& lines);
  void Reset();
  bool script_is_done() const;

  // Content, past the protocol.
  void PutBlob(const std::string& repository, const std::string& digest, const std::string& bytes);
  void PutManifest(const std::string& repository, const std::string& reference, const std::string& type,
                   const std::string& bytes);
  std::optional<std::string> Blob(const std::string& repository, const std::string& digest) const;
  std::optional<std::string> Manifest(const std::string& repository, const std::string& reference) const;
  size_t open_uploads() const;

  std::vector<SeenRequest> requests() const { return server_->requests(); }
  // How many requests had that method and PART in their target.
  size_t Count(const std::string& method, const std::string& part) const;

 private:
  struct Answer {
    int status = 200;
    std::vector<std::string> headers;
    std::string body;
    bool head = false;  // the body is not sent
  };
  struct Fault {
    std::string method, part, kind, argument;
  };
  struct Stored {
    std::string type, bytes;
  };
  struct Repository {
    std::map<std::string, std::string> blobs;
    std::map<std::string, Stored> manifests;  // by digest
    std::map<std::string, std::string> tags;  // to digests
  };
  struct Upload {
    std::string repository, bytes;
  };

  void Serve(const SeenRequest& request, Exchange& out);
  std::optional<Fault> TakeFault(const SeenRequest& request);
  void Commit(const Fault& fault, const SeenRequest& request, Exchange& out);
  Answer Route(const SeenRequest& request);
  Answer Forward(const SeenRequest& request) const;
  Answer Authorized(const SeenRequest& request, const std::string& repository, const std::string& rest);
  std::optional<Answer> Refusal(const SeenRequest& request);
  Answer Token(const SeenRequest& request);
  Answer Blobs(const SeenRequest& request, Repository& repository, const std::string& digest);
  Answer Manifests(const SeenRequest& request, Repository& repository, const std::string& reference);
  Answer PutManifestAnswer(const SeenRequest& request, Repository& repository, const std::string& reference);
  Answer BeginUpload(const SeenRequest& request, const std::string& name, Repository& repository);
  Answer ContinueUpload(const SeenRequest& request, Repository& repository, const std::string& id);
  Answer CloseUpload(const SeenRequest& request, Repository& repository, const std::string& id);
  Answer Session(int status, const std::string& id);
  Answer Tags(const SeenRequest& request, const std::string& name, const Repository& repository);
  Answer Referrers(const SeenRequest& request, const Repository& repository, const std::string& digest);
  static void Deliver(const Answer& answer, Exchange& out);

  Options options_;
  mutable std::mutex mutex_;
  std::vector<Fault> script_;
  std::map<std::string, Repository> repositories_;
  std::map<std::string, Upload> uploads_;
  int last_upload_ = 0;
  int last_token_ = 0;
  std::unique_ptr<HttpServer> server_;  // last: its threads use all of the above
};

}  // namespace gantry::testing
