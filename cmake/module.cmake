# tl_module(NAME [DEPENDS module...] [LIBRARIES library...])
#
# One capability, one folder (src/NAME, or NAME at the top for the simulators). Every *.c in it is
# part of the module, except x_test.c (a test process of its own), x_data_test.c (the same, but it
# needs TL_SHARED_DATA and exits with 77 where that is missing) and x_fuzz.c (a libFuzzer target).

set(TL_WARNINGS -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes
                -Wvla -Wno-sign-conversion)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND TL_WARNINGS -Wno-format-truncation) # clang does not know it
endif()
if(TL_WERROR)
  list(APPEND TL_WARNINGS -Werror)
endif()

add_library(tl_options INTERFACE)
target_include_directories(tl_options INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}
                           ${CMAKE_SOURCE_DIR}/include ${CMAKE_BINARY_DIR}/generated)
target_compile_options(tl_options INTERFACE -std=c11 ${TL_WARNINGS} -fvisibility=hidden
                       -ffp-contract=off -fno-math-errno)
target_compile_definitions(tl_options INTERFACE _GNU_SOURCE TL_VERSION_TEXT="${PROJECT_VERSION}")
target_link_libraries(tl_options INTERFACE Threads::Threads m)
if(TL_SANITIZE)
  target_compile_options(tl_options INTERFACE -fsanitize=${TL_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(tl_options INTERFACE -fsanitize=${TL_SANITIZE})
  target_compile_definitions(tl_options INTERFACE TL_COMPACT_KERNELS)
endif()
if(TL_FUZZ)
  target_compile_options(tl_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

set_property(GLOBAL PROPERTY TL_MODULES "")

function(tl_test target source module timeout_s)
  if(TL_SANITIZE OR CMAKE_CROSSCOMPILING) # several times slower
    math(EXPR timeout_s "4 * ${timeout_s}")
  endif()
  add_executable(${target} ${source})
  target_link_libraries(${target} PRIVATE tl_options tl_${module} PkgConfig::cmocka)
  if(CMAKE_CROSSCOMPILING) # gcc 12 for aarch64 breaks off at a reduction in a test
    target_compile_options(${target} PRIVATE -fno-tree-vectorize)
  endif()
  target_compile_definitions(${target} PRIVATE TL_SHARED_DATA="${TL_SHARED_DATA}"
                             TL_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${name})
  add_test(NAME ${module}/${name} COMMAND ${target})
  set_tests_properties(${module}/${name} PROPERTIES TIMEOUT ${timeout_s} SKIP_RETURN_CODE 77
                       LABELS ${module})
endfunction()

function(tl_module name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LIBRARIES" ${ARGN})
  set(folder ${CMAKE_SOURCE_DIR}/src/${name})
  if(NOT IS_DIRECTORY ${folder})
    set(folder ${CMAKE_SOURCE_DIR}/${name})
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.c)
  set(tests ${sources})
  set(fuzzers ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz)\\.c$")
  list(FILTER tests INCLUDE REGEX "_test\\.c$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.c$")

  set(libraries "")
  foreach(library ${arg_LIBRARIES})
    list(APPEND libraries PkgConfig::${library})
  endforeach()
  set(modules "")
  foreach(module ${arg_DEPENDS})
    list(APPEND modules tl_${module})
  endforeach()

  if(sources)
    add_library(tl_${name} STATIC ${sources})
    set_target_properties(tl_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(tl_${name} PUBLIC tl_options ${modules} ${libraries})
  else()
    add_library(tl_${name} INTERFACE)
    target_link_libraries(tl_${name} INTERFACE tl_options ${modules} ${libraries})
  endif()
  set_property(GLOBAL APPEND PROPERTY TL_MODULES ${name})
  set_property(GLOBAL PROPERTY TL_DEPENDS_${name} "${arg_DEPENDS}")

  if(BUILD_TESTING AND cmocka_FOUND)
    foreach(test ${tests})
      get_filename_component(test_name ${test} NAME_WE)
      tl_test(${name}_${test_name} ${test} ${name} 120)
    endforeach()
  endif()
  if(TL_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(fuzz_name ${fuzzer} NAME_WE)
      add_executable(fuzz_${name}_${fuzz_name} ${fuzzer})
      target_link_libraries(fuzz_${name}_${fuzz_name} PRIVATE tl_${name})
      target_link_options(fuzz_${name}_${fuzz_name} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()
endfunction()

# build/modules.txt: one line a module, "name: every module it may include".
function(tl_write_module_list)
  get_property(modules GLOBAL PROPERTY TL_MODULES)
  set(lines "")
  foreach(module ${modules})
    set(reach ${module})
    get_property(direct GLOBAL PROPERTY TL_DEPENDS_${module})
    foreach(dependency ${direct})
      list(APPEND reach ${reach_${dependency}})
    endforeach()
    list(REMOVE_DUPLICATES reach)
    set(reach_${module} ${reach})
    list(JOIN reach " " words)
    string(APPEND lines "${module}: ${words}\n")
  endforeach()
  file(WRITE ${CMAKE_BINARY_DIR}/modules.txt "${lines}")
endfunction()
