"""Who runs next, how far, and who is answered now: a state machine on a clock that it is given."""
