// One dashboard with Grafana's components. What a panel plugin of Grafana does
// around them (field settings, transformations) is done here as far as our
// dashboards need it.
import { createRoot } from 'react-dom/client';
import {
  createTheme, dateTime, FieldType, getDisplayProcessor, getFieldDisplayName, renderTextPanelMarkdown, standardTransformers, standardTransformersRegistry, ThemeContext, toDataFrame, transformDataFrame, VizOrientation,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { firstValueFrom } from 'rxjs';

const { dashboard, answers, marks, from, to, step } = window.page;
const theme = createTheme({ colors: { mode: 'dark' } });
const range = { from: dateTime(from * 1000), to: dateTime(to * 1000), raw: { from: 'now', to: 'now' } };
const number = (s) => (s === 'NaN' ? null : Number(s));
standardTransformersRegistry.setInit(() => [{ id: 'merge', name: '', transformation: async () => standardTransformers.mergeTransformer, editor: null, imageDark: '', imageLight: '', help: '' }]);

const named = (format, labels) => (format ? format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, l) => labels[l] ?? '') : Object.entries(labels).map(([k, v]) => `${k}="${v}"`).join(', '));

// series has a frame for each line; points where nothing was are gaps.
function series({ target, data }) {
  return data.result.map(({ metric, values, value }) => {
    const by = new Map((values ?? [value]).map(([t, v]) => [Math.round(t), number(v)]));
    const times = value ? [...by.keys()] : [];
    if (!value && target.datasource.type === 'loki') times.push(...by.keys());
    else if (!value) for (let t = from; t <= to; t += step) times.push(t);
    return toDataFrame({ refId: target.refId, fields: [
      { name: 'Time', type: FieldType.time, values: times.map((t) => t * 1000) },
      { name: 'Value', type: FieldType.number, labels: metric, config: { displayNameFromDS: named(target.legendFormat, metric) }, values: times.map((t) => by.get(t) ?? null) },
    ] });
  });
}

// tableOf has a column for each label and one for the value, or one for each field of a log's lines.
function tableOf({ target, data }, several) {
  if (target.datasource.type === 'loki') {
    const rows = data.result.flatMap(({ stream, values }) => values.map(([t]) => ({ ...stream, Time: Number(t) / 1e6 }))).sort((a, b) => b.Time - a.Time);
    const names = [...new Set(rows.flatMap((r) => Object.keys(r)))];
    return toDataFrame({ fields: names.map((n) => ({ name: n, type: n === 'Time' ? FieldType.time : FieldType.string, values: rows.map((r) => r[n] ?? '') })) });
  }
  const names = [...new Set(data.result.flatMap((r) => Object.keys(r.metric)))];
  return toDataFrame({ refId: target.refId, fields: [
    { name: 'Time', type: FieldType.time, values: data.result.map((r) => r.value[0] * 1000) },
    ...names.map((n) => ({ name: n, type: FieldType.string, values: data.result.map((r) => r.metric[n] ?? '') })),
    { name: several ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: data.result.map((r) => number(r.value[1])) },
  ] });
}

