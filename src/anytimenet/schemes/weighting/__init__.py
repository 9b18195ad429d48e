"""How much each stage's loss counts."""
