#!/bin/busybox sh
# The guest's first process: puts the host's files, read-only, under an overlay in memory, with
# fresh folders where a system has its own, and goes on as supervise.sh in there.
B=/bin/busybox
fail() {
  echo "lessor-vm: $*"
  $B reboot -f
}

$B mount -t proc proc /proc || fail 'no /proc'
$B mount -t sysfs sys /sys || fail 'no /sys'
# The kernel may have mounted it already.
[ -e /dev/null ] || $B mount -t devtmpfs dev /dev || fail 'no /dev'

v9fs=trans=virtio,version=9p2000.L,msize=512000
$B mount -t 9p -o ro,cache=loose,$v9fs host /host || fail "the host's files did not come"
$B mount -t 9p -o $v9fs share /share || fail 'the folder for results did not come'
$B mount -t tmpfs -o size=75% layer /layer && $B mkdir /layer/upper /layer/work
$B mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /new ||
  fail 'no overlay'
$B mount --bind /new /all || fail 'no second way to the overlay'

for folder in /proc /sys /dev; do
  $B mount --move $folder /new$folder || fail "$folder did not move"
done
for folder in /tmp /run /dev/shm; do
  $B mkdir -p /new$folder
  $B mount -t tmpfs -o mode=1777 fresh /new$folder || fail "no fresh $folder"
done
$B chmod 755 /new/run
$B mkdir -p /new/dev/pts /new/dev/hugepages
$B mount -t devpts -o ptmxmode=666 devpts /new/dev/pts || fail 'no terminals'
$B mount -t hugetlbfs huge /new/dev/hugepages || fail 'no huge pages'
$B mount -t debugfs debug /new/sys/kernel/debug || fail 'no debugfs'
$B mount -t cgroup2 cgroup /new/sys/fs/cgroup || fail 'no control groups'
for link in fd:/proc/self/fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
  $B ln -sf "${link#*:}" "/new/dev/${link%%:*}"
done

# What the command needs and the fresh folders hide.
while IFS= read -r path; do
  $B mkdir -p "/new$path"
  $B mount --bind "/all$path" "/new$path" || fail "$path did not come through"
done </share/keep

$B mkdir -p /new/run/lessor-vm/share
$B cp $B /supervise /new/run/lessor-vm/
$B mount --move /share /new/run/lessor-vm/share || fail 'the folder for results did not move'
$B ip link set lo up
$B hostname lessor-vm
exec $B switch_root /new /run/lessor-vm/busybox sh /run/lessor-vm/supervise
