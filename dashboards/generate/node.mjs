// Inspection, Audit and logs, Gateway process.
import { bad, bars, choice, curves, good, low, number, table, worse, yes } from './panels.mjs';

const R = 'route=~"$route"';
const outcome = (o) => `sum by (route) (increase(vazel_inspection_requests_total{@,${R},outcome="${o}"}[$__range])) or sum by (route) (0 * vazel_inspection_mode_info{@,${R}})`;
export const inspection = {
  uid: 'vazel-inspection', title: 'Inspection · Инспекция', about: 'What inspection stops, what it would stop, and whether it hurts real users.',
  variables: [choice('route', 'Route · Маршрут', 'label_values(vazel_inspection_mode_info{@}, route)')],
  panels: [
    good('Attacks are blocked, proven organizations are not: "Organizations blocked" is empty. Nothing passes uninspected, and routes that matter are in mode **block**.',
      'Атаките се спират, доказаните организации не: "Спрени организации" е празна. Нищо не минава непроверено, важните маршрути са в режим **block**.'),
    number({ title: 'Inspected · Проверени', about: 'Requests a second.', unit: 'reqps', q: [[`sum(rate(vazel_inspection_requests_total{@,${R}}[$__rate_interval]))`]] }),
    number({ title: 'Blocked · Спрени', about: 'Share of the inspected requests that was blocked.', unit: 'percentunit', decimals: 1, q: [[`(sum(rate(vazel_inspection_requests_total{@,${R},outcome="block"}[$__rate_interval])) or vector(0)) / sum(rate(vazel_inspection_requests_total{@,${R}}[$__rate_interval]))`]] }),
    number({ title: 'Detected · Засечени', about: 'Requests in the selected time that detect mode let through and block mode would stop.', unit: 'short', decimals: 0, spark: false, th: ['green', 1, 'orange'], q: [[`sum(increase(vazel_inspection_requests_total{@,${R},outcome="detect"}[$__range])) or vector(0)`]] }),
    number({ title: 'Partners · Партньори', about: 'Blocked requests of proven organizations in the selected time: false alarms, or a system that was taken over.', unit: 'short', decimals: 0, spark: false, th: bad(), q: [[`sum(increase(vazel_organization_requests_total{@,${R},outcome="blocked",organization!~"_.*"}[$__range])) or vector(0)`]] }),
    number({ title: 'Missed · Непроверени', about: 'Requests in the selected time that could not be inspected whole: refused in block mode (error), passed in detect mode (skipped).', unit: 'short', decimals: 0, spark: false, th: bad(), q: [[`sum(increase(vazel_inspection_requests_total{@,${R},outcome=~"error|skipped"}[$__range])) or vector(0)`]] }),
    number({ title: '95 % in · 95 % за', about: 'Time that inspection takes.', unit: 's', th: worse(0.05, 0.5), q: [['histogram_quantile(0.95, sum by (le) (rate(vazel_inspection_duration_seconds_bucket{@}[$__rate_interval])))']] }),
    curves({ title: 'Outcomes · Резултати', about: 'Inspected requests a second: pass, detect (would have been blocked), block, error, skipped.', unit: 'reqps', stack: true, q: [[`sum by (outcome) (rate(vazel_inspection_requests_total{@,${R}}[$__rate_interval]))`, '{{outcome}}']] }),
    curves({ title: 'Blocked by kind of attack · Спрени по вид', about: 'Blocked requests a second: sqli database, xss script in pages, rce commands, lfi files, scanner tools.', unit: 'reqps', stack: true, q: [[`sum by (category) (rate(vazel_inspection_blocked_total{@,${R}}[$__rate_interval]))`, '{{category}}']] }),
    table({ title: 'Organizations blocked · Спрени организации', about: 'Whether inspection blocks real users: blocked requests of proven organizations.', w: 12, labels: { organization: 'Organization · Организация', route: 'Route · Маршрут' }, sort: ['Blocked · Спрени', 'desc'], empty: 'inspection blocked no organization',
      values: [[`sum by (organization, route) (increase(vazel_organization_requests_total{@,${R},outcome="blocked",organization!~"_.*"}[$__range])) > 0`, 'Blocked · Спрени', { th: bad() }]] }),
    bars({ title: 'Score of 99 % · Оценка на 99 %', about: '99 of 100 requests of a route score at most this. The threshold to block is 5 unless configured: routes near it are close to false alarms.', unit: 'short', decimals: 0, th: worse(3, 5), q: [[`histogram_quantile(0.99, sum by (le, route) (increase(vazel_inspection_anomaly_score_bucket{@,${R}}[$__range])))`, '{{route}}']] }),
    table({ title: 'Routes · Маршрути', about: 'The mode of each route, and what became of its requests in the selected time.', h: 9, labels: { route: 'Route · Маршрут', mode: 'Mode · Режим' }, widths: { 'Route · Маршрут': 420 },
      values: [[`max by (route, mode) (vazel_inspection_mode_info{@,${R}})`, ''], [outcome('pass'), 'Passed · Пропуснати'], [outcome('block'), 'Blocked · Спрени', { th: worse(1, 1000) }], [outcome('detect'), 'Detected · Засечени', { th: worse(1, 1000) }], [outcome('error'), 'Errors · Грешки', { th: bad() }], [outcome('skipped'), 'Skipped · Прескочени', { th: bad() }]] }),
    curves({ title: 'Time for inspection · Време за проверка', about: 'By phase; 95 of 100 are done by then.', unit: 's', w: 24, q: [['histogram_quantile(0.95, sum by (le, phase) (rate(vazel_inspection_duration_seconds_bucket{@}[$__rate_interval])))', '{{phase}}']] }),
  ],
};

