# Libraries from the distribution's packages; docs/dependencies.md gives the reason for each.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(microhttpd REQUIRED IMPORTED_TARGET libmicrohttpd>=0.9.75)
pkg_check_modules(turbojpeg REQUIRED IMPORTED_TARGET libturbojpeg)
pkg_check_modules(png REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(yaml REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(yajl REQUIRED IMPORTED_TARGET yajl)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
if(BUILD_TESTING)
  pkg_check_modules(cmocka IMPORTED_TARGET cmocka)
  if(NOT cmocka_FOUND)
    message(STATUS "cmocka is missing: no unit tests")
  endif()
endif()

# oneDNN has no pkg-config file, and its CMake package asks for OpenCL headers that we do not need.
find_library(DNNL_LIBRARY dnnl REQUIRED)
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.h REQUIRED)
add_library(PkgConfig::dnnl INTERFACE IMPORTED)
target_include_directories(PkgConfig::dnnl INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(PkgConfig::dnnl INTERFACE ${DNNL_LIBRARY})

# C code for the ONNX file format, generated from the packaged schema.
pkg_check_modules(protobuf_c REQUIRED IMPORTED_TARGET libprotobuf-c)
find_program(PROTOC_C protoc-c REQUIRED)
find_file(ONNX_SCHEMA onnx/onnx.proto REQUIRED)
set(schema_dir ${CMAKE_BINARY_DIR}/generated/onnx)
file(MAKE_DIRECTORY ${schema_dir})
get_filename_component(onnx_include ${ONNX_SCHEMA} DIRECTORY)
add_custom_command(
  OUTPUT ${schema_dir}/onnx.pb-c.c ${schema_dir}/onnx.pb-c.h
  COMMAND ${PROTOC_C} --proto_path=${onnx_include} --c_out=${schema_dir} ${ONNX_SCHEMA}
  DEPENDS ${ONNX_SCHEMA})
add_library(tl_onnx_schema STATIC ${schema_dir}/onnx.pb-c.c)
set_target_properties(tl_onnx_schema PROPERTIES POSITION_INDEPENDENT_CODE ON
                      C_VISIBILITY_PRESET hidden) # no part of the library's interface
target_include_directories(tl_onnx_schema PUBLIC ${CMAKE_BINARY_DIR}/generated)
target_link_libraries(tl_onnx_schema PUBLIC PkgConfig::protobuf_c)
add_library(PkgConfig::onnx_schema ALIAS tl_onnx_schema)
