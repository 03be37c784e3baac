// The vocabulary of the pages: what a number, a curve, bars, a table and a text are,
// and what every dashboard has. "@" in a query is the selection of job and instance.
import * as d from '@grafana/grafana-foundation-sdk/dashboard';
import * as common from '@grafana/grafana-foundation-sdk/common';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { DataqueryBuilder as LokiQuery } from '@grafana/grafana-foundation-sdk/loki';
import { PanelBuilder as TimeSeries } from '@grafana/grafana-foundation-sdk/timeseries';
import { PanelBuilder as Stat } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as BarGauge } from '@grafana/grafana-foundation-sdk/bargauge';
import { PanelBuilder as Table } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as Text } from '@grafana/grafana-foundation-sdk/text';

const source = { type: 'prometheus', uid: '${datasource}' };
const loki = { type: 'loki', uid: '${loki}' };
const fill = (expr) => expr.replaceAll('@', 'job=~"$job",instance=~"$instance"').replace(/\s+/g, ' ').trim();
const query = (expr, legend, i, kind) => {
  const q = new DataqueryBuilder().expr(fill(expr)).refId(String.fromCharCode(65 + i)).datasource(source);
  if (legend) q.legendFormat(legend);
  if (kind === 'table') return q.instant().format('table');
  return kind === 'instant' ? q.instant() : q.range();
};
const steps = (th) => new d.ThresholdsConfigBuilder().mode('absolute')
  .steps(th.map((x, i) => (i % 2 === 0 ? { color: x, value: i === 0 ? null : th[i - 1] } : null)).filter(Boolean));

// Thresholds: color, value, color, value, color.
export const bad = (x = 1) => ['green', x, 'red'];
export const worse = (a, b) => ['green', a, 'orange', b, 'red'];
export const low = (a, b) => ['red', a, 'orange', b, 'green'];
export const plain = ['text'];
export const yes = { type: 'value', options: { 0: { text: 'no', color: 'red', index: 0 }, 1: { text: 'yes', color: 'green', index: 1 } } };

// Why a panel may be empty, in both languages: it says so itself.
const reasons = {
  'audit_log is off': 'audit_log е изключен', 'every exchange with an upstream succeeded': 'всеки обмен с услугите е успял', 'every request found its service': 'всяка заявка е намерила услугата си',
  'every request was inspected whole': 'всяка заявка е проверена изцяло', 'every upstream answered': 'всички услуги отговарят', 'every upstream is an address': 'всички услуги са зададени с адрес',
  'inspection blocked no organization': 'инспекцията не е спряла организация', 'neither ocsp nor tls.acme is configured': 'няма ocsp и tls.acme', 'no address set is configured': 'няма адресни списъци',
  'no connection was ended or turned away': 'няма прекъснати или върнати връзки', 'no handshake failed': 'няма неуспешни ръкостискания', 'no incident number was given': 'не е въведен номер на инцидент',
  'no limit of an organization or service is in use': 'няма използвано ограничение', 'no log goes to a syslog receiver': 'никой журнал не се изпраща по syslog', 'no metric has too many series': 'няма метрика с твърде много серии',
  'no new connection was needed': 'не е нужна нова връзка', 'no organization has ocsp': 'никоя организация няма ocsp', 'no request ended with 5xx': 'няма заявки с 5xx', 'no request took over a second': 'няма заявка над секунда',
  'no right was withdrawn': 'няма отнети права', 'no route has a bandwidth': 'никой маршрут няма bandwidth', 'no route has a cache': 'никой маршрут няма cache', 'no route looks at responses': 'отговорите не се проверяват',
  'no route scans': 'никой маршрут не сканира', 'no rule matched': 'няма съвпадения', 'no rule spoke': 'няма съвпадения', 'no server certificate names a responder or comes from ACME': 'никой сертификат няма OCSP или ACME',
  'no service has slo': 'никоя услуга няма slo', 'no sink had an error': 'няма грешки при запис', 'no store is configured': 'няма общо хранилище', 'no such packets came': 'няма такива пакети',
  'nobody is near a limit': 'никой не е близо до ограничение', 'nobody was refused': 'никой не е отказан', 'nothing was refused': 'няма откази',
};
// Least height of the axis of a unit, so that nothing does not look like a hundred.
const least = { reqps: 0.1, ops: 0.1, short: 1, 'suffix:×': 1.5, bytes: 1024, Bps: 1024, s: 0.001 };

