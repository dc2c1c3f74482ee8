#include "libsign/statement.h"

namespace gantry::sign {
namespace {

constexpr std::string_view kType = "https://in-toto.io/Statement/v1";
constexpr std::string_view kWhat = "in-toto statement";
constexpr size_t kMaxDepth = 32;  // the predicate is open
constexpr size_t kMaxNameBytes = 4096;

std::map<std::string, std::string> ParseDigests(const json::Cursor& from) {
  std::map<std::string, std::string> digests = from.StringMap(kMaxSubjectDigests);
  for (const auto& [algorithm, hex] : digests) {
    const bool sha = algorithm.starts_with("sha") || algorithm == kIdentityDigest;
    if (sha && (hex.empty() || hex.find_first_not_of("0123456789abcdef") != std::string::npos)) {
      from.At(algorithm).Fail("expected lower-case hexadecimal digits");
    }
  }
  if (digests.empty()) {
    from.Fail("expected at least one digest");
  }
  return digests;
}

Subject ParseSubject(const json::Cursor& from) {
  from.OnlyKeys({"name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"});
  Subject subject{.digests = ParseDigests(from.At("digest"))};
  if (const auto name = from.Find("name")) {
    subject.name = name->String(kMaxNameBytes);
  }
  return subject;
}

}  // namespace

Statement Statement::Parse(std::string_view payload) {
  const json::Value document = json::Parse(payload, kWhat, kMaxDepth);
  const json::Cursor root(document, std::string(kWhat));
  root.OnlyKeys({"_type", "subject", "predicateType", "predicate"});
  if (root.At("_type").String() != kType) {
    root.At("_type").Fail("expected '" + std::string(kType) + "'");
  }
  Statement statement{{}, root.At("predicateType").String(kMaxNameBytes), json::Object{}};
  for (const json::Cursor& subject : root.At("subject").Elements(kMaxSubjects)) {
    statement.subjects.push_back(ParseSubject(subject));
  }
  if (statement.subjects.empty()) {
    root.At("subject").Fail("expected at least one subject");
  }
  if (const auto predicate = root.Find("predicate")) {
    if (predicate->value().object() == nullptr) {
      predicate->Fail("expected an object");
    }
    statement.predicate = predicate->value();
  }
  return statement;
}

std::string Statement::ToJson() const {
  json::Array list;
  for (const Subject& subject : subjects) {
    json::Object one;
    if (!subject.name.empty()) {
      one.Append("name", subject.name);
    }
    one.Append("digest", subject.digests);
    if (!subject.annotations.empty()) {
      one.Append("annotations", subject.annotations);
    }
    list.emplace_back(std::move(one));
  }
  return json::Print(
      json::Object{{"_type", kType}, {"subject", list}, {"predicateType", predicate_type}, {"predicate", predicate}});
}

}  // namespace gantry::sign
