// TLS and certificates, Limits and quotas, Upstreams and SLO.
import { bad, bars, choice, curves, good, low, number, plain, table, worse, yes } from './panels.mjs';

const end = 'vazel_certificate_not_after_timestamp_seconds';
const left = (kind) => `min by (kind, name) (${end}{@,kind=~"${kind}"} - time())`;
const quantile = (q, metric, by) => `histogram_quantile(${q}, sum by (le${by}) (rate(${metric}_bucket{@}[$__rate_interval])))`;
const calendar = (o) => table({ ...o,
  labels: { ...(o.kinds ? { kind: 'Kind · Вид' } : {}), name: o.named }, after: { issuer: 'Issuer · Издател', serial: 'Serial · Номер' }, widths: o.kinds ? { 'Kind · Вид': 80 } : {}, sort: ['Left · Остават', 'asc'],
  values: [[`${left(o.kind)} * on (kind, name) group_left(issuer, serial) max by (kind, name, issuer, serial) (vazel_certificate_info{@})`, 'Left · Остават', { unit: 's', decimals: 1, th: low(3 * 86400, 21 * 86400), width: 110 }],
    [`min by (kind, name) (${end}{@,kind=~"${o.kind}"}) * 1000 * on (kind, name) group_left(issuer, serial) max by (kind, name, issuer, serial) (vazel_certificate_info{@})`, 'Ends · Изтича', { unit: 'dateTimeAsIso', width: 170 }]] });

