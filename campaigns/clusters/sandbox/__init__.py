"""A real Kubernetes as plain processes in one user, network, pid and mount namespace. No root, no Docker.

outside, namespaces     what a person's process holds: launch, find, enter, end and reap a sandbox
keeper, control, doorway    a sandbox in the background: its first process, its socket, its port on the host's loopback
cluster                 all of it put together, from inside: boot, faults, baseline, rollback, end
components              every command line: kubeadm's defaults, what `profile: fast` changes, every deviation
credentials, pki        certificates and kubeconfigs
nodes, roots, network, addresses, launch    what a node is made of
manifests/, furniture   what is created through the API: networking as workloads, and what else real clusters have
cri/                    the container runtime that the kubelets talk to
processes, health, guard, reset    one process; how everything is; the host's guard; clean again, with the proof
isolation               namespaces and mounts themselves (system calls)
"""
