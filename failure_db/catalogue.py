"""The catalogue of real-world incidents: one YAML file each in `failure_db/incidents/`, read and checked here.

Adding an incident is adding `failure_db/incidents/ID.yaml`; nothing else has to be touched. Every fact is told in our
own words, never copied from the source. The file is one mapping; unknown and repeated keys are refused.

    key             value
    id              the file's name without .yaml: lower-case words and digits joined by "-"
    title           one line: what happened
    organisation    who had it (or who reported it, in brackets)
    year            of the report, or of the comment that tells it
    url             the source, http or https
    source_kind     issue, postmortem, blog or talk
    involved        list of free words: components, products, concepts
    impact          what it did to users and cluster, one sentence
    fault           \\
    error            } words of failure_db.taxonomy: what went wrong first, what was wrong because of it,
    client_impact   /  what the services' clients saw ("unknown" where the source does not tell)
    failure         list of one or more of the verdict's orchestrator classes, without "none"
    objects         list of Kubernetes kinds whose state was wrong, "*" for any kind; may be empty
    objects_note    optional: what `objects` can't say ("Pod (static etcd)")
    fields          list of field paths as in a fault's target, `[]` for any item and `[key]` for one key of a map
                    (`spec.podCIDR`, `subsets[].addresses`, `data[Corefile]`), "*" for any field; may be empty. Fields
                    are those of the kinds in `objects`; which belongs to which is not told
    fields_note     optional: what `fields` can't say ("status.conditions (raw bytes)")
    whole_object    optional: what was wrong with the object as a whole: deleted, present, too-many or unreadable
    replicable      "yes", "partly" or "no": can a wrong value in stored state bring the failure back
    replicable_why  the reason for that
    confidence      high, medium or low: how sure the classification is
    evidence        what was read, and what it shows

Where `evidence` says that the page was not read, only the title, involved and impact lines of the curated list
hjacobs/kubernetes-failure-stories (92a9584) support the entry. The classes, `objects`, `fields`, `whole_object` and
`replicable` are our judgement, not statements of the sources.

History of the format: 1 (first).

Nothing is cached on disk: all files are read at each `load()`, which libyaml does in about 35 ms for 213 files.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError, field_validator

from classifiers.verdict import OrchestratorFailure
from failure_db.taxonomy import ClientImpact, Confidence, ErrorKind, FaultKind, Replicable, SourceKind, WholeObject
from injector.errors import InputError, Problem

__all__ = ["FOLDER", "Incident", "load"]

FOLDER = Path(__file__).parent / "incidents"

_KIND = r"^(\*|[A-Z][A-Za-z0-9]*)$"
_SEGMENT = r"[A-Za-z][\w-]*(\[[^\[\]]*\])?"
_FIELD_PATH = rf"^(\*|{_SEGMENT}(\.{_SEGMENT})*)$"

Text = Annotated[str, Field(min_length=1)]
Kind = Annotated[str, Field(pattern=_KIND)]
FieldPath = Annotated[str, Field(pattern=_FIELD_PATH)]


class Incident(BaseModel):
    """One incident. The keys are those of the module's docstring."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    title: Text
    organisation: Text
    year: Annotated[StrictInt, Field(ge=2014)]  # Kubernetes' first commit: June 2014
    url: Annotated[str, Field(pattern=r"^https?://[^\s\"<>]+$")]
    source_kind: SourceKind
    involved: tuple[Text, ...]
    impact: Text
    fault: FaultKind
    error: ErrorKind
    failure: Annotated[tuple[OrchestratorFailure, ...], Field(min_length=1)]
    client_impact: ClientImpact
    objects: tuple[Kind, ...]
    objects_note: Text | None = None
    fields: tuple[FieldPath, ...]
    fields_note: Text | None = None
    whole_object: WholeObject | None = None
    replicable: Replicable
    replicable_why: Text
    confidence: Confidence
    evidence: Text

    @field_validator("replicable", mode="before")
    @classmethod
    def _yaml_reads_yes_and_no_as_booleans(cls, value: object) -> object:
        return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value

    @field_validator("failure")
    @classmethod
    def _a_failure_is_not_none(cls, value: tuple[OrchestratorFailure, ...]) -> tuple[OrchestratorFailure, ...]:
        if OrchestratorFailure.NONE in value:
            raise ValueError("an incident without a failure is no incident; 'none' is not allowed here")
        return value

    @field_validator("involved", "failure", "objects", "fields")
    @classmethod
    def _nothing_twice(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"something stands twice in {[str(item) for item in value]}")
        return value


class _Loader(yaml.CSafeLoader):
    """libyaml's safe loader, but a key that stands twice is an error instead of silently losing the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        mapping: dict[Hashable, object] = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return mapping


def load(folder: Path = FOLDER) -> tuple[Incident, ...]:
    """All incidents of a folder, sorted by id. Raises InputError with every problem of every file."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise InputError([Problem(str(folder), "", "expected incident files (*.yaml), found none")])
    problems: list[Problem] = []
    incidents = [incident for file in files for incident in _read(file, problems)]
    problems.extend(_duplicates(incidents))
    if problems:
        raise InputError(problems)
    return tuple(incident for _, incident in sorted(incidents, key=lambda pair: pair[1].id))


def _read(file: Path, problems: list[Problem]) -> Iterable[tuple[Path, Incident]]:
    """The incident of one file, or nothing and its problems added to the list."""
    try:
        with file.open("rb") as stream:
            content = yaml.load(stream, Loader=_Loader)  # noqa: S506  # a subclass of the safe loader
        incident = Incident.model_validate(content)
    except yaml.YAMLError as error:
        problems.append(Problem(str(file), "", " ".join(str(error).split())))
        return []
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(str(file), "", f"can't be read: {error}"))
        return []
    except ValidationError as error:
        problems.extend(_problem(str(file), detail["loc"], detail["msg"], detail["input"]) for detail in error.errors())
        return []
    if incident.id != file.stem:
        problems.append(Problem(str(file), "id", f"expected the file's name {file.stem!r}, got {incident.id!r}"))
    return [(file, incident)]


def _problem(file: str, where: tuple[int | str, ...], message: str, got: object) -> Problem:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where).lstrip(".")
    shown = "" if isinstance(got, dict) else f", got {got!r}"
    return Problem(file, path, f"{message}{shown}")


def _duplicates(incidents: Iterable[tuple[Path, Incident]]) -> Iterable[Problem]:
    first: dict[str, Path] = {}
    for file, incident in incidents:
        if incident.id in first:
            yield Problem(str(file), "id", f"{incident.id!r} is already the id of {first[incident.id].name}")
        first.setdefault(incident.id, file)
