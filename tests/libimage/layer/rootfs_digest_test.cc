#include "libimage/layer/rootfs_digest.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "libimage/base/error.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using Lines = std::vector<std::string>;

struct Item {
  Entry entry;
  std::string content;
};

Item File(std::string name, std::string content, uint32_t mode = 0644) {
  const uint64_t size = content.size();
  return {{.name = std::move(name), .mode = mode, .size = size}, std::move(content)};
}
Item Directory(std::string name, uint32_t mode = 0755) {
  return {{.name = std::move(name), .type = EntryType::kDirectory, .mode = mode}, {}};
}
Item Link(EntryType type, std::string name, std::string target) {
  return {{.name = std::move(name), .type = type, .mode = 0777, .link = std::move(target)}, {}};
}

Digest DigestOf(const std::vector<Item>& items, Lines* lines = nullptr) {
  Listing listing;
  for (const Item& item : items) {
    listing.Add(item.entry);
    if (!item.content.empty())
      listing.Write(AsBytes(item.content));
  }
  listing.Finish();
  return RootfsDigest(listing, [&](std::string_view line) {
    if (lines != nullptr)
      lines->emplace_back(line);
  });
}

// Without those of /dev, which every tree has.
Lines LinesOf(const std::vector<Item>& items) {
  Lines lines;
  DigestOf(items, &lines);
  std::erase_if(lines, [](const std::string& line) { return line.starts_with("/dev"); });
  return lines;
}

ErrorKind FailureOf(const std::vector<Item>& items) {
  return CaughtError([&] { DigestOf(items); }).kind();
}

constexpr const char* kAbcHex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(RootfsDigestTest, WritesOneLineAPathSortedByBytes) {
  Item device{{.name = "etc/tty", .type = EntryType::kCharDevice, .mode = 0620, .gid = 5, .device_major = 5}, {}};
  Item owned = File("etc/passwd", "abc", 04640);
  owned.entry.uid = 3'000'000'000;
  std::string owned_line = "/etc/passwd f 4640 3000000000 0 3 ";
  owned_line += kAbcHex;
  EXPECT_EQ(
      LinesOf({device, Link(EntryType::kSymlink, "bin", "usr/bin"), Directory("etc", 01777), owned}),
      (Lines{"/ d 0755 0 0", "/bin l 0777 0 0 usr/bin", "/etc d 1777 0 0", owned_line, "/etc/tty c 0620 0 5 5,0"}));
}

TEST(RootfsDigestTest, IsTheHashOfThoseLines) {
  Lines lines;
  const Digest digest = DigestOf({File("a", "abc"), Directory("b")}, &lines);
  std::string text;
  for (const std::string& line : lines) {
    text += line + "\n";
  }
  EXPECT_EQ(digest, Digest::Of(text));
}

TEST(RootfsDigestTest, TheOrderOfEntriesAndTheirTimesDoNotCount) {
  std::vector<Item> items{File("a/x", "1"), Directory("a"), File("b", "2"), Directory("c")};
  const Digest digest = DigestOf(items);
  std::reverse(items.begin(), items.end());
  items[0].entry.mtime = {123, 456};
  EXPECT_EQ(DigestOf(items), digest);
}

TEST(RootfsDigestTest, ImpliedParentsAreDirectoriesOfRoot) {
  const Digest implied = DigestOf({File("a/b/c", "x")});
  EXPECT_EQ(DigestOf({Directory("a"), Directory("a/b"), File("a/b/c", "x"), Directory("")}), implied);
  EXPECT_NE(DigestOf({Directory("a", 0700), File("a/b/c", "x")}), implied);
}

TEST(RootfsDigestTest, HardLinksAreOneInodeWhicheverNameCarriesTheContent) {
  const Digest digest =
      DigestOf({File("b", "abc"), Link(EntryType::kHardLink, "a", "b"), Link(EntryType::kHardLink, "c", "b")});
  EXPECT_EQ(DigestOf({File("c", "abc"), Link(EntryType::kHardLink, "b", "c"), Link(EntryType::kHardLink, "a", "c")}),
            digest);
  EXPECT_NE(DigestOf({File("a", "abc"), File("b", "abc"), File("c", "abc")}), digest);
  EXPECT_EQ(LinesOf({File("b", "abc"), Link(EntryType::kHardLink, "a", "b")}),
            (Lines{"/ d 0755 0 0", std::string("/a f 0644 0 0 3 ") + kAbcHex, "/b h /a"}));
}

TEST(RootfsDigestTest, WhatCarriesTheContentCountsNotWhatALinkToItSays) {
  Item link = Link(EntryType::kHardLink, "a", "b");
  link.entry.uid = 7;
  EXPECT_EQ(LinesOf({File("b", "abc", 0600), link}),
            (Lines{"/ d 0755 0 0", std::string("/a f 0600 0 0 3 ") + kAbcHex, "/b h /a"}));
}

TEST(RootfsDigestTest, EverythingButADirectoryCanHaveSeveralNames) {
  Item fifo{{.name = "b", .type = EntryType::kFifo, .mode = 0600}, {}};
  EXPECT_EQ(LinesOf({fifo, Link(EntryType::kHardLink, "a", "b"), Link(EntryType::kSymlink, "y", "t"),
                     Link(EntryType::kHardLink, "x", "y")}),
            (Lines{"/ d 0755 0 0", "/a p 0600 0 0", "/b h /a", "/x l 0777 0 0 t", "/y h /x"}));
}

