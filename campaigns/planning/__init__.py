"""The planner: from a recording to the faults of a campaign, sampled by strata. Pure."""
