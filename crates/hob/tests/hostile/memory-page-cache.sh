# tries: reads more files than it may have memory
# limits: time=10s memory=32Mi
# expect: reason=ok gvisor=ok|memory|timeout
# last-words: done
find /usr/lib /usr/share -xdev -type f -size +200k 2>/dev/null | head -n 40 | xargs -r cat >/dev/null 2>&1
echo done