function configured(panel, frames) {
  const { defaults, overrides } = panel.fieldConfig;
  for (const [index, frame] of frames.entries()) {
    for (const field of frame.fields) {
      const own = {};
      for (const o of overrides) {
        const name = getFieldDisplayName(field, frame);
        if (o.matcher.id === 'byRegexp' ? !new RegExp(`^${o.matcher.options}$`).test(name) : o.matcher.options !== name) continue;
        for (const { id, value } of o.properties) {
          if (id.startsWith('custom.')) own.custom = { ...own.custom, [id.slice(7)]: value };
          else own[id] = id === 'mappings' && !Array.isArray(value) ? [value] : value;
        }
      }
      const plain = field.type === FieldType.number ? defaults : { custom: defaults.custom };
      field.config = { ...plain, ...field.config, ...own, custom: { ...plain.custom, ...own.custom } };
      const steps = field.config.thresholds?.steps;
      if (steps) field.config.thresholds = { ...field.config.thresholds, steps: steps.map((s) => ({ ...s, value: s.value ?? -Infinity })) };
      field.config.color ??= { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' };
      field.state = { ...field.state, seriesIndex: index };
      field.display = getDisplayProcessor({ field, theme });
    }
  }
  return frames;
}

const last = (field) => [...field.values].reverse().find((v) => v !== null && v !== undefined);

async function table(panel, several) {
  let frames = answers[panel.id].map((a) => tableOf(a, several)).filter((f) => f.length > 0);
  for (const { id, options } of panel.transformations ?? []) {
    if (id === 'merge' && frames.length > 1) frames = await firstValueFrom(transformDataFrame([{ id, options }], frames));
    if (id === 'filterFieldsByName') frames.forEach((f) => { f.fields = f.fields.filter((x) => options.include.names.includes(x.name)); });
    if (id === 'organize') {
      for (const f of frames) {
        f.fields = f.fields.filter((x) => !options.excludeByName?.[x.name]).sort((a, b) => (options.indexByName[a.name] ?? 99) - (options.indexByName[b.name] ?? 99));
        f.fields.forEach((x) => { x.name = options.renameByName[x.name] ?? x.name; x.state = {}; });
      }
    }
  }
  return configured(panel, frames)[0];
}

function Nothing({ panel }) {
  return <div style={{ display: 'flex', height: '100%', alignItems: 'center', justifyContent: 'center', color: theme.colors.text.secondary }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
}

function Body({ panel, width, height, ready }) {
  if (panel.type === 'text') return <div style={{ padding: '0 4px', fontSize: 14 }} dangerouslySetInnerHTML={{ __html: renderTextPanelMarkdown(panel.options.content) }} />;
  if (panel.type === 'table') {
    if (!ready || ready.length === 0) return <Nothing panel={panel} />;
    return <TableNG data={ready} width={width} height={height} cellHeight={panel.options.cellHeight} sortBy={panel.options.sortBy} fieldConfig={panel.fieldConfig} enableVirtualization={false} />;
  }
  const frames = configured(panel, answers[panel.id].flatMap(series));
  const alive = frames.filter((f) => f.fields[1].values.some((v) => v !== null));
  if (alive.length === 0) return <Nothing panel={panel} />;
  if (panel.type === 'stat') {
    const field = alive[0].fields[1];
    const value = field.display(last(field));
    return <BigValue theme={theme} width={width} height={height} value={value} colorMode={panel.options.colorMode} graphMode={panel.options.graphMode}
      sparkline={panel.options.graphMode === 'area' ? { y: field, x: alive[0].fields[0], timeRange: range } : undefined} />;
  }
  if (panel.type === 'bargauge') {
    const rows = Math.max(24, Math.min(44, Math.floor(height / alive.length)));
    const most = Math.max(...alive.map((f) => last(f.fields[1])));
    const longest = { title: alive.map((f) => getFieldDisplayName(f.fields[1], f)).sort((a, b) => b.length - a.length)[0], text: '0000000', suffix: '' };
    return <div>{alive.slice(0, Math.floor(height / rows)).map((f, i) => {
      const field = f.fields[1];
      return <div key={i} style={{ height: rows }}><BarGauge theme={theme} width={width} height={rows - 6} field={{ max: most || 1, ...field.config }} display={field.display} orientation={VizOrientation.Horizontal} displayMode={panel.options.displayMode}
        alignmentFactors={longest} value={{ ...field.display(last(field)), title: getFieldDisplayName(field, f) }} showUnfilled /></div>;
    })}</div>;
  }
  return <TimeSeries frames={alive} width={width} height={height} timeRange={range} timeZone="utc" legend={{ ...panel.options.legend }} options={{}} />;
}

// Marks of reloads and changes of posture, over all curves.
function Marks({ width, height }) {
  const at = [];
  for (const { a, data } of marks) {
    for (const { values } of data.result) {
      const times = a.useValueForTime ? values.map(([, v]) => Number(v) / 1000) : values.map(([t]) => t).filter((t, i, all) => i === 0 || t - all[i - 1] > 2 * step);
      for (const t of new Set(times)) if (t > from && t < to) at.push({ t, color: a.iconColor });
    }
  }
  return at.map(({ t, color }, i) => <div key={i} style={{ position: 'absolute', top: 6, height: height - 52, left: 52 + ((width - 60) * (t - from)) / (to - from), borderLeft: `1px dashed ${theme.visualization.getColorByName(color)}` }} />);
}

const row = 38, column = (1500 - 16) / 24;
function Panel({ panel, ready }) {
  const { x, y, w, h } = panel.gridPos;
  const width = w * column - 8, height = h * row - 8;
  return <div style={{ position: 'absolute', left: 8 + x * column, top: 60 + y * row }}>
    <PanelChrome title={panel.title} description={panel.type === 'text' ? undefined : panel.description} width={width} height={height}>
      {(innerWidth, innerHeight) => <div style={{ position: 'relative', width: innerWidth, height: innerHeight, overflow: 'hidden' }}>
        <Body panel={panel} width={innerWidth} height={innerHeight} ready={ready} />
        {panel.type === 'timeseries' && answers[panel.id].some((a) => a.data.result.length > 0) && <Marks width={innerWidth} height={innerHeight} />}
      </div>}
    </PanelChrome>
  </div>;
}

async function draw() {
  const tables = {};
  for (const p of dashboard.panels) if (p.type === 'table') tables[p.id] = await table(p, p.targets.length > 1);
  document.body.appendChild(document.createElement('div')).id = 'root';
  createRoot(document.getElementById('root')).render(<ThemeContext.Provider value={theme}>
    <GlobalStyles isExtensionContextDisabled />
    <div style={{ position: 'absolute', left: 16, top: 14, fontSize: 20, color: theme.colors.text.primary }}>{dashboard.title}</div>
    <div style={{ position: 'absolute', right: 16, top: 20, color: theme.colors.text.secondary }}>{`${range.from.utc().format('YYYY-MM-DD HH:mm')} – ${range.to.utc().format('HH:mm')} UTC · Prometheus · Job: All · Node: All`}</div>
    {dashboard.panels.map((p) => <Panel key={p.id} panel={p} ready={tables[p.id]} />)}
  </ThemeContext.Provider>);
}
draw().catch((e) => { document.body.innerText = e.stack; });
