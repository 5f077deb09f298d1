# tries: becomes another program again and again
# limits: time=1s
# expect: reason=timeout
trap '' TERM INT HUP
echo 'exec bash /tmp/loop' >/tmp/loop
exec bash /tmp/loop
