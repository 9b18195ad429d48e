// Long operators in pieces, so that the stop flag is looked at in between. Every number is computed as it would
// be in one go: results are equal to the last bit.
#pragma once

#include <vector>

#include "steps.h"

namespace anytimenet {

// Adds the step, or the pieces of it one after the other.
void add_pieces(const Step& step, std::vector<Step>& to);

}  // namespace anytimenet
