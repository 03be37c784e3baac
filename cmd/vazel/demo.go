package main

import (
	"context"
	"errors"
	"io"
)

func demoCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	return errors.New("not built yet")
}
