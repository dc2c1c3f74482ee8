#include "libsign/cose.h"

#include <cbor.h>

#include <optional>

#include "libimage/base/error.h"

namespace gantry::sign {
namespace {

// Tag 18. libcbor 0.8 has no tags from 6 to 20, so this one is taken off first.
constexpr char kSign1Tag = '\xD2';

[[noreturn]] void Fail(std::string_view problem) {
  throw Error(ErrorKind::kCorrupt, "COSE envelope: " + std::string(problem));
}

// The head of one value as libcbor reads it; of a collection, how many items follow.
struct Head {
  std::optional<CborValue::Kind> kind;
  uint64_t number = 0;
  std::string text;
};

template <CborValue::Kind kind, typename Number>
void OnNumber(void* head, Number number) {
  *static_cast<Head*>(head) = {kind, number, {}};
}

template <CborValue::Kind kind>
void OnString(void* head, cbor_data bytes, size_t size) {
  *static_cast<Head*>(head) = {kind, 0, std::string(reinterpret_cast<const char*>(bytes), size)};
}

// What has no function here (indefinite lengths, floats, simple values) leaves the head without a kind.
cbor_callbacks MakeCallbacks() {
  using Kind = CborValue::Kind;
  cbor_callbacks callbacks = cbor_empty_callbacks;
  callbacks.uint8 = OnNumber<Kind::kUnsigned, uint8_t>;
  callbacks.uint16 = OnNumber<Kind::kUnsigned, uint16_t>;
  callbacks.uint32 = OnNumber<Kind::kUnsigned, uint32_t>;
  callbacks.uint64 = OnNumber<Kind::kUnsigned, uint64_t>;
  callbacks.negint8 = OnNumber<Kind::kNegative, uint8_t>;
  callbacks.negint16 = OnNumber<Kind::kNegative, uint16_t>;
  callbacks.negint32 = OnNumber<Kind::kNegative, uint32_t>;
  callbacks.negint64 = OnNumber<Kind::kNegative, uint64_t>;
  callbacks.byte_string = OnString<Kind::kBytes>;
  callbacks.string = OnString<Kind::kText>;
  callbacks.array_start = OnNumber<Kind::kArray, size_t>;
  callbacks.map_start = OnNumber<Kind::kMap, size_t>;
  callbacks.tag = OnNumber<Kind::kTag, uint64_t>;
  return callbacks;
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  CborValue Read(size_t depth) {
    if (depth > kMaxCborDepth || ++values_ > kMaxCborValues) {
      Fail("too deep, or too many values");
    }
    const Head head = ReadHead();
    CborValue value{*head.kind, head.number, head.text, {}};
    uint64_t items = 0;
    if (value.kind == CborValue::Kind::kArray || value.kind == CborValue::Kind::kMap) {
      if (head.number > kMaxCborValues) {
        Fail("too many values");
      }
      items = value.kind == CborValue::Kind::kMap ? 2 * head.number : head.number;
      value.number = 0;
    } else if (value.kind == CborValue::Kind::kTag) {
      items = 1;
    }
    for (uint64_t i = 0; i < items; ++i) {
      CborValue item = Read(depth + 1);
      if (value.kind == CborValue::Kind::kMap && i % 2 == 0 && value.Find(item) != nullptr) {
        Fail("a key twice in a map");
      }
      value.items.push_back(std::move(item));
    }
    return value;
  }

  bool done() const { return rest_.empty(); }

 private:
  Head ReadHead() {
    static const cbor_callbacks kCallbacks = MakeCallbacks();
    Head head;
    const cbor_decoder_result result =
        cbor_stream_decode(reinterpret_cast<cbor_data>(rest_.data()), rest_.size(), &kCallbacks, &head);
    if (result.status != CBOR_DECODER_FINISHED || !head.kind) {
      Fail("not CBOR of definite length");
    }
    rest_.remove_prefix(result.read);
    return head;
  }

  std::string_view rest_;
  size_t values_ = 0;
};

// The head of a string or an array (RFC 8949, 3), in its shortest form.
std::string HeadOf(unsigned major, uint64_t size) {
  const auto first = [&](unsigned info) { return std::string(1, static_cast<char>(major << 5 | info)); };
  std::string bytes;
  const unsigned width = size < 24 ? 0 : size < 0x100 ? 1 : size < 0x10000 ? 2 : 4;
  for (unsigned i = 0; i < width; ++i) {
    bytes.insert(bytes.begin(), static_cast<char>(size >> (8 * i) & 0xff));
  }
  return width == 0 ? first(static_cast<unsigned>(size)) : first(width == 1 ? 24 : width == 2 ? 25 : 26) + bytes;
}

// RFC 9052, 4.4: what the signature is over.
std::string SigStructure(const std::string& protected_header, const std::string& payload) {
  constexpr unsigned kByteString = 2;
  constexpr unsigned kTextString = 3;
  constexpr unsigned kArrayOf = 4;
  constexpr std::string_view kContext = "Signature1";
  return HeadOf(kArrayOf, 4) + HeadOf(kTextString, kContext.size()) + std::string(kContext) +
         HeadOf(kByteString, protected_header.size()) + protected_header + HeadOf(kByteString, 0) +
         HeadOf(kByteString, payload.size()) + payload;
}

}  // namespace

const CborValue* CborValue::Find(const CborValue& key) const {
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i] == key) {
      return &items[i + 1];
    }
  }
  // A key whose value is still to be read counts, too.
  return items.size() % 2 == 1 && items.back() == key ? &items.back() : nullptr;
}

CborValue CborValue::Text(std::string text) { return {Kind::kText, 0, std::move(text), {}}; }

CborValue CborValue::Integer(int64_t number) {
  return number < 0 ? CborValue{Kind::kNegative, static_cast<uint64_t>(-1 - number), {}, {}}
                    : CborValue{Kind::kUnsigned, static_cast<uint64_t>(number), {}, {}};
}

CborValue ParseCbor(std::string_view bytes) {
  Reader reader(bytes);
  CborValue value = reader.Read(1);
  if (!reader.done()) {
    Fail("bytes behind its end");
  }
  return value;
}

CoseSign1 CoseSign1::Parse(std::string_view bytes) {
  using Kind = CborValue::Kind;
  if (!bytes.starts_with(kSign1Tag)) {
    Fail("not a tagged COSE_Sign1");
  }
  const CborValue envelope = ParseCbor(bytes.substr(1));
  const std::vector<CborValue>& parts = envelope.items;
  if (envelope.kind != Kind::kArray || parts.size() != 4 || parts[0].kind != Kind::kBytes ||
      parts[1].kind != Kind::kMap || parts[2].kind != Kind::kBytes || parts[3].kind != Kind::kBytes) {
    Fail("not the four parts of a COSE_Sign1");
  }
  CoseSign1 parsed{ParseCbor(parts[0].text), parts[1], parts[2].text, parts[3].text,
                   SigStructure(parts[0].text, parts[2].text)};
  if (parsed.protected_header.kind != Kind::kMap) {
    Fail("the protected header is not a map");
  }
  return parsed;
}

}  // namespace gantry::sign
