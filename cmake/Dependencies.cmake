# Every external package, once. The order matters: see CONTRIBUTING, "Build traps".

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)  # before Torch, whose config would replace protobuf::libprotobuf
find_package(absl REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(gRPC CONFIG QUIET)

set(ADAMANT_DEPS ${CMAKE_SOURCE_DIR}/.deps CACHE PATH "Where scripts/setup unpacked LibTorch and the google/rpc protos")
if(EXISTS ${ADAMANT_DEPS}/libtorch/torch)
  list(PREPEND CMAKE_PREFIX_PATH ${ADAMANT_DEPS}/libtorch/torch)
endif()
find_package(Torch REQUIRED)
if(TARGET caffe2::mkl)
  set_target_properties(caffe2::mkl PROPERTIES INTERFACE_LINK_DIRECTORIES "")  # odd RUNPATH entries
endif()

find_package(PkgConfig REQUIRED)
pkg_check_modules(JPEG REQUIRED IMPORTED_TARGET libjpeg)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(ARCHIVE REQUIRED IMPORTED_TARGET libarchive)

if(gRPC_FOUND)
  find_package(SQLite3 REQUIRED)
  find_package(prometheus-cpp CONFIG REQUIRED)
  find_package(spdlog REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(yaml-cpp REQUIRED)
  find_package(ZLIB REQUIRED)
endif()
if(ADAMANT_TESTS)
  find_package(GTest REQUIRED)
endif()

# LibTorch ships old protobuf headers: a folder with one link puts the system's first.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/sysinc)
file(CREATE_LINK ${Protobuf_INCLUDE_DIR}/google ${CMAKE_BINARY_DIR}/sysinc/google SYMBOLIC)
include_directories(BEFORE SYSTEM ${CMAKE_BINARY_DIR}/sysinc)
