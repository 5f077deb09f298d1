"""Starts here: python3 -I -S -u shim.py. This file stays tiny because Python compiles the main
file at every start; the rest was compiled when the bundle was built."""

import sys

here = __file__.rpartition("/")[0] or "."
# -I and -S leave only the standard library on the path, and start twice as fast.
sys.path[:0] = [here, here + "/.deps"]

if __name__ == "__main__":
    import call
    import serve

    serve.serve(call.answer)