export const tls = {
  uid: 'vazel-tls', title: 'TLS and certificates · TLS и сертификати', about: 'Whose certificate ends next, which lists are stale, how clients connect.',
  panels: [
    good('The first rows of the calendars are over three weeks away, every list is fresh, nearly all handshakes succeed, and the share of post-quantum ones grows.',
      'Първите редове на календарите са след повече от три седмици, всеки списък е актуален, почти всички ръкостискания успяват, делът на постквантовите расте.'),
    number({ title: 'Server cert · Сървър', about: 'Time until the first server certificate ends.', unit: 's', spark: false, th: low(3 * 86400, 14 * 86400), q: [[`min(${end}{@,kind="server"} - time())`]] }),
    number({ title: 'Partner cert · Партньор', about: 'Time until the first certificate of an organization ends.', unit: 's', spark: false, th: low(7 * 86400, 21 * 86400), q: [[`min(${end}{@,kind="client"} - time())`]] }),
    number({ title: 'Lists fresh · Актуални', about: 'Share of the revocation lists that are fresh.', unit: 'percentunit', decimals: 0, spark: false, th: low(0.5, 1), q: [['avg(vazel_revocation_list_fresh{@})']] }),
    number({ title: 'Failed · Неуспешни', about: 'Share of the handshakes that failed.', unit: 'percentunit', decimals: 1, th: worse(0.05, 0.2), q: [['(sum(rate(vazel_tls_handshake_errors_total{@}[$__rate_interval])) or vector(0)) / (sum(rate(vazel_tls_handshakes_total{@}[$__rate_interval])) + (sum(rate(vazel_tls_handshake_errors_total{@}[$__rate_interval])) or vector(0)))']] }),
    number({ title: 'PQ · Постквантови', about: 'Share of the handshakes with ML-KEM in the selected time.', unit: 'percentunit', decimals: 0, spark: false, q: [['(sum(increase(vazel_tls_handshakes_total{@,group=~".*MLKEM.*"}[$__range])) or vector(0)) / sum(increase(vazel_tls_handshakes_total{@}[$__range]))']] }),
    number({ title: 'TLS 1.3', about: 'Share of the handshakes with TLS 1.3 in the selected time.', unit: 'percentunit', decimals: 0, spark: false, q: [['(sum(increase(vazel_tls_handshakes_total{@,version="TLS 1.3"}[$__range])) or vector(0)) / sum(increase(vazel_tls_handshakes_total{@}[$__range]))']] }),
    calendar({ title: "Partners' certificates · Сертификати на партньорите", about: 'Of the certificates that each organization really uses, the one that ends first. The next to end is on top.', w: 12, kind: 'client', named: 'Organization · Организация' }),
    calendar({ title: 'Our certificates and authorities · Наши сертификати и издатели', about: 'Of servers, for upstreams, and the authorities of organizations.', w: 12, kind: 'server|upstream|ca', kinds: true, named: 'Name · Име' }),
    table({ title: 'Revocation lists · Списъци с отнети сертификати', about: 'What is known of revoked certificates, and what happens to callers when it is not known (mode).', h: 7, labels: { ca: 'Organization · Организация', mode: 'Mode · Режим' },
      values: [['max by (ca, mode) (vazel_revocation_mode_info{@})', ''], ['min by (ca) (vazel_revocation_list_fresh{@})', 'Fresh · Актуален', { mappings: [yes] }], ['min by (ca) (vazel_revocation_list_next_update_timestamp_seconds{@} - time())', 'Good for · Валиден още', { unit: 's', decimals: 1, th: low(0, 3600) }],
        ['max by (ca) (time() - vazel_revocation_list_last_success_timestamp_seconds{@})', 'Got ago · Получен преди', { unit: 's', decimals: 1 }], ['min by (ca) (vazel_revocation_list_entries{@})', 'Entries · Записи'],
        ['sum by (ca) (increase(vazel_revocation_status_unknown_total{@,outcome="admitted"}[$__range]))', 'Let in unknown · Допуснати неизвестни', { th: bad() }], ['sum by (ca) (increase(vazel_revocation_status_unknown_total{@,outcome="refused"}[$__range]))', 'Refused unknown · Отказани неизвестни', { th: bad() }]] }),
    curves({ title: 'Handshakes by key exchange · Ръкостискания по обмен на ключ', about: 'Completed handshakes a second; names with MLKEM are post-quantum.', unit: 'ops', stack: true, q: [['sum by (group) (rate(vazel_tls_handshakes_total{@}[$__rate_interval]))', '{{group}}']] }),
    curves({ title: 'Failed handshakes · Неуспешни ръкостискания', about: 'By reason; client_alert: mostly a client that does not trust our certificate. Bad client certificates do not fail a handshake: see Organizations.', unit: 'ops', empty: 'no handshake failed', q: [['sum by (reason) (rate(vazel_tls_handshake_errors_total{@}[$__rate_interval]))', '{{reason}}']] }),
    curves({ title: 'Version and resumption · Версия и възобновяване', about: 'Completed handshakes a second.', unit: 'ops', q: [['sum by (version, resumed) (rate(vazel_tls_handshakes_total{@}[$__rate_interval]))', '{{version}}, resumed: {{resumed}}']] }),
    curves({ title: 'Time for a handshake · Време за ръкостискане', about: 'Half and 95 of 100 are done by then; mostly the distance to clients.', unit: 's', q: [[quantile(0.5, 'vazel_tls_handshake_duration_seconds', ''), '50 %'], [quantile(0.95, 'vazel_tls_handshake_duration_seconds', ''), '95 %']] }),
    curves({ title: 'Fetched lists · Получени списъци', w: 8, about: 'Revocation lists that were fetched or read in five minutes, by result.', unit: 'short', q: [['sum by (ca, result) (increase(vazel_revocation_list_fetches_total{@}[5m]))', '{{ca}}: {{result}}']] }),
    curves({ title: 'OCSP and renewals · OCSP и подновяване', w: 8, about: 'Questions to responders and attempts to obtain certificates in five minutes, by result.', unit: 'short', empty: 'neither ocsp nor tls.acme is configured', q: [['sum by (ca, result) (increase(vazel_ocsp_requests_total{@}[5m]))', 'OCSP {{ca}}: {{result}}'], ['sum by (name, result) (increase(vazel_certificate_renewals_total{@}[5m]))', 'renewal {{name}}: {{result}}']] }),
    curves({ title: 'QUIC · QUIC', w: 8, about: 'Packets outside of connections: addresses that have to prove themselves, old versions, refused early data.', unit: 'ops', empty: 'no such packets came', q: [['sum by (event) (rate(vazel_quic_events_total{@}[$__rate_interval]))', '{{event}}']] }),
  ],
};

