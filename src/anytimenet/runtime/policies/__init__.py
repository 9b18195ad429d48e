"""Which examples need no further stage: policies that look at the outputs as they come."""
