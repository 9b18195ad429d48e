"""How the gradients of the stages combine."""