export const records = {
  uid: 'vazel-audit', title: 'Audit and logs · Одит и дневници', about: 'Whether every request left its record.',
  panels: [
    good('Nothing was lost, no sink has errors, the queue is nearly empty, and the last audit record is as recent as the last audited request.',
      'Нищо не е загубено, няма грешки при запис, опашката е почти празна, последният одитен запис е скорошен.'),
    number({ title: 'Writes · Пише', about: 'Whether audit records can be written on all nodes. If not, services with audit: full refuse.', unit: 'short', spark: false, mappings: [yes], q: [['min(vazel_audit_ready{@})']] }),
    number({ title: 'Audit lost · Загуби', about: 'Dropped or failed in the selected time.', unit: 'short', decimals: 0, spark: false, th: bad(), q: [['sum(increase(vazel_audit_records_total{@,result=~"dropped|failed"}[$__range]))']] }),
    number({ title: 'Lines lost · Загуби', about: 'Lines of the access log that a slow disk could not take, in the selected time.', unit: 'short', decimals: 0, spark: false, th: bad(), q: [['sum(increase(vazel_log_records_dropped_total{@}[$__range]))']] }),
    number({ title: 'Queue · Опашка', about: 'Share of the audit queue that is in use, on the worst node.', unit: 'percentunit', decimals: 1, th: worse(0.1, 0.5), q: [['max(vazel_audit_queue_records{@} / vazel_audit_queue_capacity_records{@})']] }),
    number({ title: 'Last · Последен', about: 'Time since the last audit record was written on any node.', unit: 's', spark: false, q: [['min(time() - vazel_audit_last_written_timestamp_seconds{@} > 0)']], empty: 'audit_log is off' }),
    number({ title: 'Written · Записани', about: 'Audit records a second.', unit: 'ops', decimals: 1, q: [['sum(rate(vazel_audit_records_total{@,result="written"}[$__rate_interval]))']] }),
    curves({ title: 'Audit records · Одитни записи', about: 'Records a second by what became of them.', unit: 'ops', q: [['sum by (result) (rate(vazel_audit_records_total{@}[$__rate_interval]))', '{{result}}']] }),
    curves({ title: 'Waiting records · Чакащи записи', about: 'Audit records that wait for the disk, by node.', unit: 'short', q: [['sum by (instance) (vazel_audit_queue_records{@})', '{{instance}}']] }),
    curves({ title: 'Log lines lost · Загубени редове', about: 'Lines a second that were dropped, by log.', unit: 'ops', q: [['sum by (sink) (rate(vazel_log_records_dropped_total{@}[$__rate_interval]))', '{{sink}}']] }),
    curves({ title: 'Errors of sinks · Грешки при запис', about: 'Errors in five minutes, by sink.', unit: 'short', empty: 'no sink had an error', q: [['sum by (sink) (increase(vazel_audit_sink_errors_total{@}[5m]))', '{{sink}}']] }),
    table({ title: 'Nodes · Възли', about: 'The records of each node in the selected time.', h: 7, labels: { instance: 'Node · Възел' },
      values: [['min by (instance) (vazel_audit_ready{@})', 'Can write · Може да пише', { mappings: [yes] }], ['sum by (instance) (increase(vazel_audit_records_total{@,result="written"}[$__range]))', 'Written · Записани'], ['sum by (instance) (increase(vazel_audit_records_total{@,result="dropped"}[$__range]))', 'Dropped · Изпуснати', { th: bad() }],
        ['sum by (instance) (increase(vazel_audit_records_total{@,result="failed"}[$__range]))', 'Failed · Неуспешни', { th: bad() }], ['sum by (instance) (increase(vazel_log_records_dropped_total{@}[$__range]))', 'Log lines lost · Загубени редове', { th: bad() }]] }),
  ],
};