// Between two values, a number means a word.
export const between = (from, to, text, color) => ({ type: 'range', options: { from, to, result: { text, color, index: 0 } } });

// A link to another dashboard carries the selection: time, data source, job and node.
const carried = '${__url_time_range}&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}';
const pages = {
  'vazel-overview': 'Overview · Общ преглед', 'vazel-traffic': 'Traffic · Трафик', 'vazel-organizations': 'Organizations · Организации', 'vazel-tls': 'TLS and certificates · TLS и сертификати', 'vazel-inspection': 'Inspection · Инспекция',
  'vazel-limits': 'Limits and quotas · Ограничения и квоти', 'vazel-upstreams': 'Upstreams and SLO · Услуги и цели', 'vazel-audit': 'Audit and logs · Одит и дневници', 'vazel-process': 'Gateway process · Процесът', 'vazel-investigation': 'Investigation · Разследване',
};
const link = (uid) => new d.DashboardLinkBuilder(pages[uid]).type('link').url(`/d/${uid}?${carried}`);
// A cell that leads to a dashboard with its value as the variable's.
export const lead = (uid, variable) => ({ title: pages[uid], url: `/d/${uid}?var-${variable}=\${__value.text:percentencode}&${carried}` });

const base = (p, o, w, h) => {
  if (o.to) p.links([o.to].flat().map(link));
  p.title(o.title).description(o.about).datasource(source).span(o.w ?? w).height(o.h ?? h).unit(o.unit);
  if (o.th) p.thresholds(steps(o.th));
  if (o.max !== undefined) p.max(o.max);
  if (o.min !== undefined) p.min(o.min);
  if (o.decimals !== undefined) p.decimals(o.decimals);
  if (o.mappings) p.mappings(o.mappings);
  if (o.empty) p.noValue(`${o.empty} · ${reasons[o.empty]}`);
  if (o.empty && !reasons[o.empty]) throw new Error(`no translation of "${o.empty}"`);
  return p;
};
const queries = (p, o, kind) => o.q.forEach(([expr, legend], i) => p.withTarget(query(expr, legend, i, kind)));

// Each maker returns [builder, reason why it may be empty].
export const number = (o) => {
  const p = base(new Stat(), { th: plain, ...o }, 4, 4)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(false))
    .graphMode(o.spark === false ? 'none' : 'area').colorMode('value');
  if (o.empty) p.noValue('none · няма');
  queries(p, o, o.spark === false ? 'instant' : 'range');
  return [p, o.empty];
};
export const curves = (o) => {
  const p = base(new TimeSeries(), { min: 0, ...o }, 12, 8).lineWidth(1).fillOpacity(o.stack ? 30 : 8).showPoints('never').spanNulls(false)
    .legend(new common.VizLegendOptionsBuilder().showLegend(true).displayMode(o.legend ?? 'list').placement('bottom').calcs(o.calcs ?? []))
    .tooltip(new common.VizTooltipOptionsBuilder().mode('multi').sort('desc'));
  if (o.max === undefined && least[o.unit]) p.axisSoftMax(o.softMax ?? least[o.unit]);
  if (o.stack) p.stacking(new common.StackingConfigBuilder().mode('normal').group('A'));
  if (o.dashed) p.withOverride({ matcher: { id: 'byRegexp', options: o.dashed }, properties: [{ id: 'custom.lineStyle', value: { fill: 'dash', dash: [8, 8] } }, { id: 'custom.fillOpacity', value: 0 }] });
  if (o.line) p.thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode('line'));
  queries(p, o, 'range');
  return [p, o.empty];
};
export const bars = (o) => {
  const p = base(new BarGauge(), { th: ['blue'], min: 0, ...o }, 12, 8).orientation('horizontal').displayMode('basic')
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(false));
  queries(p, o, 'instant');
  return [p, o.empty];
};
const widths = (p, all) => Object.entries(all ?? {}).forEach(([name, width]) => p.overrideByName(name, [{ id: 'custom.width', value: width }]));

