# tries: the same by an interpreter that is told not to look
# limits: time=10s memory=96Mi
# expect: reason=exit|memory|timeout
# never-output: over
import sys

sys.setrecursionlimit(1 << 30)


def deeper(number):
    return deeper(number + 1) + 1


deeper(0)
print("over")
