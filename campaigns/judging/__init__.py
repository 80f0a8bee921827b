"""What came of a run: verdicts, and what can be drawn from many.

bench       judges experiments as they come, against the golden runs so far
rejudging   judges a stored run again, by a process for each core (rejudging_worker)
agreement   how stable a verdict is                   comparison   two runs side by side
statistics  shares and their intervals                gate         a run held against a policy (gate_policy)
"""