export const gateway = {
  uid: 'vazel-process', title: 'Gateway process · Процесът', about: 'Configuration, processor, memory, descriptors.',
  panels: [
    good('One configuration on all nodes, every file in force as it is on disk, processor and memory far from their limits, no panics.',
      'Една конфигурация на всички възли, всеки файл е в сила, процесорът и паметта са далеч от границите, няма паники.'),
    number({ title: 'Versions · Версии', about: 'Different configurations in force. More than 1 is drift.', unit: 'short', spark: false, th: ['green', 2, 'red'], q: [['count(count by (hash) (vazel_config_info{@}))']] }),
    number({ title: 'Taken · Приета', about: 'Whether the last configuration that was tried is in force on all nodes.', unit: 'short', spark: false, mappings: [yes], q: [['min(vazel_config_last_reload_successful{@})']] }),
    number({ title: 'Processor · Процесор', about: 'Processors in use, all nodes together.', unit: 'short', decimals: 2, q: [['sum(rate(process_cpu_seconds_total{@}[$__rate_interval]))']] }),
    number({ title: 'Memory · Памет', about: 'Resident memory of the largest process.', unit: 'bytes', decimals: 0, q: [['max(process_resident_memory_bytes{@})']] }),
    number({ title: 'Files · Файлове', about: 'Share of the file descriptors in use, on the worst node.', unit: 'percentunit', decimals: 1, th: worse(0.5, 0.8), q: [['max(process_open_fds{@} / process_max_fds{@})']] }),
    number({ title: 'Panics · Паники', about: 'Bugs that were caught in the selected time; the log has the stack.', unit: 'short', decimals: 0, spark: false, th: bad(), q: [['sum(increase(vazel_panics_total{@}[$__range]))']] }),
    table({ title: 'Configuration files · Файлове', about: 'Whether each file is in force as it is on disk. no: it has a mistake, and its last good version is in force; vazel check says what is wrong.', w: 12, labels: { instance: 'Node · Възел', file: 'File · Файл' }, sort: ['In force · В сила', 'asc'],
      values: [['min by (instance, file) (vazel_config_file_valid{@})', 'In force · В сила', { mappings: [yes] }]] }),
    table({ title: 'Configured · Конфигурирано', about: 'Reloads in the selected time and what is configured.', w: 12, labels: { instance: 'Node · Възел' }, widths: { 'Node · Възел': 150 },
      values: [['sum by (instance) (increase(vazel_config_reloads_total{@,result="success"}[$__range]))', 'Reloads · Презареждания'], ['sum by (instance) (increase(vazel_config_reloads_total{@,result="failure"}[$__range]))', 'Refused · Отказани', { th: bad() }],
        ['sum by (instance) (vazel_config_objects{@,kind="services"})', 'Services · Услуги'], ['sum by (instance) (vazel_config_objects{@,kind="routes"})', 'Routes · Маршрути'], ['sum by (instance) (vazel_config_objects{@,kind="organizations"})', 'Organizations · Организации']] }),
    curves({ title: 'Processor · Процесор', about: 'Processors in use, by node.', unit: 'short', q: [['sum by (instance) (rate(process_cpu_seconds_total{@}[$__rate_interval]))', '{{instance}}']] }),
    curves({ title: 'Memory · Памет', about: 'Resident memory, and live objects after the last collection.', unit: 'bytes', q: [['sum by (instance) (process_resident_memory_bytes{@})', 'resident · резидентна {{instance}}'], ['sum by (instance) (go_gc_heap_live_bytes{@})', 'live · жива {{instance}}']] }),
    curves({ title: 'Waiting for a processor · Чакане за процесор', about: '99 of 100 pieces of work wait at most this. Over 10 ms: the processors are full.', unit: 's', q: [['histogram_quantile(0.99, sum by (le, instance) (rate(go_sched_latencies_seconds_bucket{@}[$__rate_interval])))', '{{instance}}']] }),
    curves({ title: 'Pressure · Натоварване', about: 'What sheds requests: from 70 % on, by class.', unit: 'percentunit', max: 1, line: true, th: worse(0.5, 0.7), q: [['max by (instance) (vazel_load_pressure_ratio{@})', '{{instance}}']] }),
    curves({ title: 'Goroutines and descriptors · Горутини и дескриптори', about: 'Each connection needs a descriptor and some goroutines.', unit: 'short', q: [['sum by (instance) (go_goroutines{@})', 'goroutines · горутини {{instance}}'], ['sum by (instance) (process_open_fds{@})', 'descriptors · дескриптори {{instance}}']] }),
    curves({ title: 'Network · Мрежа', about: 'Bytes of the process a second, to clients and upstreams together.', unit: 'Bps', q: [['sum by (instance) (rate(process_network_receive_bytes_total{@}[$__rate_interval]))', 'in · вход {{instance}}'], ['sum by (instance) (rate(process_network_transmit_bytes_total{@}[$__rate_interval]))', 'out · изход {{instance}}']] }),
    bars({ title: 'Cache in use · Използван кеш', about: 'Share of the memory for kept responses.', unit: 'percentunit', max: 1, w: 8, h: 5, q: [['sum by (instance) (vazel_cache_bytes{@}) / sum by (instance) (vazel_cache_capacity_bytes{@})', '{{instance}}']] }),
    bars({ title: 'Buffers in use · Заети буфери', about: 'Share of the memory for bodies under inspection. When it is used up, requests are refused.', unit: 'percentunit', max: 1, w: 8, h: 5, q: [['sum by (instance) (vazel_buffer_bytes{@}) / sum by (instance) (vazel_buffer_capacity_bytes{@})', '{{instance}}']] }),
    bars({ title: 'Series over the cap · Серии над лимита', about: 'Observations counted as _overflow in the selected time, by metric.', unit: 'short', decimals: 0, w: 8, h: 5, th: bad(), empty: 'no metric has too many series', q: [['sum by (metric) (increase(vazel_metric_overflow_total{@}[$__range]))', '{{metric}}']] }),
  ],
};
