# Shared libraries that a program with the property LAZY_LIBRARIES loads when it first calls into them: see
# libimage/base/lazy_library.h. Others, and all that sanitizers watch or that are for another machine than x86-64, are
# linked with them as usual. Whatever process of such a program confines itself without the system's libraries must have
# called into those that it needs before.

# gantry_lazy(NAME SHARED_TARGET FILE [EXCEPT REGEX]): lazy::NAME, to link with in place of the target whose library the
# file is. What matches EXCEPT is linked in, from the static library beside it.
function(gantry_lazy name shared file)
  cmake_parse_arguments(arg "" "EXCEPT" "" ${ARGN})
  add_library(lazy::${name} INTERFACE IMPORTED GLOBAL)
  if(GANTRY_SANITIZE OR NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    target_link_libraries(lazy::${name} INTERFACE ${shared})
    return()
  endif()
  set(names ${CMAKE_BINARY_DIR}/lazy_${name}.inc)
  set(archives $<TARGET_FILE:image> $<TARGET_FILE:sign>)
  add_custom_command(
    OUTPUT ${names}
    COMMAND sh -c "out=$1 && shift && sh \"$@\" > \"$out.tmp\" && mv \"$out.tmp\" \"$out\"" sh ${names}
            ${CMAKE_SOURCE_DIR}/cmake/lazy_names.sh ${CMAKE_NM} ${CMAKE_OBJDUMP} ${file} "${arg_EXCEPT}^$" ${archives}
    DEPENDS ${CMAKE_SOURCE_DIR}/cmake/lazy_names.sh image sign VERBATIM)
  gantry_library(lazy_${name} ${CMAKE_SOURCE_DIR}/libimage/base/lazy_calls.cc ${names})
  target_link_libraries(lazy_${name} PUBLIC lazy_library)
  target_compile_definitions(lazy_${name} PRIVATE GANTRY_LAZY_NAMES="${names}")
  set(linked $<IF:$<BOOL:$<TARGET_PROPERTY:LAZY_LIBRARIES>>,lazy_${name},${shared}>)
  target_link_libraries(lazy::${name} INTERFACE ${linked})
  if(arg_EXCEPT)
    string(REGEX REPLACE "[.]so$" ".a" static ${file})
    target_link_libraries(lazy::${name} INTERFACE $<$<BOOL:$<TARGET_PROPERTY:LAZY_LIBRARIES>>:${static}>)
  endif()
endfunction()

gantry_library(lazy_library ${CMAKE_SOURCE_DIR}/libimage/base/lazy_library.cc)

# SHA-2 is what every start needs.
gantry_lazy(crypto OpenSSL::Crypto ${OPENSSL_CRYPTO_LIBRARY} EXCEPT "^SHA(256|512)_|")
gantry_lazy(isal PkgConfig::ISAL ${ISAL_LINK_LIBRARIES})
gantry_lazy(sodium PkgConfig::SODIUM ${SODIUM_LINK_LIBRARIES})
gantry_lazy(zstd PkgConfig::ZSTD ${ZSTD_LINK_LIBRARIES})
