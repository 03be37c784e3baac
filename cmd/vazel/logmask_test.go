package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// The program's log holds no personal identifier, wherever an error has it from.
func TestProgramLogIsMasked(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := newLog("info", &out)
	if err != nil {
		t.Fatal(err)
	}
	const id = "7523169263"
	log.With(zap.String("with", id)).Error("message of "+id, zap.Error(errors.New("GET /"+id)), zap.String("text", "/"+id+"/"), zap.ByteString("stack", []byte(id)), zap.Int64("number", 5))
	log.Debug(id)
	if strings.Contains(out.String(), id) || strings.Count(out.String(), "[id]") != 5 || strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), `"number":5`) {
		t.Errorf("got %s", &out)
	}
}
