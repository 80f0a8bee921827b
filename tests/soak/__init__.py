"""The long robustness runs: `python -m tests.soak` (or `make soak`). Small versions are in tests/sandbox.

leftovers   what a campaign had on the machine, and what of it is still there
victims     which processes are killed
campaign    one campaign of golden runs as a person starts it, in folders of its own
kept        one sandbox in the background, likewise
rounds      one round of each kind: kill, golden, interrupt, kept
churn       an hour of the life of Deployments, and whether anything grows
million     a Deployment that asks for a million pods, and whether the machine holds
state       what was done so far, and the pages below docs/soak
"""
