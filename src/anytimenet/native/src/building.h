// From operators of a program to the steps of a session.
#pragma once

#include <cstdint>
#include <vector>

#include "engine.h"
#include "steps.h"
#include "tensors.h"

namespace anytimenet {

// Of operators [first, first + count), in their order: what one step can do for two is one.
std::vector<Step> steps_of(const Engine& engine, const Tensors& tensors, std::int32_t first, std::int32_t count);

}  // namespace anytimenet
