// A fetch in two processes: one has the network, the other decides.
//
// Start forks the process that talks to the registry. It can write to the store and nothing else, never sees a policy,
// and first offers only documents and signatures. The caller checks those (the documents again, byte by byte), applies
// the policy, and only then asks for the layers. Whichever process dies takes the other along: the forked one is killed
// with its parent, and the parent gets an Error when the socket between them closes.
//
//   Fetcher fetcher = Fetcher::Start(plan);       // before the first thread
//   Offer offer = fetcher.Receive();              // -> policy -> VerifiedImage
//   fetcher.FetchAttachments(manifest);           // before, if the policy asks for what lies in the repository
//   fetcher.FetchBlobs();                         // all blobs of it are now in the store, under a lease
//   store->SetName(name, verified);
//   fetcher.Release();                            // the lease ends
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libimage/base/fd.h"
#include "libimage/base/message.h"
#include "libimage/base/process.h"
#include "libimage/base/progress.h"
#include "libimage/model/image.h"
#include "libimage/store/store.h"
#include "libimage/transport/found_signatures.h"
#include "libimage/transport/http.h"

namespace gantry::image {

// One place to ask for an image (registries_conf.h), and how.
struct FetchSource {
  DockerReference name;  // what the image is called there
  HttpOptions http;
};

struct FetchPlan {
  DockerReference name;
  Platform platform;
  // In place of the image for `platform`: all that the name leads to, or what these select (SelectEntries).
  std::optional<std::vector<Platform>> many = std::nullopt;
  // What refers to it comes along: signatures, attestations (FetchReferrers).
  bool referrers = false;
  std::string store_root;
  // In the order of trial, at least one. Where documents come from, blobs are asked for first; the places behind it
  // stand in for what it does not deliver. Each gets the credentials that there are for itself, and no others.
  std::vector<FetchSource> sources;
  HttpOptions http;  // for the lookasides
  // Nothing is asked for before Begin.
  bool waits = false;
  // How blobs go to the disk.
  WriteBack::Pace pace = WriteBack::Pace::kSteady;
  // Places on http(s) beside the registry, and how signature `n` of a manifest is called there.
  std::vector<std::string> lookasides;
  std::function<std::string(const std::string& lookaside, const Digest& manifest, size_t n)> signature_url;
  // Run in the forked process: the first before the first byte comes from the network, the second for the blobs.
  std::function<void()> confine;
  std::function<std::unique_ptr<Progress>()> make_progress;
};

// What the registry has; nobody vouches for it.
struct Offer {
  Fetched fetched;
  std::vector<std::string> signatures;  // as found in the lookasides
  std::vector<std::string> looked_at;   // the places, with what went wrong there

  // kUnsupported for an artifact.
  const FetchedImage& image() const;
};

// The half with the network, over the socket `channel`, until the other half is done. Returns the exit code.
int ServeFetch(const FetchPlan& plan, int channel);

class Fetcher {
 public:
  // For single-threaded callers. The store exists already.
  static Fetcher Start(FetchPlan plan);
  // That half is another program at the other end of `channel`: all that this half goes by is what the plan has of the
  // name and the platform.
  Fetcher(FetchPlan plan, UniqueFd channel, Process process)
      : plan_(std::move(plan)), channel_(std::move(channel)), process_(std::move(process)) {}

  // For a plan that waits.
  void Begin();
  // Each throws the Error of the other process, if it had one. A manifest of schema 1 becomes an image of today: its
  // layers come before anyone decides, for only they tell their diff IDs; what is made of them is put into `store`,
  // without which that is kUnsupported, under a lease. Nothing that was signed speaks for that: its digest is another.
  Offer Receive(Store* store = nullptr);
  // For a plan of many, in place of Receive: what the name leads to, whose documents are in the store by now, and the
  // signatures of any image in it.
  Descriptor ReceiveTop();
  FoundSignatures FindSignatures(const Digest& manifest);
  // Signatures out of the repository itself (attachments.h), in the form in which a store keeps them.
  FoundSignatures FetchAttachments(const Digest& manifest);
  // `begun` is called once the documents are in the store, under a lease, and the blobs begin to come; `checked`, of a
  // plan for one image, once all of them are there and were checked, and only the disk and their names are still to
  // wait for.
  void FetchBlobs(
      const std::function<void()>& begun = [] {}, const std::function<void()>& checked = [] {});
  void Release();

 private:
  std::optional<Message> TryReceive();
  std::vector<std::string> ReceiveAnswer(char kind);
  Offer ConvertSchema1(std::vector<std::string> fields, Store& store);
  FoundSignatures ReceiveFound(size_t max_count);

  FetchPlan plan_;
  UniqueFd channel_;
  Process process_;
  std::unique_ptr<Lease> lease_;  // of what was made here
};

}  // namespace gantry::image
