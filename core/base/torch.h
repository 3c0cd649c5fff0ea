// SPDX-License-Identifier: Apache-2.0
// The part of LibTorch that core uses: tensors, their factories, autograd. All of torch/torch.h
// costs every file several seconds more; a file that needs another part (TorchScript, functional
// layers) includes that part itself.
#pragma once

#include <torch/csrc/autograd/autograd.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>
