// Steps that do the work of the operator behind them, too, while its input is in registers or in a cache.
#pragma once

#include "steps.h"

namespace anytimenet {

// Lets the matrix product before it do what is done to each number of its result; false if it cannot.
bool joined(Step& before, const Affine& affine);
// Lets a depthwise convolution follow the product before it channel by channel; false if it cannot.
bool paired(Step& before, const Conv& conv, bool ends);

}  // namespace anytimenet
