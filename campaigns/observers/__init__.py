"""What is looked at while an experiment runs. Observers are blind in words, never silently (docs/observers.md).

observer    what an observer is
volatile    the keys that change by the clock, with a reason each
history     every write of etcd since r0, by watch; and the stored state that follows from it
trace, events, system   from the history: every value, objects of kind Event, kube-system's workloads as components
probes      one thread a node that goes all paths 20 times a second; paths: where they go; asking, dns: how
components  each component over time
metrics, logs           what components tell of themselves: numbers, error lines, the audit log
canary      a new Deployment and Service that must come to life at the end
"""