// values: [query, name in words, {unit, th, decimals, mappings, width}]; without a name
// it only brings the labels. after: labels that stand behind the values.
export const table = (o) => {
  const p = base(new Table(), { unit: 'locale', ...o }, 24, 8).cellHeight('sm');
  const values = o.values.map(([expr, name, f]) => ({ expr, name, f: f ?? {} }));
  values.forEach((v, i) => p.withTarget(query(v.expr, '', i, 'table')));
  if (values.length > 1) p.withTransformation({ id: 'merge', options: {} });
  const labels = Object.entries(o.labels);
  const after = Object.entries(o.after ?? {});
  const value = (i) => (values.length > 1 ? `Value #${String.fromCharCode(65 + i)}` : 'Value');
  const order = [...labels.map(([l]) => l), ...values.map((_, i) => value(i)), ...after.map(([l]) => l)];
  p.withTransformation({
    id: 'organize',
    options: {
      excludeByName: { Time: true, ...Object.fromEntries((o.hidden ?? []).map((l) => [l, true])), ...Object.fromEntries(values.flatMap((v, i) => (v.name ? [] : [[value(i), true]]))) },
      indexByName: Object.fromEntries(order.map((n, i) => [n, i])),
      renameByName: Object.fromEntries([...labels, ...after, ...values.map((v, i) => [value(i), v.name]).filter(([, n]) => n)]),
    },
  });
  values.forEach(({ name, f }) => {
    if (!name) return;
    const props = [{ id: 'unit', value: f.unit ?? 'locale' }, { id: 'decimals', value: f.decimals ?? 0 }];
    if (values.length > 1) props.push({ id: 'noValue', value: '–' });
    if (f.leads) props.push({ id: 'links', value: f.leads });
    if (f.th) props.push({ id: 'thresholds', value: steps(f.th).build() }, { id: 'custom.cellOptions', value: { type: 'color-text' } });
    if (f.mappings) props.push({ id: 'mappings', value: [f.mappings].flat() }, { id: 'custom.cellOptions', value: { type: 'color-text' } });
    if (f.width) props.push({ id: 'custom.width', value: f.width });
    p.overrideByName(name, props);
  });
  widths(p, o.widths);
  Object.entries(o.labelMappings ?? {}).forEach(([name, words]) => p.overrideByName(name, [{ id: 'mappings', value: [{ type: 'value', options: Object.fromEntries(Object.entries(words).map(([k, text], index) => [k, { text, index }])) }] }]));
  Object.entries(o.leads ?? {}).forEach(([name, links]) => p.overrideByName(name, [{ id: 'links', value: [links].flat() }]));
  if (o.sort) p.sortBy([new common.TableSortByFieldStateBuilder().displayName(o.sort[0]).desc(o.sort[1] === 'desc')]);
  return [p, o.empty];
};
// Lines of a log as a table: labels, found by json, are the columns.
export const lines = (o) => {
  const p = base(new Table(), { unit: 'short', ...o }, 24, 8).cellHeight('sm').datasource(loki)
    .withTarget(new LokiQuery().expr(o.q).refId('A').queryType('range').maxLines(o.most).datasource(loki))
    .withTransformation({ id: 'extractFields', options: { source: 'labels', format: 'json', replace: true, keepTime: true } })
    .withTransformation({ id: 'filterFieldsByName', options: { include: { names: ['Time', ...Object.keys(o.labels)] } } })
    .withTransformation({ id: 'organize', options: { indexByName: Object.fromEntries(['Time', ...Object.keys(o.labels)].map((n, i) => [n, i])), renameByName: o.labels } });
  widths(p, { Time: 170, ...o.widths });
  (o.wrapped ?? []).forEach((name) => p.overrideByName(name, [{ id: 'custom.wrapText', value: true }]));
  p.overrideByName('Incident · Инцидент', [{ id: 'links', value: [lead('vazel-investigation', 'incident')] }]);
  return [p, o.empty];
};
export const good = (text, translated) => [new Text().title('What good looks like · Как изглежда добре').description('What this page shows when nothing is wrong.')
  .mode('markdown').content(`${text}\n\n${translated}`).span(24).height(text.length > 215 ? 5 : 4)];

