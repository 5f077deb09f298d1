#!/usr/bin/env bash
# The body comes on stdin, the answer goes to stdout, what is said on stderr goes to the log.
# Http_Method, Http_Path, Http_Query and Http_<Header> tell of the request; an exit status
# other than 0 becomes a 500.
set -euo pipefail

who=$(cat)
echo "Hello, ${who:-world}!"
