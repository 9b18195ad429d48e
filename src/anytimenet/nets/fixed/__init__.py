"""Plain nets of one stage, the baselines."""