export const choice = (name, label, q, all = '.*') => new d.QueryVariableBuilder(name).label(label).datasource(source)
  .query({ query: fill(q), refId: 'Variable', qryType: 1 }).definition(fill(q)).refresh(2).sort(1).multi(true).includeAll(true).allValue(all)
  .current({ selected: true, text: ['All'], value: ['$__all'] });

export const textbox = (name, label) => new d.TextBoxVariableBuilder(name).label(label).defaultValue('');

const mark = (name, color, expr, text, atValue) => {
  const a = new d.AnnotationQueryBuilder().name(name).datasource(source).enable(true).iconColor(color).expr(fill(expr)).titleFormat(name).textFormat(text).step('15s');
  if (atValue) a.useValueForTime(true);
  return a;
};

export function dashboard(page) {
  const b = new d.DashboardBuilder(`Vazel / ${page.title}`).uid(page.uid).description(page.about).tags(['vazel']).readonly()
    .time({ from: 'now-1h', to: 'now' }).refresh('30s').tooltip(1)
    .link(new d.DashboardLinkBuilder('Vazel').type('dashboards').tags(['vazel']).keepTime(true).includeVars(true).asDropdown(false))
    .link(new d.DashboardLinkBuilder('Runbooks').type('link').icon('doc').url('https://github.com/vazel-gateway/vazel/tree/main/docs/runbooks').targetBlank(true))
    .withVariable(new d.DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus').current({ selected: true, text: 'default', value: 'default' }))
    .withVariable(choice('job', 'Job · Задача', 'label_values(vazel_build_info, job)', '.+'))
    .withVariable(choice('instance', 'Node · Възел', 'label_values(vazel_build_info{job=~"$job"}, instance)', '.+'))
    .annotation(mark('Reload · Нова конфигурация', 'blue', 'vazel_config_last_reload_success_timestamp_seconds{@} * 1000', '{{instance}}', true))
    .annotation(mark('Posture · Промяна на защитата', 'orange',
      '(vazel_inspection_mode_info{@} unless on (instance, route, mode) last_over_time(vazel_inspection_mode_info{@}[5m] offset 1m)) or (vazel_revocation_mode_info{@} unless on (instance, ca, mode) last_over_time(vazel_revocation_mode_info{@}[5m] offset 1m))', '{{route}}{{ca}}: {{mode}}'));
  if (page.loki) b.withVariable(new d.DatasourceVariableBuilder('loki').label('Loki').type('loki').current({ selected: true, text: 'default', value: 'default' }));
  for (const v of page.variables ?? []) b.withVariable(v);
  const empty = {};
  page.panels.forEach(([p, reason], i) => {
    p.id(i + 1);
    b.withPanel(p);
    if (reason) empty[i + 1] = reason;
  });
  const out = b.build();
  // Not read by Grafana: the reason why a panel may have no data, by its id.
  for (const p of out.panels) {
    if (empty[p.id]) p.description += ` Empty: ${empty[p.id]}.`;
    if (page.loki && p.type !== 'text') askLoki(p);
    if (p.type === 'table') Object.assign(p.fieldConfig.defaults.custom, { minWidth: page.loki ? 105 : 80, wrapHeaderText: true }); // the builder does not know the second yet
  }
  return out;
}

// askLoki turns the queries of a panel that were written for Prometheus to Loki.
function askLoki(p) {
  p.datasource = loki;
  p.targets = p.targets.map((t) => (t.datasource === loki ? t : { expr: t.expr, legendFormat: t.legendFormat, refId: t.refId, queryType: t.instant ? 'instant' : 'range', datasource: loki }));
}
