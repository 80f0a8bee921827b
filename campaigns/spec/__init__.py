"""What a person asks for, read and checked as a whole: nothing starts before every problem is told.

campaign_spec   the file: CampaignSpec, its presets, its JSON schema
cluster_spec    `cluster:`, also a file of its own        sample_spec   `sample:`
policies        `stop:` and `confirm:`                    fault_checks  what must fit together in a fault
yaml_input      YAML, safely, with every problem located  problems      pydantic's errors in our words
template        the commented spec of `mutineer init`
"""
