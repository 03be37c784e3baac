// Overview, Traffic, Organizations.
import { bad, bars, between, choice, curves, good, lead, low, number, table, worse, yes } from './panels.mjs';

const refused = 'outcome=~"unauthorized|limited|blocked"';
const service = (x) => `label_replace(${x}, "service", "$1", "route", "([^/]+).*")`;
const p = (q, by, metric = 'vazel_http_request_duration_seconds', sel = '@') => `histogram_quantile(${q}, sum by (le${by ? ', ' + by : ''}) (rate(${metric}_bucket{${sel}}[$__rate_interval])))`;
const expiry = 'vazel_certificate_not_after_timestamp_seconds';
// Time of a service's requests in a window, and the part of it until the upstream answered.
const spent = (metric, by) => `sum by (service) (${by(`increase(${metric}{@}[$__range])`)})`;
const ofUpstream = (x) => `label_replace(${x}, "service", "$1", "upstream", "(.*)")`;

export const overview = {
  uid: 'vazel-overview', title: 'Overview · Общ преглед', about: 'Is anything wrong, and where to look next.',
  panels: [
    good('All nodes answer and run one configuration, errors are under 0.5 %, no list is stale, nothing is lost from logs, and the only alert is **VazelWatchdog**. Everything green: you are done.',
      'Всички възли отговарят и са с една конфигурация, грешките са под 0,5 %, няма остарели списъци и загубени записи, и единствената аларма е **VazelWatchdog**. Всичко е зелено: готово.'),
    number({ title: 'Nodes · Възли', to: 'vazel-process', about: 'Gateways that Prometheus reaches.', unit: 'short', th: low(1, 1), q: [['count(vazel_build_info{@})']] }),
    number({ title: 'Requests · Заявки', to: 'vazel-traffic', about: 'Completed requests a second.', unit: 'reqps', q: [['sum(rate(vazel_http_requests_total{@}[$__rate_interval]))']] }),
    number({ title: 'Errors · Грешки', to: 'vazel-upstreams', about: 'Share of requests that ended with 5xx: errors of upstreams or of the gateway.', unit: 'percentunit', decimals: 2, th: worse(0.005, 0.05), q: [['(sum(rate(vazel_http_requests_total{@,code=~"5.."}[$__rate_interval])) or vector(0)) / sum(rate(vazel_http_requests_total{@}[$__rate_interval]))']] }),
    number({ title: 'Refused · Отказани', to: 'vazel-organizations', about: 'Share of requests refused for identity, limits or inspection. Some is normal on the internet; a sudden change is not.', unit: 'percentunit', decimals: 1, th: worse(0.1, 0.3), q: [[`(sum(rate(vazel_organization_requests_total{@,${refused}}[$__rate_interval])) or vector(0)) / sum(rate(vazel_organization_requests_total{@}[$__rate_interval]))`]] }),
    number({ title: '95 % in · 95 % за', to: 'vazel-upstreams', about: 'Time within which 95 of 100 requests are done, last byte included.', unit: 's', th: worse(1, 3), q: [[p(0.95, '')]] }),
    number({ title: 'Partners · Партньори', to: 'vazel-inspection', about: 'Requests of proven organizations that inspection blocked in the selected time. Real users, unless a system was taken over; "Inspection" says who and which rules.', unit: 'short', decimals: 0, spark: false, th: bad(), q: [['sum(increase(vazel_organization_requests_total{@,outcome="blocked",organization!~"_.*"}[$__range])) or vector(0)']] }),
    number({ title: 'Next expiry · Изтича', to: 'vazel-tls', about: 'Time until the first certificate ends: of servers, of partners, for upstreams. "TLS and certificates" says which.', unit: 's', spark: false, th: low(3 * 86400, 14 * 86400), q: [[`min(${expiry}{@} - time())`]] }),
    number({ title: 'Stale lists · Стари', to: 'vazel-tls', about: 'Revocation lists that are stale or missing. With mode require their callers are refused.', unit: 'short', spark: false, th: bad(), q: [['sum(1 - vazel_revocation_list_fresh{@})']] }),
    number({ title: 'Lost logs · Загуби', to: 'vazel-audit', about: 'Lines of the access log and audit records that were lost in the selected time. 0: the logs are complete.', unit: 'short', decimals: 0, spark: false, th: bad(), q: [['sum(increase(vazel_log_records_dropped_total{@}[$__range])) + sum(increase(vazel_audit_records_total{@,result=~"dropped|failed"}[$__range]))']] }),
    number({ title: 'Upstream down · Спрели', to: 'vazel-upstreams', about: 'Upstreams without any usable server.', unit: 'short', spark: false, th: bad(), q: [['sum(max by (upstream) (vazel_upstream_circuit_open{@}))']] }),
    number({ title: 'Pressure · Натоварване', to: 'vazel-limits', about: 'Of the node that is pressed hardest. From 70 % on requests are refused by class.', unit: 'percentunit', decimals: 0, th: worse(0.5, 0.7), q: [['max(vazel_load_pressure_ratio{@})']] }),
    number({ title: 'Attacks · Атаки', to: 'vazel-inspection', about: 'Requests a second that inspection blocked, or would have blocked in detect mode.', unit: 'reqps', decimals: 2, q: [['sum(rate(vazel_inspection_requests_total{@,outcome=~"block|detect"}[$__rate_interval])) or vector(0)']] }),
    table({ title: 'Alerts · Аларми', about: 'What fires now. Each name leads to its page in docs/runbooks. VazelWatchdog always fires.', w: 12, h: 8,
      leads: { 'Alert · Аларма': [{ title: 'Runbook', url: 'https://github.com/vazel-gateway/vazel/blob/main/docs/runbooks/${__value.raw}.md', targetBlank: true }] }, labels: { alertname: 'Alert · Аларма', severity: 'Severity · Важност', category: 'Category · Вид' }, widths: { 'Alert · Аларма': 310 }, sort: ['Severity · Важност', 'asc'], values: [['count by (alertname, severity, category) (ALERTS{alertstate="firing",alertname=~"Vazel.*"})', 'Count · Брой']] }),
    table({ title: 'Who is refused, and why · Кой е отказан и защо', to: ['vazel-organizations', 'vazel-investigation'], about: 'Refused in the selected time, with the route where it has one: proven organizations for want of a right (unauthorized), over a limit (limited) or by inspection (blocked); others for their certificate, by the organization that it names (_unknown: none that is configured). docs/errors.md explains the reasons.', w: 12, h: 8,
      labels: { organization: 'Organization · Организация', reason: 'Reason · Причина', route: 'Route · Маршрут' }, sort: ['Refused · Отказани', 'desc'], empty: 'nobody was refused',
      leads: { 'Organization · Организация': [lead('vazel-organizations', 'organization'), lead('vazel-investigation', 'organization')] },
      values: [[`topk(12, (label_replace(sum by (organization, route, outcome) (increase(vazel_organization_requests_total{@,organization!~"_.*",${refused}}[$__range])), "reason", "$1", "outcome", "(.*)") or sum by (organization, reason) (increase(vazel_mtls_rejections_total{@}[$__range]))) >= 1)`, 'Refused · Отказани']], hidden: ['outcome'] }),
    table({ title: 'Services: how fast, and where the time goes · Услуги: колко бързо и къде отива времето', to: 'vazel-upstreams', about: 'Each service in the selected time. "Mostly in": where most of the time of its requests was spent, in the upstream until it answered, or in the gateway and on the way to the client.', w: 24, h: 10,
      labels: { service: 'Service · Услуга' }, sort: ['95 % done in · 95 % за', 'desc'], leads: { 'Service · Услуга': [lead('vazel-upstreams', 'upstream')] },
      values: [[`sum by (service) (${service('increase(vazel_http_requests_total{@}[$__range])')}) > 0`, 'Requests · Заявки'],
        [`sum by (service) (${service('increase(vazel_http_requests_total{@,code=~"5.."}[$__range])')}) / sum by (service) (${service('increase(vazel_http_requests_total{@}[$__range])')}) or sum by (service) (0 * ${service('vazel_http_request_bytes_total{@}')})`, 'Errors · Грешки', { unit: 'percentunit', decimals: 2, th: worse(0.005, 0.05) }],
        [`histogram_quantile(0.95, sum by (le, service) (${service('increase(vazel_http_request_duration_seconds_bucket{@}[$__range])')})) >= 0`, '95 % done in · 95 % за', { unit: 's', decimals: 2, th: worse(1, 3) }],
        [`histogram_quantile(0.95, sum by (le, service) (${ofUpstream('increase(vazel_upstream_first_byte_duration_seconds_bucket{@}[$__range])')})) >= 0`, 'of that upstream · от тях услугата', { unit: 's', decimals: 2, th: worse(1, 3) }],
        [`${spent('vazel_upstream_first_byte_duration_seconds_sum', ofUpstream)} / (${spent('vazel_http_request_duration_seconds_sum', service)} > 0)`, 'Mostly in · Основно в', { unit: 'percentunit', mappings: [between(0.5, null, 'upstream · услугата', 'orange'), between(null, 0.5, 'gateway, client · шлюз, клиент', 'text')], width: 240 }]] }),
    table({ title: 'Ends next · Изтича следващо', to: 'vazel-tls', about: 'The five certificates that end first: of partners (client), of servers, towards upstreams, of authorities (ca).', w: 24, h: 8, widths: { 'Kind · Вид': 90, 'Left · Остават': 130 },
      labels: { kind: 'Kind · Вид', name: 'Name · Име' }, sort: ['Left · Остават', 'asc'],
      values: [[`bottomk(5, min by (kind, name) (${expiry}{@} - time()))`, 'Left · Остават', { unit: 's', decimals: 1, th: low(3 * 86400, 21 * 86400) }]] }),
    curves({ title: 'Requests by service · Заявки по услуги', to: 'vazel-traffic', about: 'Completed requests a second.', unit: 'reqps', stack: true, q: [[`sum by (service) (${service('rate(vazel_http_requests_total{@}[$__rate_interval])')})`, '{{service}}']] }),
    curves({ title: 'Errors by service · Грешки по услуги', to: 'vazel-upstreams', about: 'Requests a second that ended with 5xx.', unit: 'reqps', empty: 'no request ended with 5xx', q: [[`sum by (service) (${service('rate(vazel_http_requests_total{@,code=~"5.."}[$__rate_interval])')})`, '{{service}}']] }),
    table({ title: 'Nodes · Възли', about: 'Each node: what it runs, whether its last configuration was taken, and how hard it is pressed. Different hashes are drift.', h: 7,
      labels: { instance: 'Node · Възел', version: 'Version · Версия', fips: 'FIPS', hash: 'Configuration · Конфигурация' },
      values: [['sum by (instance, version, fips, hash) (vazel_build_info{@} * on (job, instance) group_left(hash) vazel_config_info{@})', ''],
        ['sum by (instance) (vazel_config_last_reload_successful{@})', 'Last change taken · Приета промяна', { mappings: [yes] }],
        ['sum by (instance) (time() - vazel_config_last_reload_success_timestamp_seconds{@})', 'In force for · В сила от', { unit: 's' }],
        ['sum by (instance) (time() - process_start_time_seconds{@})', 'Runs for · Работи от', { unit: 's' }],
        ['max by (instance) (vazel_load_pressure_ratio{@})', 'Pressure · Натоварване', { unit: 'percentunit', th: worse(0.5, 0.7) }]] }),
  ],
};

