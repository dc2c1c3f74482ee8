#include "libimage/layer/archive.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "libimage/base/error.h"
#include "libimage/base/process.h"
#include "libimage/layer/compression.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::TarBuilder;
using gantry::testing::TempDir;
using std::string_literals::operator""s;

struct ReadEntry {
  Entry entry;
  std::string content;  // with holes as zeros
  size_t pieces = 0;
};

std::vector<ReadEntry> ReadAllOf(std::unique_ptr<Source> from) {
  std::vector<ReadEntry> all;
  ArchiveReader reader(std::move(from), "layer 1");
  Entry entry;
  while (reader.Next(entry)) {
    ReadEntry read{entry, std::string(entry.size, '\0'), 0};
    uint64_t offset = 0;
    std::span<const std::byte> bytes;
    while (reader.ReadPiece(offset, bytes)) {
      read.content.replace(offset, bytes.size(), AsText(bytes));
      ++read.pieces;
    }
    all.push_back(std::move(read));
  }
  EXPECT_FALSE(reader.Next(entry));
  return all;
}

std::vector<ReadEntry> ReadAllOf(std::string tar) { return ReadAllOf(StringSource(std::move(tar))); }

Entry ReadOne(std::string tar) {
  const std::vector<ReadEntry> all = ReadAllOf(std::move(tar));
  EXPECT_EQ(all.size(), 1u);
  return all.empty() ? Entry{} : all[0].entry;
}

Error ReadError(std::string tar) {
  return CaughtError([&] { ReadAllOf(std::move(tar)); });
}

// Blocks of at most `piece` bytes.
class PiecewiseSource : public Source {
 public:
  PiecewiseSource(std::string text, size_t piece) : text_(std::move(text)), piece_(piece) {}
  Block Next() override {
    Block block(nullptr, AsBytes(text_).subspan(at_, std::min(piece_, text_.size() - at_)));
    at_ += block.size();
    return block;
  }

 private:
  std::string text_;
  size_t piece_;
  size_t at_ = 0;
};

std::string OutputOf(const std::vector<std::string>& argv, std::string_view input = {}) {
  const Captured captured = RunCaptured(argv, input, size_t{1} << 28);
  EXPECT_EQ(captured.status.code, 0) << argv[0] << " " << argv[1];
  return captured.output;
}

std::string Written(const std::vector<std::pair<Entry, std::string>>& entries) {
  std::string out;
  const auto sink = StringSink(out);
  ArchiveWriter writer(*sink);
  for (const auto& [entry, content] : entries) {
    writer.Add(entry);
    writer.Write(AsBytes(content));
  }
  writer.Finish();
  return out;
}

// A name of `size` bytes of which no component is longer than 50.
std::string LongName(size_t size) {
  std::string name;
  while (name.size() < size) name += name.size() % 51 == 50 ? '/' : static_cast<char>('a' + name.size() % 26);
  if (name.ends_with('/'))
    name.back() = 'x';
  return name;
}

TEST(ArchiveReaderTest, NothingIsAnArchiveWithoutEntries) {
  EXPECT_TRUE(ReadAllOf("").empty());
  EXPECT_TRUE(ReadAllOf(std::string(512, '\0')).empty());
  EXPECT_TRUE(ReadAllOf(std::string(10240, '\0')).empty());
}

// As umoci insert ends its layers, and as Go's reader takes them.
TEST(ArchiveReaderTest, LastFileNeedsItsContentAndNoPaddingAfterIt) {
  const std::string content(700, 'x');
  const std::string tar = TarBuilder().File("a", "first").File("b", content).bytes();
  const size_t end = tar.size() - (1024 - content.size());
  for (size_t size = end; size <= tar.size(); ++size) {
    const auto all = ReadAllOf(tar.substr(0, size));
    ASSERT_EQ(all.size(), 2u) << size;
    EXPECT_EQ(all[1].content, content) << size;
    ArchiveReader names(std::make_unique<PiecewiseSource>(tar.substr(0, size), 1), "the archive");
    Entry entry;
    EXPECT_TRUE(names.Next(entry) && names.Next(entry));
    EXPECT_FALSE(names.Next(entry)) << size;
  }
  for (size_t size = end - content.size() - 512 + 1; size < end; ++size) {
    EXPECT_EQ(ReadError(tar.substr(0, size)).kind(), ErrorKind::kCorrupt) << size;
    ArchiveReader names(StringSource(tar.substr(0, size)), "the archive");
    EXPECT_EQ(CaughtError([&] {
                for (Entry entry; names.Next(entry);) {
                }
              }).kind(),
              ErrorKind::kCorrupt)
        << size;
  }
}

