"""From a spec and recordings to a list of experiments: the same on any machine. Pure, but for reading recordings.

plan        the campaign made concrete                recording  what passes in a workload's golden runs: a file
recordings_found   those that ship or were made here  recording_runs   makes one
sites       where a fault can be put                  generation       which faults there are for a site
candidates  every fault that could be planned         strata, draw     the sample
preview     what a rule will hit, as recorded
"""
