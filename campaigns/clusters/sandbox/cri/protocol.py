"""The CRI's messages and methods, made from `runtime_v1.binpb` (tools/cri_descriptors.py), with no generated code."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["methods", "new"]

_PACKAGE = "runtime.v1"


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("runtime_v1.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


@cache
def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def new(name: str, /, **fields: Any) -> Any:
    """A new message `runtime.v1.NAME` with `fields` set; protobuf's own errors for unknown names."""
    return _class(name)(**fields)


def methods(service: str) -> dict[str, tuple[Any, Any, bool]]:
    """Method name → (request class, response class, whether the server streams) of `RuntimeService`/`ImageService`."""
    described = _pool().FindServiceByName(f"{_PACKAGE}.{service}")
    return {
        method.name: (_class(method.input_type.name), _class(method.output_type.name), method.server_streaming)
        for method in described.methods
    }
