// Writes the dashboards. Run by "make dashboards".
import { mkdirSync, readdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { dashboard } from './panels.mjs';
import { overview, traffic, organizations } from './traffic.mjs';
import { tls, limits, upstreams } from './policies.mjs';
import { inspection, records, gateway } from './node.mjs';
import { investigation } from './logs.mjs';

const out = new URL('../grafana/', import.meta.url);
mkdirSync(out, { recursive: true });
for (const f of readdirSync(out)) unlinkSync(new URL(f, out));
for (const page of [overview, traffic, organizations, tls, limits, upstreams, inspection, records, gateway, investigation]) {
  writeFileSync(new URL(`${page.uid}.json`, out), JSON.stringify(dashboard(page), null, 1) + '\n');
}
