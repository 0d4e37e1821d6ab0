#!/bin/sh
# In a network namespace of its own: sh broadcast.sh NAMESERVER PYTHON. A name server on all addresses answers a true broadcast
# with the address that the asker reaches it at. Status 77: the namespace cannot be made ready.
ip link set lo up && ip link add here type veth peer name there && ip addr add 10.99.0.1/24 brd + dev here &&
    ip link set here up && ip link set there up && ip route add default dev here || exit 77
: >ready
"$1" -l 0.0.0.0:9090 --insecure-bind --store memory --discovery 0.0.0.0:9091 --log error >>ready &
server=$!
trap 'kill $server' EXIT
while ! grep -q ready ready; do sleep 0.05; done
"$2" "$(dirname "$0")/discovery.py" '<broadcast>' 9091 PYRO:Pyro.NameServer@10.99.0.1:9090
