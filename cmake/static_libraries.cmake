# Libraries that are linked in. A start of a program is some milliseconds, and their shared objects would cost it two:
# libarchive.so brings libxml2 and ICU along, for formats that we do not read, and the C++ ones have thousands of
# relocations. libcrypto and libcurl stay shared, so that their fixes reach us without a build; libzstd, because Debian's
# static one has no threads.

# gantry_static(TARGET FILE...): an imported target of those archives, in link order.
function(gantry_static target)
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  foreach(file ${ARGN})
    string(MAKE_C_IDENTIFIER GANTRY_${file} variable)
    find_library(${variable} NAMES ${file} REQUIRED)
    target_link_libraries(${target} INTERFACE ${${variable}})
  endforeach()
endfunction()

gantry_static(static::archive libarchive.a)
gantry_static(static::re2 libre2.a)
gantry_static(static::yaml libyaml-cpp.a)
gantry_static(static::lzma liblzma.a)
gantry_static(static::bzip2 libbz2.a)
gantry_static(static::gpgme libgpgme.a libassuan.a libgpg-error.a)
