# tries: ends in the middle of a character
# limits: time=10s
# expect: reason=ok code=0
# expect-output: "end \ufffd"
import os

os.write(1, b"end \xf0\x9f\x9a")
