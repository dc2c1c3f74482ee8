# What every target of gantry is compiled with: C++20, the include root, warnings as errors, hardening.
# The build types beyond CMake's own (Asan, Tsan, Fuzz) are set by the presets through GANTRY_SANITIZE.

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(GANTRY_SANITIZE "" CACHE STRING "value of -fsanitize=, set by the presets asan, tsan and fuzz")

add_library(gantry_options INTERFACE)
target_compile_features(gantry_options INTERFACE cxx_std_20)
target_include_directories(gantry_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(gantry_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual
  -Wformat=2 -Wundef -Wimplicit-fallthrough -Wextra-semi -Werror
  -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection=full)
# g++ 12 misfires: -Wsign-conversion on open_how, the memory checks (restrict, array-bounds, stringop-overread and -overflow) on joined std::strings (GCC PR 105651).
target_compile_options(gantry_options INTERFACE -Wno-sign-conversion)
# Designated initializers leave members out on purpose.
target_compile_options(gantry_options INTERFACE -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(gantry_options INTERFACE -Wno-restrict -Wno-array-bounds -Wno-stringop-overread -Wno-stringop-overflow)
endif()
target_compile_definitions(gantry_options INTERFACE _GNU_SOURCE _GLIBCXX_ASSERTIONS)
# A program with the property STATIC_PROGRAM has no dynamic linker; see gantry_static_program.
set(static_program $<BOOL:$<TARGET_PROPERTY:STATIC_PROGRAM>>)
target_link_options(gantry_options INTERFACE -Wl,--as-needed -Wl,-z,relro -Wl,-z,now
  $<IF:${static_program},-static-pie,-pie>)
# What a program does not use is memory of every start as well, and relocations of a position-independent one are 24 bytes
# each to read, where a bitmap holds them in less than one.
target_link_options(gantry_options INTERFACE -Wl,--gc-sections -Wl,-z,pack-relative-relocs)
# A program has the C++ runtime in it, as in static_libraries.cmake, but for those that link a library of gantry with
# INTERFACE_SHARED_RUNTIME: a shared library in C++ takes what the program has of the runtime and the rest from the
# shared one, and an exception that is thrown in it aborts between the two.
if(NOT GANTRY_SANITIZE)
  set(own_runtime $<NOT:$<OR:${static_program},$<BOOL:$<TARGET_PROPERTY:SHARED_RUNTIME>>>>)
  target_link_options(gantry_options INTERFACE $<${own_runtime}:-static-libstdc++$<SEMICOLON>-static-libgcc>)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT GANTRY_SANITIZE)
  # _FORTIFY_SOURCE needs optimisation, and hides overflows from the sanitizers.
  target_compile_options(gantry_options INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
if(GANTRY_SANITIZE)
  target_compile_options(gantry_options INTERFACE -fsanitize=${GANTRY_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(gantry_options INTERFACE -fsanitize=${GANTRY_SANITIZE})
endif()

# gantry_library(NAME SOURCES... ): a static library of gantry.
function(gantry_library name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PUBLIC gantry_options)
endfunction()

# gantry_static_program(TARGET LIBRARY...): links the target without shared libraries, which are a fifth of a millisecond
# at every start, with what it uses of these libraries of gantry: nothing that others' libraries are needed for.
# Sanitizers cannot be linked so.
function(gantry_static_program target)
  if(GANTRY_SANITIZE)
    target_link_libraries(${target} PRIVATE ${ARGN})
    return()
  endif()
  set_target_properties(${target} PROPERTIES STATIC_PROGRAM ON)
  target_link_libraries(${target} PRIVATE gantry_options)
  foreach(library ${ARGN})
    target_link_libraries(${target} PRIVATE $<TARGET_FILE:${library}>)
    add_dependencies(${target} ${library})
  endforeach()
endfunction()
