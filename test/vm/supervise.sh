# The guest's first process from when it has its file systems: runs the command with the console as
# controlling terminal (so that ^C on it interrupts the command), keeps its status, and ends.
B=/run/lessor-vm/busybox
share=/run/lessor-vm/share

# A host that was killed does not end QEMU: no guest outlives its time by much.
read -r seconds <$share/seconds
($B sleep "$seconds" && $B reboot -f) </dev/null >/dev/null 2>&1 &

$B setsid -c /bin/sh $share/start </dev/ttyS0 >>$share/stdout 2>>$share/stderr
echo $? >$share/status.new
$B mv $share/status.new $share/status
$B sync
$B reboot -f