TEST(RootfsDigestTest, WhatIsNoTreeIsCorrupt) {
  const Item link = Link(EntryType::kHardLink, "a", "b");
  EXPECT_EQ(FailureOf({link}), ErrorKind::kCorrupt);
  EXPECT_EQ(FailureOf({Directory("b"), link}), ErrorKind::kCorrupt);
  EXPECT_EQ(FailureOf({File("c", ""), Link(EntryType::kHardLink, "b", "c"), link}), ErrorKind::kCorrupt);
  EXPECT_EQ(FailureOf({File("a", "1"), File("a", "1")}), ErrorKind::kCorrupt);
  EXPECT_EQ(FailureOf({File("a", ""), File("a/b", "")}), ErrorKind::kCorrupt);
  EXPECT_EQ(FailureOf({Link(EntryType::kSymlink, "a", "c"), Directory("c"), File("a/b/d", "")}), ErrorKind::kCorrupt);
}

TEST(RootfsDigestTest, TheModeOfASymbolicLinkIsNone) {
  Item link = Link(EntryType::kSymlink, "a", "b");
  const Digest digest = DigestOf({link});
  link.entry.mode = 0755;
  EXPECT_EQ(DigestOf({link}), digest);
}

TEST(RootfsDigestTest, NamesWithOddBytesAreEscaped) {
  EXPECT_EQ(LinesOf({Directory("a b\n\\=\xff\xc3\xa9")}).back(), "/a\\x20b\\x0a\\x5c\\x3d\\xff\\xc3\\xa9 d 0755 0 0");
  // Sorted by what they are, not by how they are written.
  EXPECT_EQ(LinesOf({Directory("\xff"), Directory("z"), Directory("z/a"), Directory("z-")}),
            (Lines{"/ d 0755 0 0", "/z d 0755 0 0", "/z- d 0755 0 0", "/z/a d 0755 0 0", "/\\xff d 0755 0 0"}));
}

TEST(RootfsDigestTest, ExtendedAttributesCount) {
  Item file = File("a", "");
  const Digest plain = DigestOf({file});
  file.entry.xattrs = {{"security.capability", std::string("\x01\0", 2)}, {"user.x", "y z"}};
  EXPECT_NE(DigestOf({file}), plain);
  EXPECT_NE(LinesOf({file}).back().find(" security.capability=\\x01\\x00 user.x=y\\x20z"), std::string::npos);
}

TEST(RootfsDigestTest, HolesAreZeros) {
  Listing holes;
  holes.Add({.name = "a", .mode = 0644, .size = 200'003});
  holes.WriteZeros(200'000);
  holes.Write(AsBytes("abc"));
  holes.Finish();
  std::string content(200'000, '\0');
  content += "abc";
  EXPECT_EQ(RootfsDigest(holes), DigestOf({File("a", content)}));
}

TEST(RootfsDigestTest, EveryTreeHasTheLinksThatConversionToAciAdds) {
  Lines lines;
  const Digest empty = DigestOf({}, &lines);
  EXPECT_EQ(lines, (Lines{"/ d 0755 0 0", "/dev d 0755 0 0", "/dev/fd l 0777 0 0 /proc/self/fd",
                          "/dev/stderr l 0777 0 0 /dev/console", "/dev/stdin l 0777 0 0 /proc/self/fd/0",
                          "/dev/stdout l 0777 0 0 /dev/console"}));
  EXPECT_EQ(DigestOf({Directory("dev")}), empty);
  EXPECT_EQ(DigestOf({Link(EntryType::kSymlink, "dev/fd", "/proc/self/fd")}), empty);
  EXPECT_NE(DigestOf({Link(EntryType::kSymlink, "dev/fd", "/etc")}), empty);
  EXPECT_NE(DigestOf({Directory("dev", 0700)}), empty);
  EXPECT_NE(DigestOf({Directory("dev/fd")}), empty);
  Item owned = Link(EntryType::kSymlink, "dev/fd", "/proc/self/fd");
  owned.entry.uid = 1;
  EXPECT_NE(DigestOf({owned}), empty);
  owned.entry.uid = 0;
  owned.entry.xattrs = {{"security.x", "y"}};
  EXPECT_NE(DigestOf({owned}), empty);
  // A name of the same inode elsewhere is one more path, as in any tree.
  EXPECT_NO_THROW(
      DigestOf({Link(EntryType::kSymlink, "dev/fd", "/proc/self/fd"), Link(EntryType::kHardLink, "x", "dev/fd")}));
}

TEST(RootfsDigestTest, NothingIsAddedWhereDevIsNoDirectory) {
  Lines lines;
  DigestOf({Link(EntryType::kSymlink, "dev", "elsewhere")}, &lines);
  EXPECT_EQ(lines, (Lines{"/ d 0755 0 0", "/dev l 0777 0 0 elsewhere"}));
}

TEST(RootfsDigestTest, EverySingleChangeChangesIt) {
  const Item file = File("a", "abc");
  const Digest digest = DigestOf({file});
  const auto changed = [&](auto change) {
    Item other = file;
    change(other);
    return DigestOf({other});
  };
  EXPECT_NE(changed([](Item& i) { i.content = "abd"; }), digest);
  EXPECT_NE(changed([](Item& i) { i.entry.mode = 0645; }), digest);
  EXPECT_NE(changed([](Item& i) { i.entry.uid = 1; }), digest);
  EXPECT_NE(changed([](Item& i) { i.entry.gid = 1; }), digest);
  EXPECT_NE(changed([](Item& i) { i.entry.name = "b"; }), digest);
  EXPECT_NE(DigestOf({Link(EntryType::kSymlink, "a", "x")}), DigestOf({Link(EntryType::kSymlink, "a", "y")}));
}

}  // namespace
}  // namespace gantry::image
