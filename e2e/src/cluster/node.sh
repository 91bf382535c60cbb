# The first process of a node, in mount and network namespaces of its own: sets both up, then only reaps.
# node.sh FOLDER ADDRESS SERVICES HOST
set -eu
folder=$1 address=$2 services=$3 host=$4

mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lock
mount --bind "$folder/kubelet" /var/lib/kubelet
mount --bind "$folder/cni/state" /var/lib/cni
mount --bind "$folder/log" /var/log

ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
# Redirects would teach pods shortcuts past the node that a test may cut.
for c in all default; do echo 0 >/proc/sys/net/ipv4/conf/$c/send_redirects; done
# Pods of one node meet on a bridge; their traffic to services must pass the node's rules.
[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
ip link add br0 type bridge
ip addr add "$address/24" dev br0
ip link set br0 up
ip route add "$services" dev br0

# Pods may not open connections to the host: its own services are none of their business.
nft "add table ip guard
     add chain ip guard forward { type filter hook forward priority -10; }
     add rule ip guard forward ip daddr $host ct state new drop"

touch "$folder/ready"
set +e
trap : TERM INT HUP
while :; do sleep 3600 & wait $!; done
