"""The command line of devices without PyTorch: `python -m anytimenet.runtime`, one verb a file."""
