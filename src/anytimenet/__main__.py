"""`python -m anytimenet` is the command `anytimenet`."""

from anytimenet.cli.main import main

if __name__ == "__main__":
    main()
