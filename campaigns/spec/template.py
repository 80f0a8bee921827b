"""A commented campaign spec for a beginner to edit, made from the models: every key with its meaning and its default.

The values come from a document (a preset's, or the starter's); keys that it does not have are there, too, commented out
with their defaults. A key that is added to the models appears by itself. In the text, words are comments (`# such`),
and a key that is commented out has no blank behind the `#` (`#golden: 20`).
"""

from __future__ import annotations

import re
import textwrap
import typing
from collections.abc import Iterator, Mapping

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from campaigns.spec.campaign_spec import CampaignSpec, load_preset
from injector.rules import JSONValue

__all__ = ["STARTER", "spec_template"]

STARTER = """\
name: my-campaign
workloads: [deploy]
golden: 20
seed: 1
faults:
  - why: A Service whose selector names another value, as after a typing error in a manifest, has no endpoints
    channel: apiserver-to-etcd
    model: value-set
    parameters: {value: wax}
    target: {kind: Service, identity: Service/default/web, field: "spec.selector[app]"}
  - why: A pod that was acknowledged and lost is waited for by its ReplicaSet
    channel: apiserver-to-etcd
    model: drop
    parameters: {told: success}
    target: {kind: Pod, identity: Pod/default/web#3}
"""
"""Two faults of the quickstart: one on a field, one on a message."""

_HEADER = """\
# A campaign: which cluster, which workloads, which faults on which targets. Run it: mutineer run {file}
# A line that begins with #KEY says what holds without it: take the # away (and that of the keys it stands under) and
# change it. Editors complete the keys with `mutineer schema spec`; `mutineer faults list`, `mutineer fields KIND` and
# docs/targets.md tell what can be done to what.
"""

_WORDS = {
    "name": "Of the campaign; its runs are named after it",
    "cluster": "What the experiments run on",
    "workloads": "What the cluster is asked to do while the fault goes in",
    "faults": "What is done, one at a time, each on a clean cluster",
    "faults.channel": "Where the fault enters",
}
"""Of keys about which their models say nothing, or only how they are spelt."""

_WIDTH = 118


def spec_template(*, preset: str | None = None, file: str = "campaign.yaml") -> str:
    """The text. `preset`: whose values it has (None: the starter's). `file`: what it is going to be called. InputError
    if there is no such preset."""
    text = STARTER if preset is None else load_preset(preset)[1]
    document, blocks = yaml.safe_load(text), _blocks(text)
    parts = [_HEADER.format(file=file)]
    for inner, info in CampaignSpec.model_fields.items():
        name = info.alias or inner
        block = None if _nested_model(info.annotation) else blocks.get(name)
        parts.append("\n".join(_key(name, info, name, document, block=block)) + "\n")
    return "\n".join(parts)


def _blocks(text: str) -> dict[str, str]:
    """The text of each top-level key, with the comments in it."""
    found = list(re.finditer(r"^([A-Za-z_]+):", text, re.MULTILINE))
    ends = [*(each.start() for each in found[1:]), len(text)]
    return {each[1]: text[each.start() : end].rstrip() for each, end in zip(found, ends, strict=True)}


def _key(
    name: str,
    info: FieldInfo,
    path: str,
    document: Mapping[str, JSONValue],
    *,
    block: str | None = None,
    indent: str = "",
) -> Iterator[str]:
    """The lines of one key: what it means, then its value in `document` (or `block`, its text there), or its default
    commented out."""
    given = name in document
    value = document[name] if given else _default(info)
    mark = indent if given else f"{indent}#"
    yield from _comment(_meaning(info, path) + ("" if given or not info.is_required() else " (required)"), indent)
    model = _nested_model(info.annotation)
    if model is not None and (isinstance(value, dict) or not given):
        yield f"{mark}{name}:"
        inside = value if given and isinstance(value, dict) else {}
        for inner, each in model.model_fields.items():
            yield from _key(each.alias or inner, each, f"{path}.{inner}", inside, indent=f"{indent}  ")
        return
    for listed in _models(info.annotation):
        yield from _comment("Keys of each:", indent)
        yield from _reference(listed, path, indent, depth=1)
    yield block if block is not None else f"{mark}{name}: {_flow(value)}"


def _reference(model: type[BaseModel], path: str, indent: str, *, depth: int) -> Iterator[str]:
    """The keys of what stands in a list or mapping, as comments."""
    for inner, info in model.model_fields.items():
        name, nested = info.alias or inner, _nested_model(info.annotation)
        default = _default(info)
        said = "required" if info.is_required() else "optional" if default is None else f"default {_flow(default)}"
        told = f"{'  ' * depth}{name}: {_meaning(info, f'{path}.{name}')}"
        yield from _comment(f"{told} ({said})" + (":" if nested else ""), indent)
        if nested is not None:
            yield from _reference(nested, f"{path}.{name}", indent, depth=depth + 1)


def _meaning(info: FieldInfo, path: str) -> str:
    """What is said of a key: here, in its description, or in the first sentence about the model that stands there."""
    words = ". ".join(filter(None, (_WORDS.get(path), info.description)))
    if not words and (models := _models(info.annotation)):
        words = re.split(r"\.(?:\s|$)", models[0].__doc__ or "")[0]
    choices = _choices(info.annotation)
    told = all(re.search(rf"\b{re.escape(choice)}\b", words) for choice in choices)
    return " ".join(words.split()) + ("" if told else f" [{' | '.join(choices)}]")


def _default(info: FieldInfo) -> JSONValue:
    if info.is_required():
        return None
    value = info.get_default(call_default_factory=True)
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _models(annotation: object) -> list[type[BaseModel]]:
    """Every model in a type, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return list(dict.fromkeys(found for each in typing.get_args(annotation) for found in _models(each)))


def _nested_model(annotation: object) -> type[BaseModel] | None:
    """The model of a key whose value is that model (or null), and no list or mapping of it."""
    if typing.get_origin(annotation) in (list, dict, tuple):
        return None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    others = [each for each in typing.get_args(annotation) if each is not type(None)]
    return _nested_model(others[0]) if len(others) == 1 else None


def _choices(annotation: object) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(each) for each in typing.get_args(annotation)]
    if _models(annotation) or typing.get_origin(annotation) is dict:
        return []
    return [found for each in typing.get_args(annotation) for found in _choices(each)]


def _flow(value: JSONValue) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, sort_keys=False, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _comment(words: str, indent: str) -> Iterator[str]:
    """Wrapped; where the words are indented, what follows in other lines a little more."""
    depth = len(words) - len(words.lstrip())
    first = f"{indent}# {' ' * depth}"
    yield from textwrap.wrap(
        words.lstrip(),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=f"{first}  " if depth else first,
        break_on_hyphens=False,
        break_long_words=False,
    )
