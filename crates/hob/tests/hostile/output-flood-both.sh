# tries: writes to both without end, by processes of other sessions, and ignores that nobody takes it
# limits: time=10s output=512Ki
# expect: reason=output
trap '' PIPE TERM
for number in 1 2 3 4; do
    setsid yes "$number" &
    setsid yes "$number" >&2 &
done
while :; do wait; done
