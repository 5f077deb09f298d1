# tries: writes to stdout without end
# limits: time=10s output=1Mi
# expect: reason=output
# expect-output: "flood\nflood\n"
yes flood
