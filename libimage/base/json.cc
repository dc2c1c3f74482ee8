#include "libimage/base/json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "libimage/base/error.h"

namespace gantry::json {

Object::Object(std::initializer_list<Member> members) : members_(members) {}

const Value* Object::Find(std::string_view key) const {
  for (const Member& member : members_) {
    if (member.first == key)
      return &member.second;
  }
  return nullptr;
}

void Object::Set(std::string key, Value value) {
  for (Member& member : members_) {
    if (member.first == key) {
      member.second = std::move(value);
      return;
    }
  }
  Append(std::move(key), std::move(value));
}

void Object::Append(std::string key, Value value) { members_.emplace_back(std::move(key), std::move(value)); }

bool Object::empty() const { return members_.empty(); }

void Object::Remove(std::string_view key) {
  std::erase_if(members_, [&](const Member& member) { return member.first == key; });
}

bool operator==(const Object& a, const Object& b) { return a.members_ == b.members_; }

Value::Value(int64_t n) {
  if (n < 0) {
    data_ = n;
  } else {
    data_ = static_cast<uint64_t>(n);
  }
}

Value::Value(const std::vector<std::string>& texts) : data_(Array(texts.begin(), texts.end())) {}

Value::Value(const std::map<std::string, std::string>& texts) {
  Object object;
  for (const auto& [key, text] : texts) object.Append(key, text);
  data_ = std::move(object);
}

namespace {

using Library = nlohmann::json;

// Builds a Value from the library's events, and stops at the first thing that the contract refuses.
class Builder : public nlohmann::json_sax<Library> {
 public:
  explicit Builder(size_t max_depth) : max_depth_(max_depth) {}

  bool null() override { return Put(nullptr); }
  bool boolean(bool b) override { return Put(b); }
  bool number_integer(number_integer_t n) override { return Put(static_cast<int64_t>(n)); }
  bool number_unsigned(number_unsigned_t n) override { return Put(static_cast<uint64_t>(n)); }
  bool number_float(number_float_t n, const string_t& text) override {
    // The library turns integers beyond 64 bits into doubles, which would change them silently.
    if (text.find_first_of(".eE") == std::string::npos)
      return Refuse("a number beyond 64 bits");
    return Put(n);
  }
  bool string(string_t& text) override {
    if (text.size() > kMaxStringBytes)
      return Refuse("a string over 1 MiB");
    return Put(std::move(text));
  }
  bool binary(binary_t&) override { return Refuse("a binary value"); }
  bool start_object(size_t) override { return Open(Object()); }
  bool start_array(size_t) override { return Open(Array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& name) override {
    if (!levels_.back().Takes(name))
      return Refuse("a second member " + Quoted(name));
    levels_.back().key = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    position_ = position;
    return Refuse("not JSON");
  }

  Value Take() { return std::move(root_); }
  const std::string& problem() const { return problem_; }
  size_t position() const { return position_; }

 private:
  struct Level {
    Value value;
    std::string key;
    std::unordered_set<std::string> seen;  // of many members

    // Whether a member of that name is the first. Few are compared one by one.
    bool Takes(const std::string& name) {
      const Object& object = *value.object();
      if (object.members().size() < kFew)
        return object.Find(name) == nullptr;
      if (seen.empty()) {
        for (const Member& member : object.members()) seen.insert(member.first);
      }
      return seen.insert(name).second;
    }
  };
  static constexpr size_t kFew = 16;

  bool Refuse(std::string problem) {
    if (problem_.empty())
      problem_ = std::move(problem);
    return false;
  }

  bool Open(Value empty) {
    if (levels_.size() >= max_depth_)
      return Refuse("more than " + std::to_string(max_depth_) + " levels");
    levels_.push_back({std::move(empty), {}, {}});
    return true;
  }

  bool Close() {
    Value done = std::move(levels_.back().value);
    levels_.pop_back();
    return Put(std::move(done));
  }

  bool Put(Value value) {
    if (++values_ > kMaxValues)
      return Refuse("more than " + std::to_string(kMaxValues) + " values");
    if (levels_.empty()) {
      root_ = std::move(value);
      return true;
    }
    Level& level = levels_.back();
    if (Object* object = level.value.object()) {
      object->Append(std::move(level.key), std::move(value));
    } else {
      std::get<Array>(const_cast<Value::Data&>(level.value.data())).push_back(std::move(value));
    }
    return true;
  }

  size_t max_depth_;
  std::vector<Level> levels_;
  Value root_;
  std::string problem_;
  size_t position_ = 0;
  size_t values_ = 0;
};

void AppendString(std::string& out, const std::string& text) {
  // Nearly every one.
  const auto plain = [](unsigned char c) { return c >= ' ' && c < 0x7F && c != '"' && c != '\\'; };
  if (std::ranges::all_of(text, plain)) {
    out.append(1, '"').append(text).append(1, '"');
    return;
  }
  // The library's escaping is that of RFC 8785: only the control bytes, the quote and the backslash.
  try {
    out += Library(text).dump();
  } catch (const Library::exception&) {
    throw Error(ErrorKind::kCorrupt, "text " + Quoted(text) + " is not UTF-8, so JSON cannot hold it");
  }
}

// Orders keys by UTF-16 code units: as bytes, but for U+E000..U+FFFF, which come after the surrogates.
bool Utf16Less(const std::string& a, const std::string& b) {
  const auto rank = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0xF0)
      return byte - 2;  // four bytes: a surrogate pair, D800 and up
    if (byte == 0xEE || byte == 0xEF)
      return byte + 5;  // U+E000 and up come after those
    return static_cast<int>(byte);
  };
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                      [&](char x, char y) { return rank(x) < rank(y); });
}

