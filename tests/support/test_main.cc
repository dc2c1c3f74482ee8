// The main of every gtest binary: the locale of the tools, so that tests see names as they do.
#include <gtest/gtest.h>

#include <clocale>
#include <csignal>

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "C.UTF-8");
  std::signal(SIGPIPE, SIG_IGN);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
