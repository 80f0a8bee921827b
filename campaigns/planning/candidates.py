"""Every fault that could be planned: each site with each variant of the generation rules that does something there.

What is decided here is decided by what the recording says of a field's value, in few steps for each fault, since there
are tens of thousands. What a fault does to the bytes is tried only for those that are drawn (campaigns.planning.draw).
Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from campaigns.planning.generation import (
    BYTE_FLIPS,
    ENCODING,
    FAMILIES,
    FIELD_VARIANTS,
    MESSAGE_VARIANTS,
    Variant,
    never,
)
from campaigns.planning.sites import Asked, Leaf, LeftOut, Site, Traffic
from injector.codec import integer_range
from injector.roles import role_of
from injector.rules import JSONValue
from injector.targets import Channel, Target

__all__ = ["MESSAGE", "Candidate", "Wanted", "candidates"]

MESSAGE = "message"
"""In place of a field's role, where a fault is done to the whole."""

Wanted = Callable[[str, str, str], bool]
"""(kind, role, path) of a field, or (kind, MESSAGE, "") of a whole: whether it is to be looked at."""

_FLIP_WITHIN = 0.9
"""Of a message's bytes: the n-th message is a few bytes longer or shorter from run to run."""
_TYPE_META = ("kind", "apiVersion")
_RANGE = "etcd is asked for them only when kube-apiserver starts: a fault in a Range needs a restart (`reread`)"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One fault that could be planned."""

    site: Site
    model: str
    parameters: Mapping[str, JSONValue]
    words: str
    role: str

    @property
    def family(self) -> str:
        return FAMILIES.get(self.model, self.model)

    @property
    def content(self) -> str:
        """What it is, as text that no other candidate of the workload shares."""
        site, who = self.site, self.site.subject
        told = [
            site.channel.value, who.kind, who.group, who.identity, who.operation, who.component, site.occurrence,
            site.path, self.model, dict(sorted(self.parameters.items())),
        ]  # fmt: skip
        return json.dumps(told, separators=(",", ":"), ensure_ascii=False)

    @property
    def sentence(self) -> str:
        """What is done to what, for a reader."""
        site, who = self.site, self.site.subject
        if site.channel.at_rest:
            met = f"{who.identity}, stored"
        else:
            of = f" of {who.component}" if who.component else ""
            met = f"{who.identity}, {who.operation or 'write'} {site.occurrence}{of}"
        return f"{met}: {f'{site.path} {self.words}' if site.path else f'it {self.words}'}"

    @property
    def target(self) -> Target:
        site, who = self.site, self.site.subject
        return Target(
            kind=who.kind,
            group=who.group,
            identity=who.identity,
            field=site.path or None,
            operation=who.operation or None,
            component=who.component,
            occurrence=site.occurrence,
        )


def candidates(
    traffic: Traffic,
    channel: Channel,
    models: Collection[str],
    *,
    seed: int,
    left_out: LeftOut,
    asked: Asked,
    wanted: Wanted,
) -> Iterator[Candidate]:
    """All of a channel, in the order of its sites, of the subjects that are `asked` for and the fields that are
    `wanted`."""
    making = _Making(traffic, channel, models, seed, left_out, wanted)
    for site in traffic.sites(channel, left_out, asked):
        if site.leaf is not None:
            yield from making.of_field(site, site.leaf)
        elif wanted(site.subject.kind, MESSAGE, ""):
            yield from making.of_message(site)
    if channel is Channel.ETCD_TO_APISERVER:
        left_out.note(channel, _RANGE, sum(stored.idle and asked(stored.subject) for stored in traffic.stored()))


@dataclass(frozen=True)
class _Making:
    traffic: Traffic
    channel: Channel
    models: Collection[str]
    seed: int
    left_out: LeftOut
    wanted: Wanted

    @cached_property
    def _whole(self) -> tuple[Variant, ...]:
        return tuple(variant for variant in MESSAGE_VARIANTS if variant.model in self.models)

    def of_field(self, site: Site, leaf: Leaf) -> Iterator[Candidate]:
        role = role_of(site.subject.kind, leaf.path).value
        if not self.wanted(site.subject.kind, role, leaf.path):
            return
        if leaf.path in _TYPE_META:
            self.left_out.note(self.channel, "kind and apiVersion of objects in JSON, which are no fields in protobuf")
            return
        if "$" in leaf.path:
            self.left_out.note(self.channel, "directives of patches, which are no fields")
            return
        for variant in FIELD_VARIANTS.get(leaf.type, ()):
            if variant.model not in self.models:
                continue
            parameters = self._other(site, leaf) if variant.other else variant.parameters
            if parameters is None:
                continue
            if why := _does_nothing(variant, leaf, site.varying):
                self.left_out.note(self.channel, why)
                continue
            yield Candidate(site, variant.model, parameters, variant.words, role)

    def of_message(self, site: Site) -> Iterator[Candidate]:
        for variant in self._whole:
            parameters = variant.parameters
            if why := never(variant.model, self.channel, site.operation, parameters.get("told")):
                self.left_out.note(self.channel, f"{variant.model}: {why}")
            elif variant.model == "wrong-key":
                other = self._other_object(site)
                if other is not None and site.value is not None:
                    yield Candidate(site, variant.model, {"identity": other}, variant.words, MESSAGE)
            elif variant.model == "stale" and (site.before is None or site.before == site.value or site.value is None):
                continue
            elif site.value is not None or variant.model != "truncate":
                yield Candidate(site, variant.model, parameters, variant.words, MESSAGE)
        if ENCODING in self.models and site.value is not None:
            yield from self._flips(site)

    def _flips(self, site: Site) -> Iterator[Candidate]:
        """Bits of the object's own bytes, at random; the seed and what the message is fix which."""
        assert site.value is not None
        size = max(1, int((site.value.size - _ENVELOPE_BYTES) * _FLIP_WITHIN))
        for number in range(BYTE_FLIPS):
            who = [self.seed, self.channel.value, *site.subject, site.occurrence, number]
            digest = hashlib.sha256(json.dumps(who).encode()).digest()
            offset, bit = int.from_bytes(digest[:8], "big") % size, digest[8] % 8
            words = f"has bit {bit} of byte {offset} flipped in its encoding"
            yield Candidate(site, ENCODING, {"part": "raw", "offset": offset, "bit": bit}, words, MESSAGE)

    def _other_object(self, site: Site) -> str | None:
        """Another object of that kind that is there all the time."""
        who = site.subject
        known = self.traffic.others.get((who.kind, who.group), ())
        return next((identity for identity, _ in known if identity != who.identity), None)

    def _other(self, site: Site, leaf: Leaf) -> dict[str, JSONValue] | None:
        """Another object's value of the same field, if one has another. It is named by its object: a value such as a
        UID is another one in each cluster."""
        who = site.subject
        if not leaf.told:
            return None
        for identity, leaves in self.traffic.others.get((who.kind, who.group), ()):
            found = leaves.get(leaf.path)
            if identity == who.identity or found is None or found.type != leaf.type or found.value == leaf.value:
                continue
            if not site.varying or found.value not in site.varying:  # else they may be the same in some run
                return {"object": identity}
        return None


