"""What is looked at while an experiment runs. Observers are blind in words, never silently.

volatile    the keys that change by the clock, with a reason each
history     every write of etcd since r0, by watch; and the stored state that follows from it
trace       the same history with every value, Secrets' withheld
probes      a client per node that asks the Service at 20 Hz
canary      a new Deployment and Service that must come to life at the end
"""
