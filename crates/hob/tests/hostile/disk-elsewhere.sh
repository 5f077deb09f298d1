# tries: writes where it has no folder of its own
# limits: time=10s
# expect: reason=ok
# expect-output: done
for folder in / /bin /usr /usr/bin /lib /etc /var /var/tmp /run /home /root /dev /sys /proc /opt /srv /mnt; do
    if echo x 2>/dev/null >"$folder/hostile"; then echo "BROKEN: writes to $folder"; fi
done
for file in /usr/bin/sh /usr/bin/env /etc/passwd /etc/hosts /etc/resolv.conf /etc/ld.so.cache /usr/lib/os-release; do
    if [ -e "$file" ] && : 2>/dev/null >>"$file"; then echo "BROKEN: opens $file"; fi
done
echo done
