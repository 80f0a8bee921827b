"""The long robustness runs: `python -m tests.soak` (or `make soak`). Small versions are in tests/sandbox.

leftovers   what a campaign had on the machine, and what of it is still there
campaign    one campaign of golden runs as a person starts it, in folders of its own
rounds      one round of each kind: kill, golden, interrupt
state       what was done so far, and the pages below docs/soak
"""
