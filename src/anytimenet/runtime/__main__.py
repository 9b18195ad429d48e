"""`python -m anytimenet.runtime VERB ...`: exported nets on devices without PyTorch."""

import sys

from anytimenet.runtime.cli.main import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
