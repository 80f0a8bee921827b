"""The container runtime of the sandbox: serves the CRI (runtime/v1) to real kubelets.

A pod is a network namespace with an address from its node's podCIDR; a container is a local process in it, looked up
by image name in a small catalogue. An image that is not in the catalogue can't be pulled, as it would be.

    protocol    the CRI's messages, from a descriptor set
    images      image name → local command
    pods        a node's pods: network, addresses, state
    containers  one container: process, log file in the CRI's format, exit code
    service     the calls themselves
    __main__    one process that serves every node's socket

Not here yet: mount namespaces and volumes inside containers, exec, attach, port-forward, images with users.
"""
