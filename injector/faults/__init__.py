"""Fault models: the ways in which a stored value goes wrong. One file each; `MODELS` holds those that ship."""

from __future__ import annotations

from injector.faults.bit_flip import BitFlip
from injector.faults.boolean_invert import BooleanInvert
from injector.faults.byte_flip import ByteFlip
from injector.faults.delay import Delay
from injector.faults.drop import Drop
from injector.faults.duplicate import Duplicate
from injector.faults.field_remove import FieldRemove
from injector.faults.model import ALONE, Cause, Change, FaultModel, Origin, Parameters, Registry, Scope, Surroundings
from injector.faults.reorder import Reorder
from injector.faults.stale import Stale
from injector.faults.truncate import Truncate
from injector.faults.value_set import ValueSet
from injector.faults.wrong_key import WrongKey

__all__ = [
    "ALONE",
    "MODELS",
    "Cause",
    "Change",
    "FaultModel",
    "Origin",
    "Parameters",
    "Registry",
    "Scope",
    "Surroundings",
]

MODELS = Registry(
    (
        BitFlip(),
        ValueSet(),
        BooleanInvert(),
        FieldRemove(),
        ByteFlip(),
        Truncate(),
        Drop(),
        Delay(),
        Duplicate(),
        Reorder(),
        Stale(),
        WrongKey(),
    )
)
