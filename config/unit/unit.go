// Package unit holds the scalars of the configuration language: values that
// carry their unit (30s, 10MiB, 50/s, 20%) and references to secrets. It owns
// how they are written and read; what they mean belongs to the settings that
// use them.
//
// Every type reads itself with UnmarshalText and prints itself, with String,
// in the same spelling that it reads. Errors say what is wrong and how to write
// it, without file or line: package config adds those.
package unit
