"""The tool that draws the field table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.field_table import OUTPUT, build_table, module_dirs, render

PROTO = """
syntax = "proto2";
package k8s.io.api.apps.v1;
// message Commented {
message Box {
  // optional string hidden = 9;
  optional .k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta metadata = 1;

  repeated Side sides = 2;

  map<string, Side> named = 3;

  optional int32 size = 4;
}

message Side {
  optional BoxBase boxBase = 1;

  optional string aPIGroup = 2;

  optional bytes seal = 3;
}

message Words {
  repeated string items = 1;
}
"""
GO = """
type Box struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	Sides []Side `json:"sides" protobuf:"bytes,2,rep,name=sides"`
	Named map[string]Side `json:"named,omitempty" protobuf:"bytes,3,rep,name=named"`
	Size int32 `json:"size,omitempty" protobuf:"varint,4,opt,name=size"`
}

type Side struct {
	BoxBase `json:",inline" protobuf:"bytes,1,opt,name=boxBase"`
	// Group string `json:"wrong" protobuf:"bytes,2,opt,name=aPIGroup"`
	APIGroup *string `json:"apiGroup,omitempty" protobuf:"bytes,2,opt,name=aPIGroup"`
	Seal []byte `json:"seal,omitempty" protobuf:"bytes,3,opt,name=seal"`
}

type Words []string
"""


def test_messages_fields_and_kinds_are_drawn_from_proto_files_and_struct_tags(tmp_path: Path) -> None:
    folder = tmp_path / "apps" / "v1"
    folder.mkdir(parents=True)
    (folder / "generated.proto").write_text(PROTO)
    (folder / "types.go").write_text(GO)
    (folder / "register.go").write_text('const GroupName = "apps"\n&Box{},\n&Words{},\n')
    meta = "k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    table = build_table({"k8s.io/api": ("v1.2.3", tmp_path)})
    assert table == {
        "format": 2,
        "modules": {"k8s.io/api": "v1.2.3"},
        "kinds": {"apps/v1": {"package": "k8s.io.api.apps.v1", "kinds": ["Box"]}},
        "packages": {
            "k8s.io.api.apps.v1": {
                "Box": [
                    [1, "metadata", meta],
                    [2, "sides", "Side", "r"],
                    [3, "named", "map<string,Side>"],
                    [4, "size", "int32", "z"],
                ],
                "Side": [[1, "boxBase", "BoxBase", "i"], [2, "apiGroup", "string", "p"], [3, "seal", "bytes", "zp"]],
                "Words": [[1, "items", "string", "ra"]],
            }
        },
    }
    assert render(table) == render(build_table({"k8s.io/api": ("v1.2.3", tmp_path)}))


def test_the_shipped_table_is_what_the_go_modules_say() -> None:
    try:
        modules = module_dirs()
    except (FileNotFoundError, OSError) as error:
        pytest.skip(f"no Go module cache to compare with: {error}")
    assert OUTPUT.read_text(encoding="utf-8") == render(build_table(modules))
