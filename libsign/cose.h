// CBOR (RFC 8949) as far as COSE_Sign1 (RFC 9052) needs it: definite lengths, no floats, no key twice in a map.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::sign {

constexpr size_t kMaxCborDepth = 8;
constexpr size_t kMaxCborValues = 1000;

struct CborValue {
  enum class Kind { kUnsigned, kNegative, kBytes, kText, kArray, kMap, kTag };
  Kind kind = Kind::kUnsigned;
  uint64_t number = 0;           // kNegative: -1 - number; kTag: the tag
  std::string text;              // kBytes, kText
  std::vector<CborValue> items;  // of a map: key, value, key, value; of a tag: what it is on

  // Of a map: nullptr when it has no such key.
  const CborValue* Find(const CborValue& key) const;
  static CborValue Text(std::string text);
  static CborValue Integer(int64_t number);

  friend bool operator==(const CborValue&, const CborValue&) = default;
};

// One value and nothing behind it; kCorrupt otherwise.
CborValue ParseCbor(std::string_view bytes);

// COSE_Sign1 under its tag, with the payload inside. Nothing is checked but the form.
struct CoseSign1 {
  CborValue protected_header;    // a map
  CborValue unprotected_header;  // a map
  std::string payload;
  std::string signature;
  std::string signed_bytes;  // the Sig_structure, without external data

  static CoseSign1 Parse(std::string_view bytes);
};

}  // namespace gantry::sign
