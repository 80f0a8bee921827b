"""A real Kubernetes as plain processes in one user, network, pid and mount namespace. No root, no Docker.

isolation    the namespaces and mounts themselves (system calls)
launch       a stdlib-only exec wrapper that puts one process into a node's namespaces
pki          certificate authority, certificates, kubeconfigs
processes    one process: start, wait, pause, kill, its last log lines
components   the command line of every component, kubeadm's defaults and what `profile: fast` changes
network      bridge, nodes' network namespaces, pods' links, routes between podCIDRs
cri/         the container runtime that the kubelets talk to: pods are namespaces, containers local processes
cluster      all of that put together, from inside the namespace
reset        the key space rolled back in place, and the proof of it
outside      what a person's process holds: launch, find, enter, end and reap a sandbox
"""
