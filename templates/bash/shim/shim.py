"""Starts here: python3 -I -S -u shim.py. This file stays tiny because Python compiles the main
file at every start; the rest was compiled when the bundle was built."""

import sys

sys.path.insert(0, __file__.rpartition("/")[0] or ".")

if __name__ == "__main__":
    import command
    import serve

    serve.serve(command.answer)
