"""The container runtime of the sandbox: serves the CRI (runtime/v1) to real kubelets.

A pod is a network and an ipc namespace with an address from its node's CNI configuration; a container is a process in
them, with a root, processes and a host name of its own. An image's name is looked up in a small catalogue: a built-in
program or a local command. An image that is not in the catalogue can't be pulled, as it would be.

    service, protocol, requests     the calls; from the kubelet's words to ours
    spawner, confine, spec          the fork server, and what a forked child does before it is a container
    spawning                        the runtime's end of it
    pods, host_ports                a node's pods: namespaces, addresses, ports of the node
    containers, logs                one container: streams, log file in the CRI's format, end, statistics
    images                          image name → program or command
    streaming/                      exec, attach, port-forward
    programs/                       the built-in images, one file each
    in_cluster, https, front_proxy  what those share: the API as seen from a pod, serving TLS, who asks
    host_gw, site, usage            their pure parts: routes, the operator's objects, metrics
    __main__                        one process that serves every node's socket

Not here: limits of CPU and memory (no cgroup is ours), seccomp, image volumes, huge pages, devices.
"""
