#include "runner/interpreter.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

namespace gantry::runner {

void FindInterpreter(const char* path, char* name, size_t capacity) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  char head[4096] = {};
  const ssize_t size = fd < 0 ? 0 : read(fd, head, sizeof head - 1);
  if (size > 2 && head[0] == '#' && head[1] == '!') {
    const char* begin = head + 2 + strspn(head + 2, " \t");
    const size_t length = strcspn(begin, " \t\r\n");
    const bool carriage_return = begin[length] == '\r';
    const size_t kept = length < capacity - 4 ? length : capacity - 4;
    memcpy(name, begin, kept);
    if (carriage_return)
      memcpy(name + kept, "\\r", 3);
    return;
  }
  Elf64_Ehdr elf;
  memcpy(&elf, head, sizeof elf);
  if (size < static_cast<ssize_t>(sizeof elf) || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0)
    return;
  for (int i = 0; i < elf.e_phnum && i < 64; ++i) {
    Elf64_Phdr segment;
    if (pread(fd, &segment, sizeof segment, static_cast<off_t>(elf.e_phoff + i * sizeof segment)) != sizeof segment)
      return;
    if (segment.p_type == PT_INTERP) {
      const size_t length = segment.p_filesz < capacity ? segment.p_filesz : capacity - 1;
      if (pread(fd, name, length, static_cast<off_t>(segment.p_offset)) < 0)
        name[0] = '\0';
      return;
    }
  }
}

}  // namespace gantry::runner
