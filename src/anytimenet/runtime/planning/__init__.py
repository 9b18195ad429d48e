"""Which segments to run in the time there is: how slow the machine is now, and the best path."""
