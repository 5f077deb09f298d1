# tries: the same by the programs that are there for it
# limits: time=10s
# expect: reason=ok code=0
# gvisor-allows: unshare
# gvisor-allows: mknod
# gvisor-allows: renice
# expect-output: done
broken() { echo "BROKEN: $*"; }
unshare -U true 2>/dev/null && broken unshare -U
unshare -Ur true 2>/dev/null && broken unshare -Ur
unshare -m true 2>/dev/null && broken unshare -m
unshare -Urmpnf --mount-proc true 2>/dev/null && broken unshare all
nsenter -t 1 -m true 2>/dev/null && broken nsenter
chroot /tmp true 2>/dev/null && broken chroot
mkdir -p /tmp/m
mount -t tmpfs none /tmp/m 2>/dev/null && broken mount
mount --bind / /tmp/m 2>/dev/null && broken mount --bind
umount /proc 2>/dev/null && broken umount
bwrap --bind / / true 2>/dev/null && broken bwrap
hostname hostile 2>/dev/null && broken hostname
date -s '2001-01-01' >/dev/null 2>&1 && broken date
swapoff -a 2>/dev/null && [ -s /proc/swaps ] && [ "$(wc -l </proc/swaps)" -gt 1 ] && broken swapoff
modprobe dummy 2>/dev/null && broken modprobe
mknod /tmp/null c 1 3 2>/dev/null && broken mknod
mknod /tmp/disk b 8 0 2>/dev/null && broken mknod
ip link add hostile type dummy 2>/dev/null && broken ip link add
renice -n -5 $$ >/dev/null 2>&1 && broken renice
echo done
