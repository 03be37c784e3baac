package main

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/vazel-gateway/vazel/middleware"
)

// maskedCore takes personal identifiers out of what goes to the program's log:
// errors may repeat what a client or an upstream sent.
type maskedCore struct{ zapcore.Core }

// With implements zapcore.Core.
func (c maskedCore) With(fields []zapcore.Field) zapcore.Core {
	return maskedCore{c.Core.With(maskFields(fields))}
}

// Check implements zapcore.Core.
func (c maskedCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c maskedCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.Message = middleware.Mask(e.Message)
	return c.Core.Write(e, maskFields(fields))
}

// maskFields returns masked copies: who logs may use its own again.
func maskFields(fields []zapcore.Field) []zapcore.Field {
	out := make([]zapcore.Field, len(fields))
	for i, f := range fields {
		switch f.Type {
		case zapcore.StringType:
			f.String = middleware.Mask(f.String)
		case zapcore.ByteStringType:
			if b, ok := f.Interface.([]byte); ok {
				f = zap.String(f.Key, middleware.Mask(string(b)))
			}
		case zapcore.ErrorType:
			if err, ok := f.Interface.(error); ok && err != nil {
				f = zap.String(f.Key, middleware.Mask(err.Error()))
			}
		}
		out[i] = f
	}
	return out
}