_ENVELOPE_BYTES = 40
"""At most, of a stored object: its kind and version stand before it. `raw` begins behind them."""


def _does_nothing(variant: Variant, leaf: Leaf, varying: tuple[JSONValue, ...] | None) -> str | None:
    """Why the variant does nothing to a field that holds that, or may in another run; None if it does something."""
    wanted = _wanted(variant, leaf.type)
    if wanted is not None:
        if leaf.told and _same(leaf.value, wanted):
            return "wrong values that the field has already"
        if varying and any(_same(value, wanted) for value in varying):
            return "wrong values that the field has in some of the runs"
    if leaf.type in ("string", "bytes") and variant.model in ("bit-flip", "truncate"):
        size = len(leaf.value) if isinstance(leaf.value, str) else 2
        if not size or "" in (varying or ()):
            return "bits of texts that are empty"
        if size == 1 and variant.parameters.get("character") == "middle":
            return "middle characters of texts that have one"
    return None


def _wanted(variant: Variant, kind: str) -> JSONValue:
    """The value that an extreme stands for."""
    limits = integer_range(kind)
    match variant.parameters.get("extreme"):
        case "zero":
            return 0
        case "minus-one":
            return -1
        case "empty":
            return ""
        case "max" if limits is not None:
            return limits[1]
    return None


def _same(value: JSONValue, wanted: JSONValue) -> bool:
    return value == wanted and not isinstance(value, bool)
