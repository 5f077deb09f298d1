# tries: writes to stderr without end
# limits: time=10s output=1Mi
# expect: reason=output
# expect-output: "flood\nflood\n"
exec yes flood >&2
