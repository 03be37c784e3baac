// Draws dashboards outside of Grafana: asks Prometheus (and Loki) what their panels
// ask, gives the answers to Grafana's own components in a page (page.jsx), and has
// Chromium take a picture of it.
//
//   npm install && node pictures.mjs -prometheus http://127.0.0.1:9090 [-loki URL] [-incident ID] [-minutes 15] [-out DIR] [DASHBOARD...]
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

const flags = { prometheus: 'http://127.0.0.1:9090', loki: '', incident: '', minutes: '15', out: 'out' };
const names = [];
for (let i = 2; i < process.argv.length; i++) {
  const name = process.argv[i].replace(/^-+/, '');
  if (process.argv[i].startsWith('-') && name in flags) flags[name] = process.argv[++i];
  else names.push(process.argv[i]);
}
const here = new URL('.', import.meta.url).pathname;
const minutes = Number(flags.minutes);
const to = Math.floor(Date.now() / 1000);
const from = to - minutes * 60;
const step = Math.max(1, Math.floor((minutes * 60) / 300));

const fill = (q) => Object.entries({
  $job: 'vazel', $instance: '.+', $__rate_interval: '30s', $__range: `${minutes}m`, $__interval: '15s', $__auto: `${step * 5}s`, $incident: flags.incident, $trace: '',
}).reduce((s, [k, v]) => s.replaceAll(k, v), q).replace(/\$(route|organization|policy|upstream)\b/g, '.*');

async function ask(target) {
  const loki = target.datasource.type === 'loki';
  const instant = target.instant || target.queryType === 'instant';
  const form = new URLSearchParams({ query: fill(target.expr) });
  if (instant) form.set('time', to);
  else Object.entries({ start: from, end: to, step: loki ? step * 5 : step, limit: target.maxLines ?? 100 }).forEach(([k, v]) => (loki || k !== 'limit') && form.set(k, v));
  const base = loki ? `${flags.loki}/loki/api/v1` : `${flags.prometheus}/api/v1`;
  const r = await (await fetch(`${base}/query${instant ? '' : '_range'}?${form}`)).text();
  if (!r.startsWith('{') || JSON.parse(r).status !== 'success') throw new Error(`${form.get('query')}: ${r}`);
  return { target, data: JSON.parse(r).data };
}

const bundle = await build({
  entryPoints: [join(here, 'page.jsx')], bundle: true, write: false, format: 'iife', jsx: 'automatic', logLevel: 'error', outdir: 'out', loader: { '.svg': 'text', '.ttf': 'empty' },
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
});
const script = bundle.outputFiles.find((f) => f.path.endsWith('.js')).text;
const style = bundle.outputFiles.find((f) => f.path.endsWith('.css')).text;
let page = {};
const server = createServer((request, response) => {
  const path = new URL(request.url, 'http://x').pathname;
  try {
    if (path === '/') response.setHeader('Content-Type', 'text/html').end(`<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/page.css"><body><script>window.page=${JSON.stringify(page).replaceAll('<', '\\u003c')}</script><script src="/page.js"></script>`);
    else if (path === '/page.js') response.end(script);
    else if (path === '/page.css') response.setHeader('Content-Type', 'text/css').end(style);
    else response.setHeader('Content-Type', 'image/svg+xml').end(readFileSync(join(here, 'node_modules/@grafana/ui/dist', path)));
  } catch { response.statusCode = 404; response.end(); }
}).listen(0, '127.0.0.1');
await new Promise((r) => server.on('listening', r));

mkdirSync(flags.out, { recursive: true });
const grafana = join(here, '../../dashboards/grafana');
for (const file of readdirSync(grafana)) {
  const name = file.replace('.json', '');
  const dashboard = JSON.parse(readFileSync(join(grafana, file)));
  if ((names.length && !names.includes(name)) || (!flags.loki && name === 'vazel-investigation')) continue;
  const answers = {};
  for (const p of dashboard.panels) answers[p.id] = await Promise.all((p.targets ?? []).map(ask));
  const marks = await Promise.all(dashboard.annotations.list.map(async (a) => ({ a, ...(await ask({ expr: a.expr, datasource: a.datasource })) })));
  page = { dashboard, answers, marks, from, to, step };
  const rows = Math.max(...dashboard.panels.map((p) => p.gridPos.y + p.gridPos.h));
  const picture = join(flags.out, `${name}.png`);
  const profile = mkdtempSync(join(tmpdir(), 'pictures-'));
  await new Promise((done, failed) => execFile('chromium', ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--force-device-scale-factor=1',
    `--user-data-dir=${profile}`, `--window-size=1500,${rows * 38 + 70}`, '--virtual-time-budget=15000', `--screenshot=${picture}`, `http://127.0.0.1:${server.address().port}/`], { timeout: 90000 }, (e, out, err) => (e ? failed(e) : done(process.env.VERBOSE && console.log(err)))));
  console.log(picture);
}
server.close();