TEST(ArchiveReaderTest, RefusesWhatIsNotTar) {
  EXPECT_EQ(ReadError(std::string(2000, 'x')).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(ReadError("short").kind(), ErrorKind::kCorrupt);
}

TEST(ArchiveReaderTest, ReadsEveryTypeWithItsAttributes) {
  TarBuilder tar;
  tar.File("file", "content", 04755, 1000, 1001).Dir("dir", 01777).Symlink("link", "/target").HardLink("hard", "file");
  tar.CharDevice("char", 5, 1).Fifo("fifo");
  tar.Entry({.name = "block", .type = '4', .major = 8, .minor = 300});
  const auto all = ReadAllOf(tar.Build());
  ASSERT_EQ(all.size(), 7u);
  const Entry file{.name = "file", .mode = 04755, .uid = 1000, .gid = 1001, .size = 7, .mtime = {1'000'000'000, 0}};
  EXPECT_EQ(all[0].entry, file);
  EXPECT_EQ(all[0].content, "content");
  EXPECT_EQ(all[1].entry.type, EntryType::kDirectory);
  EXPECT_EQ(all[1].entry.name, "dir/");
  EXPECT_EQ(all[1].entry.mode, 01777u);
  EXPECT_EQ(all[2].entry.type, EntryType::kSymlink);
  EXPECT_EQ(all[2].entry.link, "/target");
  EXPECT_EQ(all[3].entry.type, EntryType::kHardLink);
  EXPECT_EQ(all[3].entry.link, "file");
  EXPECT_EQ(all[4].entry.type, EntryType::kCharDevice);
  EXPECT_EQ(all[4].entry.device_major, 5u);
  EXPECT_EQ(all[4].entry.device_minor, 1u);
  EXPECT_EQ(all[5].entry.type, EntryType::kFifo);
  EXPECT_EQ(all[6].entry.type, EntryType::kBlockDevice);
  EXPECT_EQ(all[6].entry.device_minor, 300u);
}

TEST(ArchiveReaderTest, BlocksMayEndAnywhere) {
  TarBuilder tar;
  tar.File("a", std::string(2000, 'a')).Pax({{"path", LongName(300)}}).File("b", std::string(700, 'b')).Dir("c");
  for (const size_t piece : {1, 100, 511, 512, 513, 4096}) {
    const auto all = ReadAllOf(std::make_unique<PiecewiseSource>(tar.Build(), piece));
    ASSERT_EQ(all.size(), 3u) << piece;
    EXPECT_EQ(all[0].content, std::string(2000, 'a'));
    EXPECT_EQ(all[1].entry.name, LongName(300));
    EXPECT_EQ(all[1].content, std::string(700, 'b'));
  }
}

TEST(ArchiveReaderTest, ContentThatIsNotReadIsSkipped) {
  TarBuilder tar;
  tar.File("a", std::string(100'000, 'a')).File("b", "b");
  ArchiveReader reader(StringSource(tar.Build()), "layer 1");
  Entry entry;
  ASSERT_TRUE(reader.Next(entry));
  ASSERT_TRUE(reader.Next(entry));
  EXPECT_EQ(entry.name, "b");
  EXPECT_FALSE(reader.Next(entry));
}

TEST(ArchiveReaderTest, NamesAreRawBytesWhateverTheDialect) {
  // Not UTF-8; UTF-8 in decomposed form, which libarchive composes when left alone; a surrogate pair in CESU-8.
  for (const std::string& name :
       {"caf\xE9"s, "cafe\xCC\x81"s, "caf\xC3\xA9"s, "\xED\xA0\x80\xED\xB0\x80"s, "a\nb\x01"s}) {
    TarBuilder ustar, pax, binary, gnu;
    EXPECT_EQ(ReadOne(ustar.File(name, "").Build()).name, name);
    EXPECT_EQ(ReadOne(pax.Pax({{"path", name}}).File("short", "").Build()).name, name);
    EXPECT_EQ(ReadOne(binary.Pax({{"hdrcharset", "BINARY"}, {"path", name}}).File("short", "").Build()).name, name);
    EXPECT_EQ(
        ReadOne(gnu.Entry({.name = "././@LongLink", .type = 'L', .size = name.size()}, name).File("short", "").Build())
            .name,
        name);
    TarBuilder links;
    EXPECT_EQ(ReadOne(links.Pax({{"linkpath", name}}).Symlink("short", "x").Build()).link, name);
    TarBuilder hard;
    EXPECT_EQ(ReadOne(hard.Pax({{"linkpath", name}}).HardLink("short", "x").Build()).link, name);
  }
}

TEST(ArchiveReaderTest, NamesOverTheBoundAreCorrupt) {
  TarBuilder good, bad, link;
  const std::string over(kMaxEntryNameBytes + 1, 'n');
  EXPECT_EQ(ReadOne(good.Pax({{"path", std::string(kMaxEntryNameBytes, 'n')}}).File("x", "").Build()).name.size(),
            kMaxEntryNameBytes);
  EXPECT_EQ(ReadError(bad.Pax({{"path", over}}).File("x", "").Build()).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(ReadError(link.Pax({{"linkpath", over}}).Symlink("x", "y").Build()).kind(), ErrorKind::kCorrupt);
}

TEST(ArchiveReaderTest, ExtendedAttributesAreSortedBytesInEitherDialect) {
  TarBuilder tar;
  tar.Pax({{"SCHILY.xattr.user.b", "\0\xFF=\n"s},
           {"LIBARCHIVE.xattr.user.a", "Ym90aA"},
           {"SCHILY.xattr.user.a", "both"},
           {"LIBARCHIVE.xattr.user.only%20here", "eA"}});
  tar.File("x", "");
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"user.a", "both"}, {"user.b", "\0\xFF=\n"s}, {"user.only here", "x"}};
  EXPECT_EQ(ReadOne(tar.Build()).xattrs, expected);
}

// Go's readers see the first alone, bsdtar the one that comes last.
TEST(ArchiveReaderTest, TwoValuesOfOneExtendedAttributeAreCorrupt) {
  const std::pair<std::string, std::string> one{"SCHILY.xattr.user.a", "one"}, two{"LIBARCHIVE.xattr.user.a", "dHdv"};
  EXPECT_EQ(ReadError(TarBuilder().Pax({one, two}).File("x", "").Build()).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(ReadError(TarBuilder().Pax({two, one}).File("x", "").Build()).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(ReadError(TarBuilder().Pax({one, {one.first, ""}}).File("x", "").Build()).kind(), ErrorKind::kCorrupt);
}

TEST(ArchiveReaderTest, TooManyOrTooLongExtendedAttributesAreCorrupt) {
  const auto with = [](size_t count, size_t name, size_t value) {
    std::vector<std::pair<std::string, std::string>> records;
    for (size_t i = 0; i < count; ++i)
      records.emplace_back("SCHILY.xattr.user." + std::string(name, 'n') + std::to_string(i), std::string(value, 'v'));
    TarBuilder tar;
    return tar.Pax(records).File("x", "").Build();
  };
  EXPECT_EQ(ReadOne(with(256, 10, 10)).xattrs.size(), 256u);
  EXPECT_EQ(ReadOne(with(1, 10, 65536)).xattrs.size(), 1u);
  EXPECT_EQ(ReadError(with(257, 10, 10)).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(ReadError(with(1, 10, 65537)).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(ReadError(with(1, 251, 1)).kind(), ErrorKind::kCorrupt);
}

// The locale of a thread, and what it was before.
class InLocale {
 public:
  explicit InLocale(const char* name) : locale_(newlocale(LC_ALL_MASK, name, nullptr)), before_(uselocale(locale_)) {}
  InLocale(const InLocale&) = delete;
  InLocale& operator=(const InLocale&) = delete;
  ~InLocale() {
    uselocale(before_);
    if (locale_ != nullptr)
      freelocale(locale_);
  }

  bool exists() const { return locale_ != nullptr; }
  bool IsStill() const { return uselocale(nullptr) == locale_; }

 private:
  locale_t locale_;
  locale_t before_;
};

// In a locale of UTF-8 libarchive alone would compose what is decomposed, so that two paths became one. Whoever reads
// has his own locale again afterwards.
TEST(ArchiveReaderTest, NamesAreTheirBytesInAnyLocale) {
  const std::string decomposed = "e\xCC\x81", composed = "\xC3\xA9", hangul = "\xE1\x84\x80\xE1\x85\xA1";
  for (const char* name : {"C", "POSIX", "C.UTF-8"}) {
    const InLocale locale(name);
    ASSERT_TRUE(locale.exists()) << name;
    for (const std::string& path : {decomposed, composed, hangul, "a\xFF"s, "\xED\xA0\x80"s}) {
      TarBuilder pax, links, hard, gnu;
      EXPECT_EQ(ReadOne(pax.Pax({{"path", path}}).File("short", "").Build()).name, path) << name;
      EXPECT_EQ(ReadOne(links.Pax({{"linkpath", path}}).Symlink("short", "x").Build()).link, path) << name;
      EXPECT_EQ(ReadOne(hard.Pax({{"linkpath", path}}).HardLink("short", "x").Build()).link, path) << name;
      EXPECT_EQ(ReadOne(gnu.File(path, "").Build()).name, path) << name;
      EXPECT_TRUE(locale.IsStill()) << name;
    }
  }
}

TEST(ArchiveReaderTest, PaxValuesOverrideTheHeader) {
  TarBuilder tar;
  tar.Pax({{"uid", "3000000"}, {"gid", "4000000000"}, {"mtime", "1234567890.987654321"}, {"size", "3"}});
  tar.Entry({.name = "x", .size = 0}, "abc");
  const auto all = ReadAllOf(tar.Build());
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].entry.uid, 3'000'000u);
  EXPECT_EQ(all[0].entry.gid, 4'000'000'000u);
  EXPECT_EQ(all[0].entry.mtime, (Time{1'234'567'890, 987'654'321}));
  EXPECT_EQ(all[0].content, "abc");
}

TEST(ArchiveReaderTest, GlobalPaxHeadersDoNotDisturb) {
  TarBuilder tar;
  tar.Pax({{"comment", "0123456789abcdef"}, {"unheard.of", "1"}}, 'g').File("a", "a").Pax({{"comment", "x"}}, 'g');
  tar.File("b", "b");
  const auto all = ReadAllOf(tar.Build());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].entry.name, "a");
  EXPECT_EQ(all[1].entry.name, "b");
}

TEST(ArchiveReaderTest, MalformedPaxHeadersAreCorrupt) {
  for (const std::string& record : {"99999 path=x\n"s, "x path=y\n"s, "5 path\n"s}) {
    TarBuilder tar;
    tar.Entry({.name = "pax", .type = 'x', .size = record.size()}, record).File("x", "");
    EXPECT_EQ(ReadError(tar.Build()).kind(), ErrorKind::kCorrupt) << record;
  }
}

TEST(ArchiveReaderTest, ABadChecksumIsCorrupt) {
  std::string tar = TarBuilder().File("a", "a").File("b", "b").Build();
  tar[1024] = 'c';
  const Error error = ReadError(tar);
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_NE(error.message().find("entry 2"), std::string::npos) << error.message();
}

TEST(ArchiveReaderTest, ContentThatEndsEarlyIsCorruptWhereverItEnds) {
  const std::string tar = TarBuilder().Pax({{"path", "a"}}).File("x", std::string(1000, 'a')).bytes();
  for (size_t size = 1; size < tar.size(); ++size) {
    if (size == 1024 + 512 + 1000)
      break;  // only padding is missing from here
    const Error error = ReadError(tar.substr(0, size));
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << size;
  }
}

TEST(ArchiveReaderTest, SizesBeyondAnyBlobAreCorrupt) {
  for (const std::string& size : {"1099511627777"s, "9223372036854775807"s, "99999999999999999999999"s, "-1"s}) {
    EXPECT_EQ(ReadError(TarBuilder().Pax({{"size", size}}).File("x", "").Build()).kind(), ErrorKind::kCorrupt) << size;
  }
}

TEST(ArchiveReaderTest, DataOfLinksAndDirectoriesIsSkipped) {
  for (const char type : {'2', '3', '4', '5', '6'}) {
    TarBuilder tar;
    tar.Entry({.name = "odd", .type = type, .size = 600, .link = "x"}).File("next", "next");
    const auto all = ReadAllOf(tar.Build());
    ASSERT_EQ(all.size(), 2u) << type;
    EXPECT_EQ(all[0].entry.size, 0u);
    EXPECT_EQ(all[1].content, "next");
  }
}

TEST(ArchiveReaderTest, HardLinksHaveNoContentWhateverTheirSize) {
  // Old writers gave them the size of the file and no data; pax allows data.
  TarBuilder old, pax;
  old.Entry({.name = "odd", .type = '1', .size = 600, .link = "x"}).File("next", "next");
  pax.Pax({{"comment", "x"}}).Entry({.name = "odd", .type = '1', .size = 600, .link = "x"}, std::string(600, 'd'));
  pax.File("next", "next");
  for (const TarBuilder* tar : {&old, &pax}) {
    const auto all = ReadAllOf(tar->Build());
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].entry.type, EntryType::kHardLink);
    EXPECT_EQ(all[0].entry.size, 0u);
    EXPECT_EQ(all[1].content, "next");
  }
}

TEST(ArchiveReaderTest, AbsurdTimesAreMovedToTheBound) {
  EXPECT_EQ(ReadOne(TarBuilder().Pax({{"mtime", "9223372036854775807"}}).File("x", "").Build()).mtime.seconds,
            kMaxTimeSeconds);
  EXPECT_EQ(ReadOne(TarBuilder().Pax({{"mtime", "-5"}}).File("x", "").Build()).mtime.seconds, -5);
}

TEST(ArchiveReaderTest, OwnersOver32BitsAreCorrupt) {
  EXPECT_EQ(ReadOne(TarBuilder().Pax({{"uid", "4294967294"}}).File("x", "").Build()).uid, 4'294'967'294u);
  for (const std::string& id : {"4294967295"s, "99999999999"s, "-2"s}) {
    EXPECT_EQ(ReadError(TarBuilder().Pax({{"uid", id}}).File("x", "").Build()).kind(), ErrorKind::kCorrupt) << id;
    EXPECT_EQ(ReadError(TarBuilder().Pax({{"gid", id}}).File("x", "").Build()).kind(), ErrorKind::kCorrupt) << id;
  }
}

TEST(ArchiveReaderTest, EndlessSparseMapsAreCorrupt) {
  // GNU sparse 1.0: the map is at the head of the data, as long as it says (compare CVE-2025-58183).
  std::string map = "50000000\n";
  while (map.size() < 12'000'000) map += "0\n0\n";
  TarBuilder tar;
  tar.Pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "1"}});
  tar.Entry({.name = "x", .size = map.size()}, map);
  const Error error = CaughtError([&] { ReadAllOf(std::make_unique<PiecewiseSource>(tar.Build(), kBlockBytes)); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_NE(error.message().find("headers"), std::string::npos) << error.message();
}

TEST(ArchiveReaderTest, SparseMapsOutOfOrderOrBeyondTheSizeAreCorrupt) {
  for (const std::string& map : {"8,4,0,4"s, "0,8,4,4"s, "0,4,100,4"s}) {
    TarBuilder tar;
    tar.Pax({{"GNU.sparse.size", "20"}, {"GNU.sparse.numblocks", "2"}, {"GNU.sparse.map", map}});
    tar.Entry({.name = "x", .size = 12}, "abcdefghijkl");
    EXPECT_EQ(ReadError(tar.Build()).kind(), ErrorKind::kCorrupt) << map;
  }
}

TEST(ArchiveReaderTest, ManySpecialHeadersInARowAreCorrupt) {
  TarBuilder tar;
  for (int i = 0; i < 1000; ++i) tar.Pax({{"comment", "x"}});
  EXPECT_EQ(ReadError(tar.File("x", "").Build()).kind(), ErrorKind::kCorrupt);
}

TEST(ArchiveReaderTest, ReadsTheSourceToItsEnd) {
  size_t seen = 0;
  const std::string tar = TarBuilder().File("a", "a").Build() + std::string(700'000, 'z');
  ArchiveReader reader(Tap(std::make_unique<PiecewiseSource>(tar, 5000), [&](auto bytes) { seen += bytes.size(); }),
                       "layer 1");
  Entry entry;
  while (reader.Next(entry)) {
  }
  EXPECT_EQ(seen, tar.size());
}

TEST(ArchiveReaderTest, TheSourcesOwnErrorPassesThroughWhereverItComes) {
  class Failing : public Source {
   public:
    Failing(std::string text, size_t until) : inner_(std::move(text), 512), left_(until) {}
    Block Next() override {
      if (left_ < 512)
        throw Error(ErrorKind::kNetwork, "connection reset");
      left_ -= 512;
      return inner_.Next();
    }

   private:
    PiecewiseSource inner_;
    size_t left_;
  };
  const std::string tar = TarBuilder().File("a", std::string(3000, 'a')).Pax({{"path", "b"}}).File("x", "b").Build();
  for (size_t until = 0; until <= tar.size(); until += 512) {
    const Error error = CaughtError([&] { ReadAllOf(std::make_unique<Failing>(tar, until)); });
    EXPECT_EQ(error.message(), "connection reset") << until;
  }
}

// Archives of one tree, made by other programs.
class DialectTest : public ::testing::Test {
 protected:
  DialectTest() {
    const Dir dir = temp_.dir();
    dir.MakeDirs(RelPath::Parse("tree/sub"));
    dir.WriteFileAtomically(RelPath::Parse("tree/file"), "content", 04711);
    const std::string tree = temp_.path() + "/tree";
    EXPECT_EQ(chmod((tree + "/file").c_str(), 04711), 0);
    EXPECT_EQ(symlink("file", (tree + "/soft").c_str()), 0);
    EXPECT_EQ(link((tree + "/file").c_str(), (tree + "/sub/hard").c_str()), 0);
    const UniqueFd sparse = OpenFile(tree + "/sparse", O_CREAT | O_WRONLY);
    EXPECT_EQ(pwrite(sparse.get(), "begin", 5, 0), 5);
    for (off_t at = 1; at < 40; ++at) EXPECT_EQ(pwrite(sparse.get(), "middle", 6, at * 100'000), 6);
    EXPECT_EQ(ftruncate(sparse.get(), 5'000'000), 0);
  }

  void ExpectTree(const std::vector<ReadEntry>& all, const std::string& how) {
    size_t found = 0;
    for (const ReadEntry& read : all) {
      if (read.entry.name == "tree/sparse") {
        std::string expected(5'000'000, '\0');
        expected.replace(0, 5, "begin");
        for (size_t at = 1; at < 40; ++at) expected.replace(at * 100'000, 6, "middle");
        EXPECT_EQ(read.entry.size, 5'000'000u) << how;
        EXPECT_TRUE(read.content == expected) << how;
        ++found;
      } else if (read.entry.name == "tree/soft") {
        EXPECT_EQ(read.entry.link, "file") << how;
        ++found;
      } else if (read.entry.name == "tree/file" || read.entry.name == "tree/sub/hard") {
        const bool linked = read.entry.type == EntryType::kHardLink;
        EXPECT_EQ(read.content, linked ? "" : "content") << how;
        EXPECT_EQ(read.entry.mode, 04711u) << how;
        ++found;
      } else if (read.entry.type == EntryType::kDirectory) {
        ++found;
      }
    }
    EXPECT_EQ(found, 6u) << how;
  }

  TempDir temp_;
};

TEST_F(DialectTest, ReadsWhatGnuTarWrites) {
  for (const std::string& format : std::vector<std::string>{"v7", "ustar", "oldgnu", "gnu", "posix"}) {
    ExpectTree(ReadAllOf(OutputOf({"tar", "-C", temp_.path(), "--format=" + format, "-cf", "-", "tree"})), format);
  }
}

TEST_F(DialectTest, ReadsEverySparseFormatWithItsHoles) {
  const auto sparse_pieces = [](const std::vector<ReadEntry>& all) {
    for (const ReadEntry& read : all) {
      if (read.entry.name == "tree/sparse")
        return read.pieces;
    }
    return size_t{0};
  };
  for (const std::string& version : std::vector<std::string>{"", "0.0", "0.1", "1.0"}) {
    const std::string how = version.empty() ? "--format=gnu" : "--sparse-version=" + version;
    const std::string format = version.empty() ? "--format=gnu" : "--format=posix";
    const auto all = ReadAllOf(OutputOf({"tar", "-C", temp_.path(), "-S", format, how, "-cf", "-", "tree"}));
    ExpectTree(all, how);
    EXPECT_GE(sparse_pieces(all), 40u) << how;
  }
}

TEST_F(DialectTest, ReadsWhatBsdtarWrites) {
  if (access("/usr/bin/bsdtar", X_OK) != 0)
    GTEST_SKIP() << "bsdtar is not installed";
  for (const std::string& format : std::vector<std::string>{"v7", "ustar", "gnutar", "pax", "paxr"}) {
    ExpectTree(ReadAllOf(OutputOf({"bsdtar", "-C", temp_.path(), "--format=" + format, "-cf", "-", "tree"})), format);
  }
}

class ArchiveWriterTest : public ::testing::Test {
 protected:
  // One of everything; every value that ustar cannot hold is among them.
  static std::vector<std::pair<Entry, std::string>> Everything() {
    return {
        {{.name = "dir/", .type = EntryType::kDirectory, .mode = 01777, .mtime = {1, 0}}, ""},
        {{.name = "dir/file", .mode = 04755, .uid = 7, .gid = 8, .size = 7, .mtime = {1'700'000'000, 0}}, "content"},
        {{.name = "nano", .mode = 0644, .mtime = {1'700'000'000, 120'000'000}}, ""},
        {{.name = "ids", .mode = 0644, .uid = 2'097'152, .gid = 4'000'000'000, .mtime = {1, 0}}, ""},
        {{.name = "late", .mode = 0600, .mtime = {int64_t{1} << 34, 0}}, ""},
        {{.name = "early", .mode = 0600, .mtime = {-86'400, 0}}, ""},
        {{.name = LongName(100), .mode = 0644, .size = 1}, "a"},
        {{.name = LongName(101), .mode = 0644, .size = 1}, "b"},
        {{.name = LongName(240), .mode = 0644, .size = 1}, "c"},
        {{.name = LongName(300), .mode = 0644, .size = 1}, "d"},
        {{.name = LongName(299) + "/", .type = EntryType::kDirectory, .mode = 0755}, ""},
        {{.name = "soft", .type = EntryType::kSymlink, .mode = 0777, .link = LongName(150)}, ""},
        {{.name = "hard", .type = EntryType::kHardLink, .mode = 0644, .link = LongName(300)}, ""},
        {{.name = "caf\xC3\xA9", .mode = 0644}, ""},
        {{.name = "latin\xE9" + std::string(120, 'x'), .mode = 0644}, ""},
        {{.name = "char", .type = EntryType::kCharDevice, .mode = 0666, .device_major = 1, .device_minor = 3}, ""},
        {{.name = "block", .type = EntryType::kBlockDevice, .mode = 0660, .device_major = 259, .device_minor = 70'000},
         ""},
        {{.name = "fifo", .type = EntryType::kFifo, .mode = 0600}, ""},
        {{.name = "xattrs", .mode = 0644, .xattrs = {{"security.capability", "\1\0\0\2"s}, {"user.empty", ""}}}, ""},
    };
  }
};

TEST_F(ArchiveWriterTest, WhatIsWrittenIsReadBackTheSame) {
  const auto entries = Everything();
  const auto all = ReadAllOf(Written(entries));
  ASSERT_EQ(all.size(), entries.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].entry, entries[i].first) << entries[i].first.name;
    EXPECT_EQ(all[i].content, entries[i].second);
  }
}

TEST_F(ArchiveWriterTest, EveryRunWritesTheSameBytes) { EXPECT_TRUE(Written(Everything()) == Written(Everything())); }

TEST_F(ArchiveWriterTest, PlainFilesNeedOneHeaderEach) {
  EXPECT_EQ(Written({{{.name = "a", .size = 3}, "abc"}, {{.name = "b"}, ""}}).size(), 512u * 3 + 1024);
}

TEST_F(ArchiveWriterTest, GnuTarSeesTheSameArchive) {
  const std::string tar = Written(Everything());
  std::string names;
  for (const auto& [entry, content] : Everything()) names += entry.name + "\n";
  EXPECT_EQ(OutputOf({"tar", "--quoting-style=literal", "-tf", "-"}, tar), names);
  const std::string listing =
      OutputOf({"tar", "--numeric-owner", "--full-time", "--quoting-style=literal", "-tvf", "-"}, tar);
  EXPECT_NE(listing.find("2097152/4000000000"), std::string::npos) << listing;
  EXPECT_NE(listing.find("-rwsr-xr-x 7/8"), std::string::npos) << listing;
  EXPECT_NE(listing.find("259,70000"), std::string::npos) << listing;
}

TEST_F(ArchiveWriterTest, BsdtarSeesTheSameArchive) {
  if (access("/usr/bin/bsdtar", X_OK) != 0)
    GTEST_SKIP() << "bsdtar is not installed";
  const std::string tar = Written(Everything());
  std::string escaped;
  for (const auto& [entry, content] : Everything()) escaped += entry.name + "\n";
  // bsdtar prints bytes that are not UTF-8 as escapes.
  escaped.replace(escaped.find('\xE9', escaped.find("latin")), 1, "\\351");
  EXPECT_EQ(OutputOf({"env", "LC_ALL=C.UTF-8", "bsdtar", "-tf", "-"}, tar), escaped);
}

TEST_F(ArchiveWriterTest, GnuTarExtractsContentAndAttributes) {
  const TempDir temp;
  OutputOf({"tar", "-C", temp.path(), "--xattrs", "--xattrs-include=*", "-xpf", "-"},
           Written({{{.name = "f", .mode = 0640, .size = 5, .mtime = {-1, 500'000'000}, .xattrs = {{"user.k", "v\n"}}},
                     "hello"}}));
  EXPECT_EQ(temp.dir().ReadFile(RelPath::Parse("f"), 100), "hello");
  const auto status = temp.dir().Stat(RelPath::Parse("f"));
  ASSERT_TRUE(status);
  EXPECT_EQ(status->st_mode & 07777, 0640u);
  EXPECT_EQ(status->st_mtim.tv_sec, -1);
  EXPECT_EQ(status->st_mtim.tv_nsec, 500'000'000);
}

TEST_F(ArchiveWriterTest, HolesAreZeros) {
  std::string out;
  const auto sink = StringSink(out);
  ArchiveWriter writer(*sink);
  writer.Add({.name = "x", .size = 200'001});
  writer.Write(AsBytes("a"));
  writer.WriteZeros(200'000);
  writer.Finish();
  EXPECT_TRUE(ReadAllOf(out)[0].content == "a" + std::string(200'000, '\0'));
}

TEST_F(ArchiveWriterTest, TooFewOrTooManyBytesAreAnError) {
  EXPECT_THROW(Written({{{.name = "x", .size = 2}, "abc"}}), Error);
  EXPECT_THROW(Written({{{.name = "x", .size = 4}, "abc"}}), Error);
  EXPECT_THROW(Written({{{.name = "x", .size = 4}, "abc"}, {{.name = "y"}, ""}}), Error);
}

TEST_F(ArchiveWriterTest, WhatTarCannotHoldIsUnsupported) {
  EXPECT_EQ(CaughtError([] { Written({{{.name = "a\0b"s}, ""}}); }).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(CaughtError([] { Written({{{.name = ""}, ""}}); }).kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(CaughtError([] {
              Written({{{.name = "a", .xattrs = {{"user.a=b", ""}}}, ""}});
            }).kind(),
            ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace gantry::image