export const limits = {
  uid: 'vazel-limits', title: 'Limits and quotas · Ограничения и квоти', about: 'Who is near a limit, who is over it, and whether the node is overloaded.',
  variables: [choice('policy', 'Limit · Ограничение', 'label_values(vazel_ratelimit_decisions_total{@}, policy)')],
  panels: [
    good('No organization uses over 80 % of a limit for long, few requests are limited, nothing is shed, and pressure stays under 50 %.',
      'Никоя организация не ползва дълго над 80 % от ограничение, малко заявки са ограничени, нищо не се отхвърля, натоварването е под 50 %.'),
    number({ title: 'Limited · Ограничени', about: 'Requests a second over a limit (429).', unit: 'reqps', decimals: 2, th: ['green', 1, 'orange'], q: [['sum(rate(vazel_ratelimit_decisions_total{@,policy=~"$policy",decision="limited"}[$__rate_interval]))']] }),
    number({ title: 'Share · Дял', about: 'Share of the decisions that were a refusal.', unit: 'percentunit', decimals: 1, th: worse(0.05, 0.2), q: [['sum(rate(vazel_ratelimit_decisions_total{@,policy=~"$policy",decision="limited"}[$__rate_interval])) / sum(rate(vazel_ratelimit_decisions_total{@,policy=~"$policy"}[$__rate_interval]))']] }),
    number({ title: 'Fullest · Най-пълно', about: 'The highest use of any limit of an organization or service.', unit: 'percentunit', decimals: 0, th: worse(0.8, 0.95), empty: 'no limit of an organization or service is in use', q: [['max(vazel_ratelimit_quota_used_ratio{@,policy=~"$policy"})']] }),
    number({ title: 'Shed · Отхвърлени', about: 'Requests a second refused because the node is overloaded (503).', unit: 'reqps', th: bad(0.01), q: [['sum(rate(vazel_requests_shed_total{@}[$__rate_interval]))']] }),
    number({ title: 'Pressure · Натоварване', about: 'Of the node that is pressed hardest; from 70 % on requests are shed by class.', unit: 'percentunit', decimals: 0, th: worse(0.5, 0.7), q: [['max(vazel_load_pressure_ratio{@})']] }),
    number({ title: 'Networks · Мрежи', about: 'Share of the table in which networks are counted one by one.', unit: 'percentunit', decimals: 1, spark: false, th: worse(0.5, 0.9), q: [['max(sum by (instance) (vazel_ratelimit_keys{@}) / on (instance) sum by (instance) (vazel_ratelimit_keys_capacity{@}))']] }),
    table({ title: 'Use of limits · Използване', about: 'Share of its burst that an organization, or a whole service (_all), has in use, and its refusals in the selected time. Bursts are brief: look at both.', w: 12, h: 9, labels: { organization: 'Organization · Организация', policy: 'Limit · Ограничение' }, widths: { 'Limit · Ограничение': 260 }, sort: ['Refused · Отказани', 'desc'],
      values: [['max by (organization, policy) (max_over_time(vazel_ratelimit_quota_used_ratio{@,policy=~"$policy"}[$__range]))', 'Highest use · Най-много', { unit: 'percentunit', th: worse(0.8, 0.95) }], ['sum by (organization, policy) (increase(vazel_ratelimit_limited_total{@,policy=~"$policy"}[$__range]))', 'Refused · Отказани', { th: worse(1, 100) }]] }),
    table({ title: 'Limits · Ограничения', about: 'Decisions of each limit in the selected time.', w: 12, h: 9, labels: { policy: 'Limit · Ограничение' }, widths: { 'Limit · Ограничение': 290 }, sort: ['Limited · Ограничени', 'desc'],
      values: [['sum by (policy) (increase(vazel_ratelimit_decisions_total{@,policy=~"$policy",decision="allowed"}[$__range]))', 'Allowed · Допуснати'], ['sum by (policy) (increase(vazel_ratelimit_decisions_total{@,policy=~"$policy",decision="limited"}[$__range]))', 'Limited · Ограничени', { th: worse(1, 100) }],
        ['sum by (policy) (vazel_ratelimit_keys{@,policy=~"$policy"})', 'Networks · Мрежи'], ['sum by (policy) (increase(vazel_ratelimit_evictions_total{@,policy=~"$policy"}[$__range]))', 'Lost places · Загубени места', { th: bad() }]] }),
    curves({ title: 'Limited by policy · Отказани по ограничения', about: 'Requests a second over each limit.', unit: 'reqps', stack: true, q: [['sum by (policy) (rate(vazel_ratelimit_decisions_total{@,policy=~"$policy",decision=~"limited|shadow_limited|error"}[$__rate_interval])) > 0 or sum by (policy) (rate(vazel_ratelimit_decisions_total{@,policy=~"$policy",decision="limited"}[$__rate_interval]))', '{{policy}}']] }),
    curves({ title: 'Limited by organization · Отказани по организации', about: 'Requests a second over a limit.', unit: 'reqps', q: [['sum by (organization) (rate(vazel_ratelimit_limited_total{@,policy=~"$policy"}[$__rate_interval]))', '{{organization}}']] }),
    curves({ title: 'Shed by class · Отхвърлени по клас', about: 'The least important are refused first: low, normal (anonymous), organization, high.', unit: 'reqps', stack: true, q: [['sum by (class) (rate(vazel_requests_shed_total{@}[$__rate_interval]))', '{{class}}']] }),
    curves({ title: 'Pressure by node · Натоварване по възли', about: 'The highest of requests under way, waiting work and memory.', unit: 'percentunit', max: 1, line: true, th: worse(0.5, 0.7), q: [['max by (instance) (vazel_load_pressure_ratio{@})', '{{instance}}']] }),
  ],
};

