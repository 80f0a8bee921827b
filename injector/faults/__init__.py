"""Fault models: the ways in which a stored value goes wrong. One file each; `MODELS` holds those that ship."""

from __future__ import annotations

from injector.faults.bit_flip import BitFlip
from injector.faults.boolean_invert import BooleanInvert
from injector.faults.byte_flip import ByteFlip
from injector.faults.drop import Drop
from injector.faults.model import Change, FaultModel, Parameters, Registry, Scope
from injector.faults.value_set import ValueSet

__all__ = ["MODELS", "Change", "FaultModel", "Parameters", "Registry", "Scope"]

MODELS = Registry((BitFlip(), ValueSet(), BooleanInvert(), ByteFlip(), Drop()))
