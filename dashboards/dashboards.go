// Package dashboards holds what a monitoring system needs to watch Vazel: Grafana's
// dashboards with their provisioning, and Prometheus' recording rules and alerts. It
// owns the files; generate/ has the program that writes the dashboards.
package dashboards

import "embed"

// Files are grafana/*.json, provisioning/*.yaml and rules/*.yaml.
//
//go:embed grafana/*.json provisioning/*.yaml rules/*.yaml
var Files embed.FS
