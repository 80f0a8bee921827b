# A router and a host behind it, each a network namespace on this machine; runs the given command on the host.
# The router knows no way to 10.99.0.0/16 and says so at once. Run with: unshare --user --map-root-user --net --fork --pid
set -e
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
unshare --net sleep 30 &
host=$!
while [ "$(readlink /proc/$host/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add inner type veth peer name eth0
ip link set eth0 netns $host
ip addr add 172.30.9.1/24 dev inner
ip link set inner up
on_host() { nsenter --net=/proc/$host/ns/net -- "$@"; }
on_host ip link set lo up
on_host ip addr add 172.30.9.2/24 dev eth0
on_host ip link set eth0 up
on_host ip route add default via 172.30.9.1
on_host "$@"
kill $host
