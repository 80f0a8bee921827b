"""Compiles the CRI's messages into the descriptor set that the runtime loads: names, numbers and types, no code.

    .venv/bin/python tools/cri_descriptors.py FOLDER_OF_api.proto

The folder is pkg/apis/runtime/v1 of the Go module k8s.io/cri-api at the Kubernetes version of the asset manifest.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

OUTPUT = Path(__file__).parents[1] / "campaigns/clusters/sandbox/cri/runtime_v1.binpb"


def main(folder: str) -> int:
    source = Path(folder) / "api.proto"
    options = [f"-I{folder}", f"--descriptor_set_out={OUTPUT}", "--include_imports"]
    return int(protoc.main(["protoc", *options, str(source)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
