// A second decoder and encoder of stored objects: Kubernetes' own, over k8s.io/api's types. For tests only.
//
// stdin:  values, each with its length in front (4 bytes, big endian)
// stdout: one line of JSON a value: {"json": the object, "bytes": stored again, in base64} or {"error": in words}
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"log"
	"os"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistrationv1beta1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1beta1"
)

type answer struct {
	JSON  runtime.Object `json:"json,omitempty"`
	Bytes []byte         `json:"bytes,omitempty"`
	Error string         `json:"error,omitempty"`
}

func answered(serializer *protobuf.Serializer, value []byte) answer {
	object, kind, err := serializer.Decode(value, nil, nil)
	if err != nil {
		return answer{Error: err.Error()}
	}
	object.GetObjectKind().SetGroupVersionKind(*kind)
	var stored bytes.Buffer
	if err := serializer.Encode(object, &stored); err != nil {
		return answer{Error: err.Error()}
	}
	return answer{JSON: object, Bytes: stored.Bytes()}
}

func main() {
	for _, add := range []func(*runtime.Scheme) error{
		apiextensionsv1.AddToScheme, apiextensionsv1beta1.AddToScheme,
		apiregistrationv1.AddToScheme, apiregistrationv1beta1.AddToScheme,
	} {
		if err := add(scheme.Scheme); err != nil {
			log.Fatal(err)
		}
	}
	serializer := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	lines := json.NewEncoder(out)
	for {
		var length uint32
		if err := binary.Read(in, binary.BigEndian, &length); err == io.EOF {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		value := make([]byte, length)
		if _, err := io.ReadFull(in, value); err != nil {
			log.Fatal(err)
		}
		line := answered(serializer, value)
		if err := lines.Encode(line); err != nil { // JSON that can't be written: what stands in raw JSON is none
			if err := lines.Encode(answer{Error: err.Error()}); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}