const R = 'route=~"$route"';
export const traffic = {
  uid: 'vazel-traffic', title: 'Traffic · Трафик', about: 'What comes in, what goes out, how long it takes.',
  variables: [choice('route', 'Route · Маршрут', 'label_values(vazel_http_requests_total{@}, route)')],
  panels: [
    good('Curves follow the time of day. 2xx dominate, 5xx are near zero, 95 % of requests are done within a second, and few connections are turned away or aborted.',
      'Кривите следват часа на деня. Преобладават 2xx, 5xx са почти нула, 95 % от заявките са готови до секунда, малко връзки са върнати или прекъснати.'),
    curves({ title: 'Requests by route · Заявки по маршрути', about: 'Completed requests a second.', unit: 'reqps', stack: true, q: [[`sum by (route) (rate(vazel_http_requests_total{@,${R}}[$__rate_interval]))`, '{{route}}']] }),
    curves({ title: 'Requests by status · Заявки по резултат', about: 'Completed requests a second by status; 499: the client left first.', unit: 'reqps', stack: true, q: [[`sum by (code) (rate(vazel_http_requests_total{@,${R}}[$__rate_interval]))`, '{{code}}']] }),
    curves({ title: 'Time for a request · Време за заявка', about: 'From the head of the request to the last byte of the answer: half, 95 and 99 of 100 are done by then.', unit: 's', q: [[p(0.5, '', undefined, `@,${R}`), '50 %'], [p(0.95, '', undefined, `@,${R}`), '95 %'], [p(0.99, '', undefined, `@,${R}`), '99 %']] }),
    curves({ title: 'Under way · В момента', about: 'Requests that are being handled, by listener.', unit: 'short', q: [['sum by (listener) (vazel_http_requests_in_flight{@})', '{{listener}}']] }),
    curves({ title: 'Bytes · Обем', about: 'Bodies from clients (in) and to clients (out).', unit: 'Bps', q: [[`sum(rate(vazel_http_request_bytes_total{@,${R}}[$__rate_interval]))`, 'in · вход'], [`sum(rate(vazel_http_response_bytes_total{@,${R}}[$__rate_interval]))`, 'out · изход']] }),
    curves({ title: 'Protocols · Протоколи', about: 'Requests a second by HTTP version and method.', unit: 'reqps', q: [[`sum by (protocol, method) (rate(vazel_http_requests_total{@,${R}}[$__rate_interval]))`, '{{protocol}} {{method}}']] }),
    table({ title: 'Routes · Маршрути', about: 'All selected routes over the selected time.', h: 9, labels: { route: 'Route · Маршрут' }, sort: ['Requests · Заявки', 'desc'],
      values: [[`sum by (route) (increase(vazel_http_requests_total{@,${R}}[$__range]))`, 'Requests · Заявки'],
        [`sum by (route) (increase(vazel_http_requests_total{@,${R},code=~"5.."}[$__range])) / sum by (route) (increase(vazel_http_requests_total{@,${R}}[$__range])) or sum by (route) (0 * vazel_http_request_bytes_total{@,${R}})`, 'Errors · Грешки', { unit: 'percentunit', decimals: 2, th: worse(0.005, 0.05) }],
        [`histogram_quantile(0.95, sum by (le, route) (increase(vazel_http_request_duration_seconds_bucket{@,${R}}[$__range])))`, '95 % done in · 95 % за', { unit: 's', decimals: 1, th: worse(1, 3) }],
        [`sum by (route) (increase(vazel_http_response_bytes_total{@,${R}}[$__range]))`, 'Sent · Изпратени', { unit: 'bytes', decimals: 1 }]] }),
    curves({ title: 'Connections · Връзки', about: 'Open client connections and new ones a second.', unit: 'short', q: [['sum by (transport) (vazel_connections_open{@})', 'open · отворени {{transport}}'], ['sum by (transport) (rate(vazel_connections_total{@}[$__rate_interval]))', 'new/s · нови/с {{transport}}']] }),
    curves({ title: 'Refused before a route · Отказани преди маршрут', about: 'Requests that fit no service or can\'t be read, by reason.', unit: 'reqps', empty: 'every request found its service', q: [['sum by (reason) (rate(vazel_http_requests_rejected_total{@}[$__rate_interval]))', '{{reason}}']] }),
    curves({ title: 'Connections ended or turned away · Прекъснати и върнати връзки', about: 'Ended for what the client sent (floods, protocol errors), closed at once (limits), or not handed over by the system.', unit: 'short', empty: 'no connection was ended or turned away',
      q: [['sum by (reason) (rate(vazel_connections_aborted_total{@}[$__rate_interval]))', 'ended: {{reason}}'], ['sum by (reason) (rate(vazel_connections_rejected_total{@}[$__rate_interval]))', 'turned away: {{reason}}'], ['sum by (listener) (rate(vazel_accept_errors_total{@}[$__rate_interval]))', 'accept: {{listener}}']] }),
    curves({ title: 'Size of responses · Размер на отговорите', about: 'The mean body. The native histogram vazel_http_response_size_bytes has the distribution.', unit: 'bytes', q: [[`sum(rate(vazel_http_response_size_bytes_sum{@,${R}}[$__rate_interval])) / sum(rate(vazel_http_response_size_bytes_count{@,${R}}[$__rate_interval])) or histogram_sum(sum(rate(vazel_http_response_size_bytes{@,${R}}[$__rate_interval]))) / histogram_count(sum(rate(vazel_http_response_size_bytes{@,${R}}[$__rate_interval])))`, 'mean · средно']] }),
    curves({ title: 'Cache · Кеш', about: 'Requests of routes with a cache, by what became of them.', unit: 'reqps', empty: 'no route has a cache', q: [['sum by (result) (rate(vazel_cache_requests_total{@}[$__rate_interval]))', '{{result}}']] }),
  ],
};