const U = 'upstream=~"$upstream"';
const S = 'service=~"$upstream"';
const service = (x) => `label_replace(${x}, "service", "$1", "route", "([^/]+).*")`;
const failed = (w, name) => [`sum by (service) (vazel:service_error:ratio_rate${w}{job=~"$job",${S}}) / scalar(vazel:error_budget:ratio) or sum by (service) (0 * vazel:service_requests:rate5m{job=~"$job",${S}})`, name, { unit: 'suffix:×', decimals: 1, th: worse(1, 6) }];
export const upstreams = {
  uid: 'vazel-upstreams', title: 'Upstreams and SLO · Услуги и цели', about: 'Which service is slow or failing, and whose fault it is: the upstream\'s, the way to it, or the gateway\'s.',
  variables: [choice('upstream', 'Service · Услуга', 'label_values(vazel_upstream_circuit_open{@}, upstream)')],
  panels: [
    good('Burn rates are under 1× (the budget of 0.5 % errors lasts the month), all servers are healthy, "until the upstream answers" is close to "whole request". If only the second is high, the gateway or the client is slow; if both are, the upstream is.',
      'Бюджетът се харчи под 1×, всички сървъри са здрави, двете времена са близки. Ако само "цялата заявка" е бавна, причината е в шлюза или клиента; ако и двете, в услугата.'),
    table({ title: 'Error budget · Бюджет за грешки', about: 'How many times faster than allowed each service uses its budget of errors (0.5 % of requests), over an hour, six hours, a day, three days; and the share of requests over a second. Needs the recording rules.', h: 8, labels: { service: 'Service · Услуга' },
      values: [failed('1h', '1 h · 1 ч'), failed('6h', '6 h · 6 ч'), failed('1d', '1 day · 1 ден'), failed('3d', '3 days · 3 дни'),
        [`sum by (service) (vazel:service_slow:ratio_rate1h{job=~"$job",${S}})`, 'Over 1 s · Над 1 сек', { unit: 'percentunit', decimals: 1, th: worse(0.05, 0.3) }], [`sum by (service) (vazel:service_requests:rate5m{job=~"$job",${S}})`, 'Requests/s · Заявки/с', { unit: 'reqps', decimals: 1 }]] }),
    curves({ title: 'Until the upstream answers · До отговор от услугата', about: '95 of 100 heads of responses are there by then: the upstream\'s own time.', unit: 's', q: [[`histogram_quantile(0.95, sum by (le, upstream) (rate(vazel_upstream_first_byte_duration_seconds_bucket{@,${U}}[$__rate_interval]))) > 0`, '{{upstream}}']] }),
    curves({ title: 'Whole request · Цялата заявка', about: '95 of 100 are done by then: inspection, limits, upstream, and sending the answer to the client.', unit: 's', q: [[`histogram_quantile(0.95, sum by (le, service) (${service('rate(vazel_http_request_duration_seconds_bucket{@}[$__rate_interval])')})) > 0`, '{{service}}']] }),
    curves({ title: 'Answers of upstreams · Отговори на услугите', about: 'Attempts a second by class of status. 5xx here is the upstream\'s own fault.', unit: 'reqps', q: [[`sum by (upstream, code_class) (rate(vazel_upstream_requests_total{@,${U},code_class=~"2xx|5xx|error"}[$__rate_interval])) > 0`, '{{upstream}} {{code_class}}']] }),
    curves({ title: 'Upstreams not reached · Недостигнати услуги', about: 'Exchanges that failed, by reason: the network, the process or its certificate.', unit: 'ops', q: [[`sum by (upstream, reason) (rate(vazel_upstream_errors_total{@,${U}}[$__rate_interval])) > 0`, '{{upstream}}: {{reason}}']], empty: 'every exchange with an upstream succeeded' }),
    table({ title: 'Whose fault · По чия вина', about: 'Requests with 5xx in the selected time by code. 502: not reached or nonsense; 503: no healthy server, overload or audit; 504: too slow; 500: the upstream, or a bug.', w: 12, labels: { route: 'Route · Маршрут', code: 'Status · Статус' }, empty: 'no request ended with 5xx', sort: ['Requests · Заявки', 'desc'],
      values: [['sum by (route, code) (increase(vazel_http_requests_total{@,code=~"5..",route=~"($upstream)(/.*)?"}[$__range])) > 0', 'Requests · Заявки']] }),
    table({ title: 'Servers · Сървъри', about: 'Each server of each upstream: chosen for requests or not, and its health checks in the selected time.', w: 12, labels: { upstream: 'Service · Услуга', server: 'Server · Сървър' }, widths: { 'Service · Услуга': 190, 'Server · Сървър': 170 },
      values: [[`min by (upstream, server) (vazel_upstream_server_healthy{@,${U}})`, 'In use · В употреба', { mappings: [yes] }], [`sum by (upstream, server) (increase(vazel_upstream_health_checks_total{@,${U},result="success"}[$__range]))`, 'Checks passed · Успешни проверки'], [`sum by (upstream, server) (increase(vazel_upstream_health_checks_total{@,${U},result!="success"}[$__range]))`, 'Checks failed · Неуспешни проверки', { th: bad() }]] }),
    curves({ title: 'Retries · Повторни опити', about: 'Requests sent again; budget_exhausted: not sent, because too many failed.', unit: 'ops', q: [[`sum by (result) (rate(vazel_upstream_retries_total{@,${U}}[$__rate_interval]))`, '{{result}}']] }),
    curves({ title: 'Connections to upstreams · Връзки към услугите', about: 'Open HTTP/1.1 connections: in use, and kept for later.', unit: 'short', q: [[`sum by (state) (vazel_upstream_connections_open{@,${U}})`, '{{state}}']] }),
    bars({ title: 'Time to connect · Време за свързване', about: '95 of 100 connections are made by then, TLS included.', w: 24, h: 6, unit: 's', th: plain, q: [[`histogram_quantile(0.95, sum by (le, upstream) (increase(vazel_upstream_connect_duration_seconds_bucket{@,${U}}[$__range]))) > 0`, '{{upstream}}']] }),
  ],
};
