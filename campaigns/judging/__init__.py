"""What came of a run: verdicts, and what can be drawn from many.

bench       judges experiments as they come           suspects    what a golden run casts doubt on
rejudging   judges a stored run again                 workers     a process for each core that reads a run
aftermath   what became of a fault, from traces       spreading   the same, added up over a run
agreement   how stable a verdict is                   comparison  two runs side by side
shares      failures by what was hit                  statistics  shares and their intervals
gate        a run held against a policy (gate_policy)
"""
