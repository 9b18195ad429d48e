// What a program must be before anything is computed with it.
#pragma once

#include "program.h"

namespace anytimenet {

// Throws Refused unless every index is inside its table, every size fits the others, every number that is read
// was written before in the same part or belongs to the state, and no state is written over while it is read.
void check_program(const Program& program);

}  // namespace anytimenet