const O = 'organization=~"$organization"';
const sum = (outcome) => `sum by (organization) (increase(vazel_organization_requests_total{@,${O},outcome="${outcome}"}[$__range]))`;
export const organizations = {
  uid: 'vazel-organizations', title: 'Organizations · Организации', about: 'Who calls, who is refused and why, whose certificate ends.',
  variables: [choice('organization', 'Organization · Организация', 'label_values(vazel_organization_requests_total{@}, organization)')],
  panels: [
    good('Each organization has mostly **ok**; refusals are single ones; every last request is as recent as its integration runs; no certificate ends within three weeks. `_anonymous` proved no organization, `_unknown` named none that is configured.',
      'Всяка организация има предимно **ok**; отказите са единични; последната заявка е скорошна; до три седмици не изтича сертификат. `_anonymous` не доказва организация, `_unknown` не назовава позната.'),
    table({ title: 'Organizations · Организации', about: 'Requests in the selected time by outcome, the last success, and the end of the certificate that each uses (of those seen, the one that ends first).', h: 9, labels: { organization: 'Organization · Организация' },
      values: [[sum('ok'), 'OK · Успешни'], [sum('unauthorized'), 'No right · Без право', { th: worse(1, 100) }], [sum('limited'), 'Limited · Ограничени', { th: worse(1, 100) }], [sum('blocked'), 'Blocked · Спрени', { th: worse(1, 10) }],
        [sum('client_error'), '4xx · Грешни'], [sum('server_error'), '5xx · Грешки', { th: worse(1, 10) }],
        [`sum by (organization) (increase(vazel_organization_response_bytes_total{@,${O}}[$__range]))`, 'Sent · Изпратени', { unit: 'bytes', decimals: 1 }],
        [`max by (organization) (vazel_organization_last_request_timestamp_seconds{@,${O}}) * 1000`, 'Last success · Последен успех', { unit: 'dateTimeFromNow' }],
        [`min by (organization) (label_replace(${expiry}{@,kind="client"} - time(), "organization", "$1", "name", "(.*)"))`, 'Certificate · Сертификат', { unit: 's', decimals: 1, th: low(7 * 86400, 21 * 86400) }]] }),
    table({ title: 'Refused for the certificate · Отказ заради сертификат', to: 'vazel-investigation', about: 'Which organization is refused, and why: the one that the certificate names. docs/errors.md explains the reasons.', w: 12,
      leads: { 'Organization · Организация': [lead('vazel-investigation', 'organization')] },
      labels: { organization: 'Organization · Организация', reason: 'Reason · Причина' }, sort: ['Requests · Заявки', 'desc'], values: [['sum by (organization, reason) (increase(vazel_mtls_rejections_total{@,organization=~"$organization|_unknown"}[$__range])) > 0', 'Requests · Заявки']] }),
    table({ title: 'Refused at a route · Отказ при маршрут', to: ['vazel-limits', 'vazel-inspection', 'vazel-investigation'], about: 'No right (unauthorized), over a limit (limited), or blocked by inspection (blocked), by organization and route.', w: 12,
      leads: { 'Organization · Организация': [lead('vazel-investigation', 'organization')], 'Route · Маршрут': [lead('vazel-inspection', 'route'), lead('vazel-traffic', 'route')] },
      labels: { organization: 'Organization · Организация', route: 'Route · Маршрут', outcome: 'Why · Защо' }, sort: ['Requests · Заявки', 'desc'], values: [[`sum by (organization, route, outcome) (increase(vazel_organization_requests_total{@,${O},${refused}}[$__range])) > 0`, 'Requests · Заявки']] }),
    curves({ title: 'Requests by organization · Заявки по организации', about: 'Completed requests a second.', unit: 'reqps', stack: true, q: [[`sum by (organization) (rate(vazel_organization_requests_total{@,${O}}[$__rate_interval]))`, '{{organization}}']] }),
    curves({ title: 'Refusals by organization · Откази по организации', about: 'Requests a second with outcome unauthorized, limited or blocked.', unit: 'reqps', q: [[`sum by (organization, outcome) (rate(vazel_organization_requests_total{@,${O},${refused}}[$__rate_interval]))`, '{{organization}}: {{outcome}}']] }),
    curves({ title: 'Volume by organization · Обем по организации', about: 'Bytes of answers a second.', unit: 'Bps', q: [[`sum by (organization) (rate(vazel_organization_response_bytes_total{@,${O}}[$__rate_interval]))`, '{{organization}}']] }),
    bars({ title: 'Post-quantum by organization · Постквантови по организации', about: 'Share of the handshakes of each organization with ML-KEM, since the nodes started. Who is at 0 needs a newer TLS library.', unit: 'percentunit', max: 1,
      q: [[`sum by (organization) (vazel_organization_handshakes_total{@,${O},group=~".*MLKEM.*"}) / sum by (organization) (vazel_organization_handshakes_total{@,${O}}) or sum by (organization) (0 * vazel_organization_handshakes_total{@,${O}})`, '{{organization}}']] }),
    curves({ title: 'Rights withdrawn · Отнети права', about: 'Connections and requests that were ended because a right ended: revocation, a removed organization, a narrowed allow.', unit: 'short', w: 24, empty: 'no right was withdrawn',
      q: [[`sum by (organization, reason) (increase(vazel_connections_withdrawn_total{@,${O}}[$__rate_interval]))`, 'connections · връзки {{organization}}: {{reason}}'], [`sum by (organization, reason) (increase(vazel_http_requests_withdrawn_total{@,${O}}[$__rate_interval]))`, 'requests · заявки {{organization}}: {{reason}}']] }),
  ],
};
