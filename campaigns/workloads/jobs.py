"""Workloads `job` and `cronjob`: pods that end. Nothing serves, so no client probes."""

from __future__ import annotations

from typing import Any

from campaigns.workloads.goals import Condition
from campaigns.workloads.steps import Create, ObjectName, Patch, PatchType
from campaigns.workloads.workload import Workload

__all__ = ["CRONJOB", "JOB"]

_COMPLETIONS, _AT_ONCE = 6, 3


def _job_spec(*, completions: int, at_once: int) -> dict[str, Any]:
    container = {
        "name": "work",
        "image": "mutineer/web:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "0.5"],
    }
    return {
        "completions": completions,
        "parallelism": at_once,
        "backoffLimit": 3,
        "template": {
            "metadata": {"labels": {"app": "report"}},
            "spec": {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]},
        },
    }


JOB = Workload(
    name="job",
    summary=f"A Job runs {_COMPLETIONS} pods to completion, {_AT_ONCE} at a time",
    steps=(
        Create(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "report", "namespace": "default", "labels": {"app": "report"}},
                "spec": _job_spec(completions=_COMPLETIONS, at_once=_AT_ONCE),
            }
        ),
    ),
    done=(Condition("Job/default/report Complete"),),
    wanted_pods=_COMPLETIONS,
)

_CRONJOB = ObjectName("batch/v1", "CronJob", "default", "report")

CRONJOB = Workload(
    name="cronjob",
    summary="A suspended CronJob that has missed its run is resumed, and makes up for it",
    prepare=(
        Create(
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {"name": "report", "namespace": "default", "labels": {"app": "report"}},
                "spec": {
                    "schedule": "@yearly",
                    "suspend": True,
                    "jobTemplate": {"spec": _job_spec(completions=1, at_once=1)},
                },
            }
        ),
        # as if it had been there for long: it counts the runs that it has missed from its last one on
        Patch(
            _CRONJOB,
            {"status": {"lastScheduleTime": "2024-01-01T00:00:00Z"}},
            PatchType.MERGE,
            "status",
            "last run in 2024",
        ),
    ),
    ready=(Condition(f"{_CRONJOB} exists"),),
    steps=(Patch(_CRONJOB, {"spec": {"suspend": False}}, PatchType.MERGE, why="resume"),),
    done=(Condition("Job/default/report#1 Complete"),),
    wanted_pods=1,
)
