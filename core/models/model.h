// SPDX-License-Identifier: Apache-2.0
// The Model contract: images in [0,1] -> logits, with named activations ("taps") on the way.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adamant/v1/model.pb.h"
#include "core/base/registry.h"

namespace c10 {
struct Device;
}

namespace adamant {

// C, H, W and K that a model is built for.
struct ModelShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t num_classes = 0;
};

// A named activation: [C,h,w] maps, or [D] features (h = w = 0).
struct Tap {
  std::string name;
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  std::vector<std::string> aliases = {};  // e.g. "last_conv"
};

struct ModelInfo {
  v1::PluginSpec architecture;  // empty name: TorchScript
  v1::ModelFormat format = v1::SAFETENSORS;
  ModelShape shape;
  std::string normaliser;       // "identity", "channel(0.3/0.3)"
  std::vector<Tap> taps;        // in execution order
  std::string default_tap;      // where Grad-CAM looks; "" when there is none
  std::string classifier;       // parameter of the last layer, [K,...]; "" when unknown
  bool gap_head = false;        // default_tap -> global average pooling -> one linear layer
  int64_t parameter_count = 0;  // trainable values
  bool trainable = true;
  bool visible_relus = false;  // LeakyLogits has an effect
};

// Sees each tap during a forward pass and returns the value the pass goes on with: `value` itself,
// or a replacement. `name` is the tap's own name, never an alias.
using TapVisitor = std::function<at::Tensor(const std::string& name, const at::Tensor& value)>;

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

struct Outputs {
  at::Tensor logits;                       // [N,K]
  std::map<std::string, at::Tensor> taps;  // under the names asked for
};

// A network and its weights. Normalisation is inside. In eval mode a pure function of the images.
// Not thread-safe while the mode or the weights change; concurrent forward passes in eval mode are
// fine.
class Model {
 public:
  static constexpr char kFamily[] = "model";
  // Fresh weights from stream `init` of `seed`. INVALID_ARGUMENT when the shape does not fit the
  // architecture. A shape member of 0 takes the architecture's own size, where it has one.
  using Factory = absl::StatusOr<std::unique_ptr<Model>>(const Params&, const ModelShape&,
                                                         uint64_t seed);

  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;

  // images [N,C,H,W] in [0,1] -> logits [N,K]. `visit` (may be empty) sees the taps in execution
  // order.
  virtual at::Tensor Forward(const at::Tensor& images, const TapVisitor& visit) const = 0;

  at::Tensor Logits(const at::Tensor& images) const { return Forward(images, {}); }
  // The same logits, but in the backward pass an inactive ReLU of image i passes slopes[i] (float
  // [N]) times the gradient instead of none. A model whose ReLUs are not in sight ignores it; see
  // info().visible_relus.
  virtual at::Tensor LeakyLogits(const at::Tensor& images, const at::Tensor& /*slopes*/) const {
    return Logits(images);
  }
  // Also returns the wanted taps (names or aliases). Throws std::invalid_argument for an unknown
  // one.
  Outputs ForwardWithTaps(const at::Tensor& images, absl::Span<const std::string> taps) const;

  // The tap called `name` or having it as an alias: INVALID_ARGUMENT lists what exists.
  absl::StatusOr<Tap> FindTap(const std::string& name) const;

  // Live tensors under their names in the model file. Empty for models that cannot be trained.
  virtual NamedTensors Parameters() const = 0;
  virtual NamedTensors Buffers() const = 0;

  virtual void Train(bool on) = 0;  // batch statistics and dropout on or off
  virtual bool training() const = 0;
  virtual void To(const c10::Device& device) = 0;
  // A copy in eval mode that computes in `type` (bfloat16): images, logits and taps stay float32.
  // For searching only; what counts is verified in float32. UNIMPLEMENTED where a model cannot.
  virtual absl::StatusOr<std::unique_ptr<Model>> CopyIn(at::ScalarType type) const;

  // Dropout masks of the following training passes come from stream `dropout:<step>` of `seed`; the
  // trainer calls it before each step. Without effect on a model that has no dropout.
  virtual void SetDropoutStream(uint64_t /*seed*/, int64_t /*step*/) {}

  // Classifier weight [K,C] and bias [K] behind the pooled default tap; undefined unless
  // info().gap_head.
  virtual std::pair<at::Tensor, at::Tensor> GapHead() const { return {}; }
};

// v1::Layer list of a model, for capabilities and GetModel.
std::vector<v1::Layer> DescribeLayers(const ModelInfo& info);

// SHA-256 over names, shapes and values of all parameters and buffers, in name order: the identity
// of the weights.
std::string WeightsDigest(const Model& model);

}  // namespace adamant
