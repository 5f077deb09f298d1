# tries: becomes another program again and again
# limits: time=1s
# expect: reason=timeout
trap '' TERM INT HUP
exec bash "$0" "$@"
