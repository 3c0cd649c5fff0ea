# How targets of this project are made: warnings, sanitizers, and LibTorch's precompiled header.

add_compile_options(-Wall -Wextra -Werror -Winvalid-pch -Wno-missing-field-initializers)
if(ADAMANT_SANITIZE)
  add_compile_options(-fsanitize=${ADAMANT_SANITIZE})
  if(ADAMANT_SANITIZE MATCHES undefined)
    add_compile_options(-fno-sanitize-recover=all)  # a finding ends the process: its exit code tells
  endif()
  add_compile_options(-fno-omit-frame-pointer)
  add_link_options(-fsanitize=${ADAMANT_SANITIZE})
  if(ADAMANT_SANITIZE MATCHES thread)
    add_compile_options(-U__SANITIZE_THREAD__)  # protobuf's headers change a class layout on it
  endif()
endif()

# A static library adamant_<name> with the alias adamant::<name>, from all sources but main.cc of the
# current folder and of the folders in `ARGN`.
function(adamant_library name)
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  foreach(folder ${ARGN})
    file(GLOB more CONFIGURE_DEPENDS ${folder}/*.cc)
    list(APPEND sources ${more})
  endforeach()
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  add_library(adamant_${name} STATIC ${sources})
  add_library(adamant::${name} ALIAS adamant_${name})
  target_include_directories(adamant_${name} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()

# LibTorch's headers cost several seconds a file: every target that sees them shares core's precompiled header, hence its flags.
function(adamant_uses_torch target)
  target_compile_options(${target} PRIVATE -O1)
  if(target STREQUAL adamant_core)
    target_precompile_headers(${target} PRIVATE ${CMAKE_SOURCE_DIR}/core/base/torch.h)
  else()
    target_precompile_headers(${target} REUSE_FROM adamant_core)
  endif()
endfunction()

# Under AddressSanitizer gRPC's and protobuf's headers cost most of a compilation: they are precompiled once for the server
# and once for the client, for all targets with the same flags.
function(adamant_precompiles_grpc target)
  if(NOT ADAMANT_SANITIZE MATCHES address)
    return()
  endif()
  if(ARGC EQUAL 2)
    target_precompile_headers(${target} REUSE_FROM ${ARGV1})
    return()
  endif()
  target_precompile_headers(${target} PRIVATE <grpcpp/grpcpp.h> <gmock/gmock.h> <gtest/gtest.h> <absl/status/statusor.h>
    <absl/synchronization/notification.h> <adamant/v1/robustness_service.grpc.pb.h> <adamant/v1/blob.grpc.pb.h>
    <adamant/v1/model.grpc.pb.h> <adamant/v1/dataset.grpc.pb.h> <adamant/v1/system.grpc.pb.h>
    <adamant/worker/v1/worker.pb.h>)
endfunction()
