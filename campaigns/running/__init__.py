"""From a plan to a record, whatever happens meanwhile.

campaign    run, resume, replay                       session      one process's work on a run
executor    the Protocol: tasks in, results out       runner       the Executor of this machine's sandboxes
slots       a place for a sandbox, its watchdog       worker       inside a sandbox: experiment, reset, next
experiment  one experiment on a clean cluster         consumption  what later writes made of a wrong value
end_state   what a workload left when it settled      timing       where an experiment's time went
stopping    when it is enough                         uninterrupted  what Ctrl-C must not cut in two
capacity    how many sandboxes a machine bears        host         the machine and the versions, for the record
"""
