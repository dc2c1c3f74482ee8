#include "libimage/layer/flatten.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <set>

#include "tests/libimage/layer/flatten_model.h"
#include "tests/support/tar_builder.h"
#include "tests/support/temp_dir.h"

namespace gantry::image {
namespace {

using gantry::testing::CaughtError;
using gantry::testing::FlatTree;
using gantry::testing::TarBuilder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

struct Flattened {
  FlatTree tree;
  std::vector<std::string> order;
  FlattenResult result;
  int runs = 0;
};

// `layers` base first, each the bytes of a tar.
Flattened Flatten(const std::vector<std::string>& layers, FlattenOptions options = {}) {
  Flattener flattener(
      layers.size(), [&](size_t i) { return StringSource(layers[i]); }, std::move(options));
  Flattened out;
  for (bool done = false; !done && out.runs < 3; ++out.runs) {
    gantry::testing::FlatTreeSink sink;
    done = flattener.Run(sink);
    out.tree = sink.Tree();
    out.order = sink.order();
  }
  out.result = flattener.result();
  return out;
}

// The tree without directories, as "path" -> text.
FlatTree Files(const Flattened& flattened) {
  FlatTree files;
  for (const auto& [path, text] : flattened.tree) {
    if (!text.starts_with("dir"))
      files.emplace(path, text);
  }
  return files;
}

TEST(FlattenTest, UpperFileReplacesLower) {
  const Flattened out =
      Flatten({TarBuilder().File("a", "old").File("b", "kept").Build(), TarBuilder().File("a", "new").Build()});
  EXPECT_THAT(Files(out), ElementsAre(Pair("a", "file new"), Pair("b", "file kept")));
  EXPECT_EQ(out.result.layer_passes, 2U);
}

TEST(FlattenTest, ImageWithoutLayersIsAnEmptyRoot) { EXPECT_THAT(Flatten({}).tree, ElementsAre(Pair("", "dir 755"))); }

TEST(FlattenTest, WhiteoutHidesLowerOnlyWhereverItStands) {
  const std::string base = TarBuilder().Dir("d").File("d/a", "old").File("d/b", "old").File("c", "old").Build();
  for (const bool first : {true, false}) {
    TarBuilder upper;
    if (first)
      upper.Whiteout("", "c").Whiteout("", "d");
    upper.File("d/a", "new");
    if (!first)
      upper.Whiteout("", "d").Whiteout("", "c");
    EXPECT_THAT(Files(Flatten({base, upper.Build()})), ElementsAre(Pair("d/a", "file new"))) << first;
  }
}

TEST(FlattenTest, OpaqueActsFirst) {
  const std::string base = TarBuilder().Dir("d", 0700).File("d/a", "old").File("d/b", "old").Build();
  const Flattened out = Flatten({base, TarBuilder().File("d/a", "new").Opaque("d").Build()});
  EXPECT_THAT(out.tree, ElementsAre(Pair("", "dir 755"), Pair("d", "dir 700"), Pair("d/a", "file new")));
}

TEST(FlattenTest, FileHidesTheWholeTreeBelow) {
  const std::string base = TarBuilder().Dir("d/e").File("d/e/f", "x").Build();
  EXPECT_THAT(Files(Flatten({base, TarBuilder().File("d", "file").Build()})), ElementsAre(Pair("d", "file file")));
}

TEST(FlattenTest, FileInTheMiddleSeparatesDirectories) {
  const std::string base = TarBuilder().Dir("d", 0700).File("d/lost", "x").Build();
  const std::string middle = TarBuilder().File("d", "file").Build();
  const Flattened out = Flatten({base, middle, TarBuilder().File("d/a", "new").Build()});
  EXPECT_THAT(out.tree, ElementsAre(Pair("", "dir 755"), Pair("d", "dir 755"), Pair("d/a", "file new")));
}

TEST(FlattenTest, UpperDirectoryAttributesWin) {
  const std::string base = TarBuilder().Dir("d", 0700).File("d/a", "x").Build();
  EXPECT_EQ(Flatten({base, TarBuilder().Dir("d", 01777).Build()}).tree.at("d"), "dir 1777");
  EXPECT_EQ(Flatten({base, TarBuilder().File("d/b", "y").Build()}).tree.at("d"), "dir 700");
}

TEST(FlattenTest, LowerSymlinkIsReplacedAndNotFollowed) {
  const std::string base = TarBuilder().Dir("usr/lib").Symlink("lib", "usr/lib").Build();
  const Flattened out = Flatten({base, TarBuilder().File("lib/z", "z").Build()});
  EXPECT_THAT(Files(out), ElementsAre(Pair("lib/z", "file z")));
}

TEST(FlattenTest, SymlinkOfTheSameLayerIsFollowedInside) {
  const Flattened out = Flatten({TarBuilder()
                                     .Symlink("lib", "/usr/../usr/lib")
                                     .Symlink("out", "../../../../etc")
                                     .File("lib/z", "z")
                                     .File("out/passwd", "p")
                                     .Build()});
  EXPECT_EQ(out.tree.at("usr/lib/z"), "file z");
  EXPECT_EQ(out.tree.at("etc/passwd"), "file p");
}

TEST(FlattenTest, SymlinkLoopIsCorrupt) {
  const std::string tar = TarBuilder().Symlink("a", "b").Symlink("b", "a").File("a/x", "x").Build();
  EXPECT_EQ(CaughtError([&] { Flatten({tar}); }).kind(), ErrorKind::kCorrupt);
}

TEST(FlattenTest, PathsBehindLinksAreAsBoundedAsOthers) {
  std::string deep, wide;
  for (int i = 0; i < 300; ++i) deep += "d/";
  for (int i = 0; i < 10; ++i) wide += std::string(250, 'w') + "/";
  for (const std::string& half : {deep, wide}) {
    TarBuilder tar;
    tar.Pax({{"path", half}}).Dir("x").Pax({{"linkpath", half}}).Symlink("s", "x");
    EXPECT_NO_THROW(Flatten({tar.Build()}));
    tar.Pax({{"path", "s/" + half + "f"}}).File("x", "");
    EXPECT_THAT(CaughtError([&] { Flatten({tar.Build()}); }).message(), HasSubstr("symbolic links are followed"));
  }
}

TEST(FlattenTest, PathThroughAFileIsCorrupt) {
  const Error error = CaughtError([&] { Flatten({TarBuilder().File("a", "x").File("a/b", "y").Build()}); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_THAT(error.message(), HasSubstr("'a' is not a directory"));
}

TEST(FlattenTest, DotDotIsCorrupt) {
  EXPECT_EQ(CaughtError([&] { Flatten({TarBuilder().File("../../etc/evil", "x").Build()}); }).kind(),
            ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { Flatten({TarBuilder().File("a", "x").HardLink("b", "../a").Build()}); }).kind(),
            ErrorKind::kCorrupt);
}

TEST(FlattenTest, RootThatIsNoDirectoryIsCorrupt) {
  EXPECT_EQ(CaughtError([&] { Flatten({TarBuilder().Symlink("/.", "/etc").Build()}); }).kind(), ErrorKind::kCorrupt);
}

TEST(FlattenTest, RootAttributesAreKept) {
  EXPECT_EQ(Flatten({TarBuilder().Dir("./", 0555).File("./a", "x").Build()}).tree.at(""), "dir 555");
}

TEST(FlattenTest, LastOfTwoEntriesWinsAfterASecondRun) {
  const Flattened out = Flatten({TarBuilder().File("a", "first").File("b", "b").File("a", "last").Build()});
  EXPECT_THAT(Files(out), ElementsAre(Pair("a", "file last"), Pair("b", "file b")));
  EXPECT_EQ(out.runs, 2);
}

TEST(FlattenTest, RepeatedDirectoryNeedsNoSecondRun) {
  const Flattened out = Flatten({TarBuilder().Dir("d", 0700).File("d/a", "x").Dir("d", 0711).Build()});
  EXPECT_EQ(out.tree.at("d"), "dir 711");
  EXPECT_EQ(out.runs, 1);
}

TEST(FlattenTest, DuplicatesInManyLayersNeedOneSecondRun) {
  const std::string tar = TarBuilder().File("a", "first").File("a", "last").Build();
  const Flattened out = Flatten(std::vector<std::string>(20, tar));
  EXPECT_EQ(out.runs, 2);
  EXPECT_LE(out.result.layer_passes, 60U);
}

TEST(FlattenTest, SupersededInodeLivesOnInItsLink) {
  const Flattened out =
      Flatten({TarBuilder().File("a", "old").HardLink("b", "a").File("a", "new").HardLink("c", "b").Build()});
  EXPECT_THAT(Files(out), ElementsAre(Pair("a", "file new"), Pair("b", "file old"), Pair("c", "= b")));
}

TEST(FlattenTest, HardLinksShareOneInode) {
  const Flattened out = Flatten({TarBuilder().File("a", "x").HardLink("d/b", "./a").HardLink("c", "/d/b").Build()});
  EXPECT_THAT(Files(out), ElementsAre(Pair("a", "file x"), Pair("c", "= a"), Pair("d/b", "= a")));
}

TEST(FlattenTest, FirstNameThatSurvivesCarriesTheContent) {
  const std::string base = TarBuilder().File("a", "x").HardLink("b", "a").HardLink("c", "a").Build();
  const Flattened gone = Flatten({base, TarBuilder().Whiteout("", "a").Build()});
  EXPECT_THAT(Files(gone), ElementsAre(Pair("b", "file x"), Pair("c", "= b")));
  EXPECT_EQ(gone.result.layer_passes, 3U);
  const Flattened replaced = Flatten({base, TarBuilder().File("a", "new").Whiteout("", "b").Build()});
  EXPECT_THAT(Files(replaced), ElementsAre(Pair("a", "file new"), Pair("c", "file x")));
}

TEST(FlattenTest, LinkIntoALowerLayerGetsItsContent) {
  const std::string base = TarBuilder().File("a", "x").Build();
  const std::string upper = TarBuilder().HardLink("b", "a").HardLink("c", "b").Build();
  EXPECT_THAT(Files(Flatten({base, upper})), ElementsAre(Pair("a", "file x"), Pair("b", "= a"), Pair("c", "= a")));
  const std::string top = TarBuilder().Whiteout("", "a").File("c", "new").Build();
  EXPECT_THAT(Files(Flatten({base, upper, top})), ElementsAre(Pair("b", "file x"), Pair("c", "file new")));
  EXPECT_THAT(Files(Flatten({base, upper, TarBuilder().File("a", "new").Build()})),
              ElementsAre(Pair("a", "file new"), Pair("b", "file x"), Pair("c", "= b")));
}

TEST(FlattenTest, LinkThroughTwoLayers) {
  const std::string base = TarBuilder().File("a", "x").Build();
  const std::string middle = TarBuilder().HardLink("b", "a").Build();
  EXPECT_THAT(Files(Flatten({base, middle, TarBuilder().HardLink("c", "b").Build()})),
              ElementsAre(Pair("a", "file x"), Pair("b", "= a"), Pair("c", "= a")));
}

TEST(FlattenTest, DanglingLinkIsCorrupt) {
  const std::string link = TarBuilder().HardLink("b", "a").Build();
  EXPECT_EQ(CaughtError([&] { Flatten({link}); }).kind(), ErrorKind::kCorrupt);
  const std::string base = TarBuilder().File("a", "x").Build();
  const Error error = CaughtError([&] { Flatten({base, TarBuilder().Whiteout("", "a").Build(), link}); });
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
  EXPECT_THAT(error.message(), HasSubstr("'a'"));
  EXPECT_EQ(CaughtError([&] { Flatten({TarBuilder().Dir("a").Build(), link}); }).kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { Flatten({TarBuilder().Dir("a").HardLink("b", "a").Build()}); }).kind(),
            ErrorKind::kCorrupt);
  EXPECT_EQ(CaughtError([&] { Flatten({TarBuilder().HardLink("a", "a").Build()}); }).kind(), ErrorKind::kCorrupt);
}

TEST(FlattenTest, DirectoriesComeLastParentsFirst) {
  const Flattened out = Flatten({TarBuilder().Dir("b").Dir("b/c").File("b/c/f", "x").Build(),
                                 TarBuilder().File("a/f", "y").File("b/g", "z").Build()});
  EXPECT_THAT(out.order, ElementsAre("a/f", "b/g", "b/c/f", "", "a", "b", "b/c"));
}

TEST(FlattenTest, DefaultsFillOnlyWhatIsAbsent) {
  FlattenOptions options;
  for (const char* name : {"dev/stdin", "dev/fd"}) {
    Entry link;
    link.name = name;
    link.type = EntryType::kSymlink;
    link.mode = 020260101;
    link.link = "default";
    options.defaults.push_back(link);
  }
  EXPECT_THAT(Flatten({TarBuilder().File("dev/fd", "own").Build()}, options).tree,
              ElementsAre(Pair("", "dir 755"), Pair("dev", "dir 755"), Pair("dev/fd", "file own"),
                          Pair("dev/stdin", "link default")));
  EXPECT_EQ(CaughtError([&] { Flatten({TarBuilder().File("dev", "x").Build()}, options); }).kind(),
            ErrorKind::kUnsupported);
}

TEST(FlattenTest, HolesAreZeros) {
  std::string data(8192, '\0');
  data[5000] = 'x';
  EXPECT_EQ(Flatten({TarBuilder().File("a", data).Build()}).tree.at("a"), "file " + data);
}

TEST(FlattenTest, IndexTakesUnder128BytesAPath) {
  std::string layers[2];
  for (int layer = 0; layer < 2; ++layer) {
    TarBuilder tar;
    for (int i = 0; i < 30'000; ++i) {
      tar.File("usr/share/package-" + std::to_string(layer) + "-" + std::to_string(i / 500) + "/directory-" +
                   std::to_string(i / 20) + "/an-ordinary-file-" + std::to_string(i) + ".txt",
               "");
    }
    layers[layer] = tar.Build();
  }
  const Flattened out = Flatten({layers[0], layers[1]});
  EXPECT_GT(out.result.paths, 60'000U);
  EXPECT_EQ(out.runs, 1);
  EXPECT_LT(out.result.index_bytes / out.result.paths, 128U);
}

TEST(FlattenTest, AnyMixtureOfLayersAgreesWithTheModel) {
  std::mt19937 random(20260101);
  int corrupt = 0;
  for (int round = 0; round < 6000; ++round) {
    std::vector<gantry::testing::ModelLayer> layers;
    std::vector<std::string> tars;
    for (unsigned count = 1 + random() % 4; count > 0; --count) {
      layers.push_back(gantry::testing::RandomLayer(random));
      tars.push_back(gantry::testing::TarOf(layers.back()));
    }
    const std::optional<FlatTree> expected = gantry::testing::ModelFlatten(layers);
    std::optional<FlatTree> got;
    try {
      got = Flatten(tars).tree;
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::kCorrupt) << error.message();
      ++corrupt;
    }
    ASSERT_EQ(got, expected) << gantry::testing::Describe(layers);
  }
  EXPECT_LT(corrupt, 4800);
}

}  // namespace
}  // namespace gantry::image
