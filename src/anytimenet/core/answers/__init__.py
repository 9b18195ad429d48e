"""The one rule for the answer: which stage answers, how sure it is, who leaves, what it says."""
