"""How long segments take here, measured without PyTorch."""