struct Style {
  bool sorted = false;
  bool pretty = false;
};

class Printer {
 public:
  explicit Printer(Style style) : style_(style) {}

  void Add(const Value& value) {
    std::visit([this](const auto& data) { AddData(data); }, value.data());
  }
  std::string Take() { return std::move(out_); }

 private:
  void AddData(std::nullptr_t) { out_ += "null"; }
  void AddData(bool b) { out_ += b ? "true" : "false"; }
  void AddData(int64_t n) { out_ += std::to_string(n); }
  void AddData(uint64_t n) { out_ += std::to_string(n); }
  void AddData(double n) {
    if (style_.sorted)
      throw Error(ErrorKind::kFailed, "a canonical document holds a floating-point number");
    out_ += Library(n).dump();
  }
  void AddData(const std::string& text) { AppendString(out_, text); }

  void AddData(const Array& array) {
    out_ += '[';
    ++depth_;
    for (size_t i = 0; i < array.size(); ++i) {
      Separate(i == 0);
      Add(array[i]);
    }
    Close(array.empty(), ']');
  }

  void AddData(const Object& object) {
    std::vector<const Member*> members;
    for (const Member& member : object.members()) members.push_back(&member);
    if (style_.sorted) {
      std::sort(members.begin(), members.end(),
                [](const Member* a, const Member* b) { return Utf16Less(a->first, b->first); });
    }
    out_ += '{';
    ++depth_;
    for (size_t i = 0; i < members.size(); ++i) {
      Separate(i == 0);
      AppendString(out_, members[i]->first);
      out_ += style_.pretty ? ": " : ":";
      Add(members[i]->second);
    }
    Close(members.empty(), '}');
  }

  void Separate(bool first) {
    if (!first)
      out_ += ',';
    NewLine();
  }

  void Close(bool empty, char bracket) {
    --depth_;
    if (!empty)
      NewLine();
    out_ += bracket;
  }

  void NewLine() {
    if (style_.pretty)
      out_ += '\n' + std::string(depth_ * 2, ' ');
  }

  Style style_;
  size_t depth_ = 0;
  std::string out_;
};

}  // namespace

Value Parse(std::string_view text, std::string_view what, size_t max_depth) {
  Builder builder(max_depth);
  if (Library::sax_parse(text.begin(), text.end(), &builder))
    return builder.Take();
  std::string where;
  if (builder.position() > 0)
    where = " at byte " + std::to_string(builder.position());
  throw Error(ErrorKind::kCorrupt, std::string(what) + ": " + builder.problem() + where);
}

std::string Print(const Value& value) {
  Printer printer(Style{});
  printer.Add(value);
  return printer.Take();
}

std::string PrintPretty(const Value& value) {
  Printer printer(Style{.pretty = true});
  printer.Add(value);
  return printer.Take() + "\n";
}

std::string PrintCanonical(const Value& value) {
  Printer printer(Style{.sorted = true});
  printer.Add(value);
  return printer.Take();
}

