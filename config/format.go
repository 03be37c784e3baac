package config

import (
	"bytes"
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// Format spells a configuration file the usual way: two spaces for each level,
// one between value and comment. Comments, order and meaning stay as they are.
// name is how errors call the file.
func Format(name string, src []byte) ([]byte, error) {
	l := &loader{file: map[*yaml.Node]*source{}}
	s := &source{path: name, valid: true}
	l.sources = append(l.sources, s)
	l.parse(s, src)
	if err := l.finish(); err != nil {
		return nil, err
	}
	if s.root == nil {
		return src, nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e, err := yaml.NewDumper(&b, yaml.WithV4Defaults(), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, err
	}
	if err := e.Dump(&doc); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	var before, after any
	if err := yaml.Unmarshal(src, &before); err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(b.Bytes(), &after); err != nil || !reflect.DeepEqual(before, after) {
		return nil, fmt.Errorf("formatting would change the meaning of the file; it is left as it is")
	}
	return b.Bytes(), nil
}
