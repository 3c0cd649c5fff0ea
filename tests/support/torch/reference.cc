// SPDX-License-Identifier: Apache-2.0
#include "tests/support/torch/reference.h"

#include <archive.h>
#include <archive_entry.h>

#include <numeric>
#include <stdexcept>
#include <vector>

#include "core/models/model_file.h"
#include "tests/support/test_data.h"

namespace adamant::testing {
namespace {

std::string Gunzip(const std::string& path) {
  const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_filename(reader.get(), path.c_str(), 1 << 16) != ARCHIVE_OK ||
      archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK) {
    throw std::runtime_error("cannot read " + path);
  }
  std::string out;
  std::vector<char> chunk(1 << 16);
  for (la_ssize_t n = 1; n > 0;) {
    n = archive_read_data(reader.get(), chunk.data(), chunk.size());
    if (n < 0) throw std::runtime_error("cannot decompress " + path);
    out.append(chunk.data(), static_cast<size_t>(n));
  }
  return out;
}

DataFiles MnistFiles(const std::string& part) {
  DataFiles files;
  for (const char* kind : {"-images-idx3-ubyte", "-labels-idx1-ubyte"}) {
    const std::string path = TestDataFolder() + "/mnist/" + part + kind + ".gz";
    files.push_back({part + kind, FileView::Own(Gunzip(path))});
  }
  return files;
}

template <class T>
T Value(absl::StatusOr<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return *std::move(result);
}

}  // namespace

DataFiles MnistTestFiles() { return MnistFiles("t10k"); }

DataFiles MnistTrainFiles() { return MnistFiles("train"); }

Batch MnistTestBatch(int64_t count) {
  v1::PluginSpec reader;
  reader.set_name("mnist");
  const auto mnist = Value(MakePlugin<Dataset>(reader, MnistTestFiles()));
  std::vector<int64_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), int64_t{0});
  return Value(mnist->Read("test", ids));
}

std::unique_ptr<Model> ReferenceModel(const std::string& name) {
  ModelInput input;
  input.name = name;
  input.architecture.set_name("mnist_cnn");
  (*input.architecture.mutable_params()->mutable_fields())["kind"].set_string_value(
      name == "mnist_convex" ? "convex" : "advertorch");
  input.file = Value(FileView::Open(TestDataFolder() + "/checkpoints/" + name + ".safetensors"));
  return Value(OpenModel(input));
}

}  // namespace adamant::testing
