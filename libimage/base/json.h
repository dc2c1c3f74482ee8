// Strict JSON: one reader for every document that comes from outside, one writer for every document we make.
//
// The reader refuses (kCorrupt, with the byte offset) what other readers guess about: duplicate keys, trailing bytes,
// invalid UTF-8, numbers beyond 64 bits, depth or number of values over the bound. Typed access goes through a Cursor,
// which knows its JSON pointer, so that an error says where ("manifest: /layers/3/size: expected ..."). RFC 8259, RFC
// 6901, RFC 8785.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace gantry::json {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxStringBytes = 1024 * 1024;
constexpr size_t kMaxValues = 1'000'000;  // of one document: what a short text can cost in memory

class Value;
using Array = std::vector<Value>;
using Member = std::pair<std::string, Value>;

// Members keep the order of the document. Parse never yields two of one key.
class Object {
 public:
  Object() = default;
  Object(std::initializer_list<Member> members);

  const std::vector<Member>& members() const { return members_; }
  const Value* Find(std::string_view key) const;  // null when absent
  // Replaces the member of that key, or appends one.
  void Set(std::string key, Value value);
  // Appends; for keys that are known to be new.
  void Append(std::string key, Value value);
  void Remove(std::string_view key);
  bool empty() const;
  friend bool operator==(const Object&, const Object&);

 private:
  std::vector<Member> members_;
};

class Value {
 public:
  // `double` is for documents of others that we carry along; nothing of ours reads or writes one.
  using Data = std::variant<std::nullptr_t, bool, int64_t, uint64_t, double, std::string, Array, Object>;

  Value() = default;
  Value(std::nullptr_t) {}
  Value(bool b) : data_(b) {}
  Value(int n) : Value(static_cast<int64_t>(n)) {}
  Value(int64_t n);  // non-negative numbers are stored as uint64_t
  Value(uint64_t n) : data_(n) {}
  Value(double n) : data_(n) {}
  Value(const char* text) : data_(std::string(text)) {}
  Value(std::string text) : data_(std::move(text)) {}
  Value(std::string_view text) : data_(std::string(text)) {}
  Value(Array array) : data_(std::move(array)) {}
  Value(Object object) : data_(std::move(object)) {}
  // An array of strings, and an object of strings.
  Value(const std::vector<std::string>& texts);
  Value(const std::map<std::string, std::string>& texts);

  const Data& data() const { return data_; }
  const Object* object() const { return std::get_if<Object>(&data_); }
  Object* object() { return std::get_if<Object>(&data_); }
  const Array* array() const { return std::get_if<Array>(&data_); }
  const std::string* string() const { return std::get_if<std::string>(&data_); }
  bool is_null() const { return std::holds_alternative<std::nullptr_t>(data_); }
  friend bool operator==(const Value&, const Value&) = default;

 private:
  Data data_;
};

// `what` names the document in errors. The caller bounds the size of `text` where it reads it.
Value Parse(std::string_view text, std::string_view what, size_t max_depth = kMaxDepth);

// Compact, members in their order, non-ASCII as it is.
std::string Print(const Value& value);

// For people: two spaces a level, a final newline.
std::string PrintPretty(const Value& value);

// RFC 8785: compact, members sorted by UTF-16 code units. Doubles are refused (kFailed): nothing we canonicalise has
// one.
std::string PrintCanonical(const Value& value);

// A place in a parsed document. Borrows the Value. All accessors throw kCorrupt naming document, pointer and what was
// expected.
class Cursor {
 public:
  Cursor(const Value& value, std::string document)
      : value_(&value), document_(std::make_shared<const std::string>(std::move(document))) {}

  const Value& value() const { return *value_; }
  const std::string& pointer() const { return pointer_; }

  Cursor At(std::string_view key) const;                   // must exist
  std::optional<Cursor> Find(std::string_view key) const;  // nullopt when absent or null
  std::vector<Cursor> Elements(size_t max_count) const;
  std::vector<std::pair<std::string, Cursor>> Members(size_t max_count) const;

  const std::string& String(size_t max_bytes = kMaxStringBytes) const;
  bool Bool() const;
  uint64_t Unsigned(uint64_t max) const;
  int64_t Integer(int64_t min, int64_t max) const;
  std::vector<std::string> Strings(size_t max_count) const;              // array of strings
  std::map<std::string, std::string> StringMap(size_t max_count) const;  // object of strings

  // Fails when the object has a member that is not listed.
  void OnlyKeys(std::initializer_list<std::string_view> keys) const;

  [[noreturn]] void Fail(std::string_view problem) const;

 private:
  Cursor Child(const Value& value, std::string_view token) const;
  const Array& ArrayOf(size_t max_count) const;
  const Value* value_;
  std::shared_ptr<const std::string> document_;
  std::string pointer_;
};

}  // namespace gantry::json
