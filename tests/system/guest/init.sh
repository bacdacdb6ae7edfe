#!/bin/sh
# PID 1 of the guest: a copy-on-write view of the host's root, the CAN modules, vcan0, then a command or a real systemd.
# The kernel command line says carnet.scratch= (a host directory we may write) and carnet.modules= (the guest kernel's).
# Scratch holds: command (shell script to run), writable (host directories, one a line), units/ (only with systemd).
# It leaves: output (all the command said) and code (its exit status); no code means that the guest died.
mount -t proc proc /proc
mount -t sysfs sys /sys
for word in $(cat /proc/cmdline); do
    case $word in
        carnet.scratch=*) scratch=${word#*=} ;;
        carnet.modules=*) modules=${word#*=} ;;
    esac
done
insert() {
    if [ -f "$modules/$1.ko" ]; then insmod "$modules/$1.ko"; elif [ -f "$modules/$1.ko.xz" ]; then insmod "$modules/$1.ko.xz"; fi
}

insert fs/overlayfs/overlay
root=/run/root
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p $root /run/upper /run/work
mount -t overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work overlay $root
mount -t devtmpfs dev $root/dev
mount -t tmpfs -o mode=755 tmpfs $root/run
mkdir -p $root/run/tmp $root/run/lock $root/run/user
chmod 1777 $root/run/tmp $root/run/lock
for directory in "$scratch" $(cat "$scratch/writable"); do
    mkdir -p "$root$directory"
    mount -t hostfs -o "$directory" none "$root$directory"
done

for module in net/can/can net/can/can-raw net/can/can-bcm net/can/can-gw drivers/net/can/dev/can-dev \
    drivers/net/can/vcan drivers/net/can/vxcan; do
    insert $module
done
hostname guest
ip link set lo up
ip link add dev vcan0 type vcan
ip link set vcan0 mtu 72
ip link set vcan0 up

if [ ! -d "$scratch/units" ]; then
    mount -t proc proc $root/proc
    mount -t sysfs sys $root/sys
    mkdir -p $root/dev/pts $root/dev/shm
    mount -t devpts devpts $root/dev/pts
    mount -t tmpfs tmpfs $root/dev/shm
    chroot $root /bin/sh "$scratch/command" >"$scratch/output" 2>&1
    echo $? >"$scratch/code"
    poweroff -f
fi

# systemd: none of what the host has enabled, only the journal and the units of the test.
systemd=$root/lib/systemd/system
rm -rf $root/etc/systemd/system $systemd/*.wants "$root/.dockerenv"
mkdir -p $root/run/systemd/system $root/etc/systemd/system $systemd/sockets.target.wants
for unit in systemd-journald.socket systemd-journald-dev-log.socket; do
    ln -s ../$unit $systemd/sockets.target.wants/$unit
done
: >$root/etc/fstab
echo guest >$root/etc/hostname
echo 0123456789abcdef0123456789abcdef >$root/etc/machine-id
mount -t tmpfs -o mode=1777 tmpfs $root/var/tmp
cp -r "$scratch/units/." $root/etc/systemd/system/
cat >$root/run/systemd/system/guest.target <<UNIT
[Unit]
Requires=basic.target
Wants=guest-command.service
UNIT
cat >$root/run/systemd/system/guest-command.service <<UNIT
[Unit]
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
StandardOutput=append:$scratch/output
StandardError=append:$scratch/output
TimeoutStartSec=infinity
ExecStart=/bin/sh -c '/bin/sh $scratch/command; echo \$\$? >$scratch/code'
UNIT
ln -sf guest.target $root/run/systemd/system/default.target
umount /proc /sys
cd $root || exit 1
# Not only chroot: the kernel gives a process whose root is not that of its mounts no user namespace (PrivateUsers=).
mount --move . /
exec chroot . /lib/systemd/systemd --show-status=0 --log-level=warning