Cursor Cursor::Child(const Value& value, std::string_view token) const {
  Cursor child(*this);
  child.value_ = &value;
  child.pointer_ += '/';
  for (const char c : token) {
    if (c == '~') {
      child.pointer_ += "~0";
    } else if (c == '/') {
      child.pointer_ += "~1";
    } else {
      child.pointer_ += c;
    }
  }
  return child;
}

Cursor Cursor::At(std::string_view key) const {
  const Object* object = value_->object();
  if (object == nullptr)
    Fail("expected an object");
  const Value* member = object->Find(key);
  if (member == nullptr)
    Fail("member " + Quoted(key) + " is missing");
  return Child(*member, key);
}

std::optional<Cursor> Cursor::Find(std::string_view key) const {
  const Object* object = value_->object();
  if (object == nullptr)
    Fail("expected an object");
  const Value* member = object->Find(key);
  if (member == nullptr || member->is_null())
    return std::nullopt;
  return Child(*member, key);
}

const Array& Cursor::ArrayOf(size_t max_count) const {
  const Array* array = value_->array();
  if (array == nullptr)
    Fail("expected an array");
  if (array->size() > max_count)
    Fail("more than " + std::to_string(max_count) + " elements");
  return *array;
}

std::vector<Cursor> Cursor::Elements(size_t max_count) const {
  const Array& array = ArrayOf(max_count);
  std::vector<Cursor> out;
  out.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) out.push_back(Child(array[i], std::to_string(i)));
  return out;
}

std::vector<std::pair<std::string, Cursor>> Cursor::Members(size_t max_count) const {
  const Object* object = value_->object();
  if (object == nullptr)
    Fail("expected an object");
  if (object->members().size() > max_count)
    Fail("more than " + std::to_string(max_count) + " members");
  std::vector<std::pair<std::string, Cursor>> out;
  for (const Member& member : object->members()) out.emplace_back(member.first, Child(member.second, member.first));
  return out;
}

const std::string& Cursor::String(size_t max_bytes) const {
  const std::string* text = value_->string();
  if (text == nullptr)
    Fail("expected a string");
  if (text->size() > max_bytes)
    Fail("longer than " + std::to_string(max_bytes) + " bytes");
  return *text;
}

bool Cursor::Bool() const {
  const bool* b = std::get_if<bool>(&value_->data());
  if (b == nullptr)
    Fail("expected true or false");
  return *b;
}

uint64_t Cursor::Unsigned(uint64_t max) const {
  const uint64_t* n = std::get_if<uint64_t>(&value_->data());
  if (n == nullptr || *n > max)
    Fail("expected an integer from 0 to " + std::to_string(max));
  return *n;
}

int64_t Cursor::Integer(int64_t min, int64_t max) const {
  const auto fail = [&] { Fail("expected an integer from " + std::to_string(min) + " to " + std::to_string(max)); };
  int64_t n = 0;
  if (const auto* negative = std::get_if<int64_t>(&value_->data())) {
    n = *negative;
  } else if (const auto* positive = std::get_if<uint64_t>(&value_->data());
             positive != nullptr && *positive <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    n = static_cast<int64_t>(*positive);
  } else {
    fail();
  }
  if (n < min || n > max)
    fail();
  return n;
}

// Where each of them is, only an error has to say.
std::vector<std::string> Cursor::Strings(size_t max_count) const {
  const Array& array = ArrayOf(max_count);
  std::vector<std::string> out;
  out.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    const std::string* text = array[i].string();
    const bool good = text != nullptr && text->size() <= kMaxStringBytes;
    out.push_back(good ? *text : Child(array[i], std::to_string(i)).String());
  }
  return out;
}

std::map<std::string, std::string> Cursor::StringMap(size_t max_count) const {
  std::map<std::string, std::string> out;
  for (const auto& [key, member] : Members(max_count)) out.emplace(key, member.String());
  return out;
}

void Cursor::OnlyKeys(std::initializer_list<std::string_view> keys) const {
  const Object* object = value_->object();
  if (object == nullptr)
    Fail("expected an object");
  for (const Member& member : object->members()) {
    if (std::find(keys.begin(), keys.end(), member.first) == keys.end())
      Fail("unknown member " + Quoted(member.first));
  }
}

void Cursor::Fail(std::string_view problem) const {
  throw Error(ErrorKind::kCorrupt,
              *document_ + ": " + (pointer_.empty() ? "" : Quoted(pointer_) + ": ") + std::string(problem));
}

}  // namespace gantry::json
