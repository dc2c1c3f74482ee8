// bench_measure RUNS GAP_MS [first-output]: runs commands in turn, RUNS times round after one round that does not
// count, and prints the medians of each: wall milliseconds, CPU milliseconds (user and system, with descendants), peak
// memory in KiB. With no RUNS it is that one round which counts: for what takes minutes. Wall time is until the command
// ends, or until it has written the first byte to its standard output.
//
// A command is a line on stdin with four fields that tabs separate: label; a mount namespace to enter, or "-"; a shell
// command that prepares (not measured), or "-"; the words of the command, which no shell sees. GAP_MS passes before
// each. The output has a line for each: label, wall, CPU, peak, separated by tabs. Commands inherit descriptor 9, where
// it is open, at the beginning of its file.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kInherited = 9;

struct Sample {
  double wall_ms = 0;
  double cpu_ms = 0;
  double peak_kib = 0;
};

struct Command {
  std::string label;
  std::string mount_namespace;
  std::string prepare;
  std::vector<std::string> words;
  std::vector<Sample> samples;
};

Command ParseLine(const std::string& line) {
  std::istringstream fields(line);
  Command command;
  std::string rest;
  std::getline(fields, command.label, '\t');
  std::getline(fields, command.mount_namespace, '\t');
  std::getline(fields, command.prepare, '\t');
  std::getline(fields, rest);
  std::istringstream words(rest);
  for (std::string word; words >> word;) {
    command.words.push_back(word);
  }
  if (command.words.empty()) {
    throw std::runtime_error("expected four fields: " + line);
  }
  return command;
}

double Milliseconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) * 1000 + static_cast<double>(time.tv_usec) / 1000;
}

// Never returns.
[[noreturn]] void BecomeCommand(char* const* argv, int mount_namespace, int output, int errors) {
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  if (mount_namespace >= 0 && setns(mount_namespace, CLONE_NEWNS) != 0) {
    std::perror("setns");
    _exit(127);
  }
  execvp(argv[0], argv);
  std::perror(argv[0]);
  _exit(127);
}

void PrintOutput(int output) {
  std::array<char, 4096> text{};
  lseek(output, 0, SEEK_SET);
  for (ssize_t n = 0; (n = read(output, text.data(), text.size())) > 0;) {
    std::cerr.write(text.data(), n);
  }
}

using Clock = std::chrono::steady_clock;

// When the first byte comes out of the pipe, whose rest is thrown away; nullopt when none does.
std::optional<Clock::time_point> AwaitFirst(int pipe) {
  std::array<char, 4096> text{};
  const ssize_t first = read(pipe, text.data(), text.size());
  const auto now = Clock::now();
  while (read(pipe, text.data(), text.size()) > 0) {
  }
  return first > 0 ? std::optional(now) : std::nullopt;
}

Sample RunOnce(const Command& command, bool first_output) {
  std::vector<char*> argv;
  for (const std::string& word : command.words) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  const int output = memfd_create("output", MFD_CLOEXEC);
  lseek(kInherited, 0, SEEK_SET);
  const int space = command.mount_namespace == "-" ? -1 : open(command.mount_namespace.c_str(), O_RDONLY | O_CLOEXEC);
  std::array<int, 2> pipe{-1, output};
  if (first_output && pipe2(pipe.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error("cannot make a pipe");
  }
  const auto begin = Clock::now();
  const pid_t child = fork();
  if (child == 0) {
    BecomeCommand(argv.data(), space, pipe[1], output);
  }
  std::optional<Clock::time_point> end;
  if (first_output) {
    close(pipe[1]);
    end = AwaitFirst(pipe[0]);
    close(pipe[0]);
  }
  int status = 0;
  rusage usage{};
  if (child < 0 || wait4(child, &status, 0, &usage) != child) {
    throw std::runtime_error("cannot run " + command.label);
  }
  if (!first_output) {
    end = Clock::now();
  }
  const std::chrono::duration<double, std::milli> wall = end.value_or(begin) - begin;
  if (status != 0) {
    PrintOutput(output);
    throw std::runtime_error(command.label + " failed");
  }
  if (!end) {
    throw std::runtime_error(command.label + " wrote nothing");
  }
  close(output);
  if (space >= 0) {
    close(space);
  }
  return {wall.count(), Milliseconds(usage.ru_utime) + Milliseconds(usage.ru_stime),
          static_cast<double>(usage.ru_maxrss)};
}

double Median(const std::vector<Sample>& samples, double Sample::*field) {
  std::vector<double> values;
  for (const Sample& sample : samples) {
    values.push_back(sample.*field);
  }
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

void Measure(std::vector<Command>& commands, int runs, int gap_ms, bool first_output) {
  for (int run = -1; run < runs; ++run) {
    for (Command& command : commands) {
      if (command.prepare != "-" && std::system(command.prepare.c_str()) != 0) {
        throw std::runtime_error("cannot prepare " + command.label);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(gap_ms));
      const Sample sample = RunOnce(command, first_output);
      if (run >= 0 || runs == 0) {
        command.samples.push_back(sample);
      }
    }
  }
}

int Run(int argc, char** argv) {
  const bool first_output = argc == 4 && std::string(argv[3]) == "first-output";
  if (argc != (first_output ? 4 : 3)) {
    throw std::runtime_error("usage: bench_measure RUNS GAP_MS [first-output]");
  }
  std::vector<Command> commands;
  for (std::string line; std::getline(std::cin, line);) {
    commands.push_back(ParseLine(line));
  }
  Measure(commands, std::max(std::stoi(argv[1]), 0), std::stoi(argv[2]), first_output);
  for (const Command& command : commands) {
    std::printf("%s\t%.2f\t%.2f\t%.0f\n", command.label.c_str(), Median(command.samples, &Sample::wall_ms),
                Median(command.samples, &Sample::cpu_ms), Median(command.samples, &Sample::peak_kib));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "bench_measure: " << error.what() << "\n";
    return 1;
  }
}
