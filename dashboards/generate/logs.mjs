// Investigation: the one page that asks Loki instead of Prometheus.
import { bars, choice, curves, good, lines, textbox } from './panels.mjs';

// Lines of the access log; the security log has the refused ones a second time,
// with whole addresses, and often goes to another place.
const access = '{job=~"$job",instance=~"$instance"} | json | event_dataset="vazel.access" | vazel_organization=~"$organization"';
const denied = `${access} | vazel_decision="deny"`;
const count = (by, q, window) => `sum by (${by}) (count_over_time(${q} [${window}]))`;
const who = { vazel_organization: 'Organization · Организация', vazel_claimed_organization: 'Claimed · По сертификат' };
const what = { http_request_method: 'Method · Метод', url_domain: 'Host · Хост', url_path: 'Path · Път', http_response_status_code: 'Status · Статус' };
const why = { vazel_denied_by: 'Refused by · Отказано от', vazel_reason: 'Reason · Причина', vazel_detail: 'Detail · Подробности' };
const number = { event_id: 'Incident · Инцидент' };
const widths = { 'Incident · Инцидент': 300, 'Organization · Организация': 110, 'Claimed · По сертификат': 100, 'Method · Метод': 72, 'Status · Статус': 70, 'Refused by · Отказано от': 95, 'Network · Мрежа': 105, 'Reason · Причина': 150 };
const wrapped = ['Host · Хост', 'Path · Път', 'Detail · Подробности', 'Route · Маршрут', 'Trace · Следа'];

export const investigation = {
  uid: 'vazel-investigation', title: 'Investigation · Разследване', about: 'From the incident number that a caller sends to who, what and why. Needs Loki with the access log under the labels job and instance of Prometheus.',
  loki: true,
  variables: [choice('organization', 'Organization · Организация', 'label_values(vazel_organization_requests_total{@}, organization)'), textbox('incident', 'Incident · Инцидент'), textbox('trace', 'Trace · Следа')],
  panels: [
    good('A caller who was refused has an incident number: put it above, and the first table says who asked for what, and which rule refused. Then look whether others have the same reason. In good times the curves show single refusals, and no organization stands out.',
      'Отказаният има номер на инцидент: въведете го горе, и първата таблица казва кой какво е поискал и кое правило е отказало. В добри времена отказите са единични.'),
    lines({ title: 'The incident · Инцидентът', about: 'The request with the incident number, or all requests of the trace (ours, or that of a partner), from the head of this page.', h: 6, labels: { ...number, ...who, ...what, ...why, vazel_route: 'Route · Маршрут', client_address: 'Network · Мрежа', trace_id: 'Trace · Следа' }, most: 50, widths, wrapped,
      q: '{job=~"$job",instance=~"$instance"} |~ "$incident" |~ "$trace" | json | event_dataset="vazel.access" | event_id="$incident" or trace_id="$trace" or (vazel_linked_trace_id="$trace" and vazel_linked_trace_id!="")', empty: 'no incident number was given' }),
    curves({ title: 'Refusals by reason · Откази по причина', about: 'Refused requests by reason; docs/errors.md explains each.', unit: 'short', stack: true, empty: 'nothing was refused', q: [[count('vazel_reason', denied, '$__auto'), '{{vazel_reason}}']] }),
    curves({ title: 'Refusals by organization · Откази по организации', about: 'Refused requests by proven organization; without a name: none was proven.', unit: 'short', stack: true, empty: 'nothing was refused', q: [[count('vazel_organization', denied, '$__auto'), 'organization · организация: {{vazel_organization}}']] }),
    bars({ title: 'Most refused routes · Маршрути с най-много откази', about: 'In the selected time, with the policy that refused.', unit: 'locale', decimals: 0, empty: 'nothing was refused', q: [[`topk(10, ${count('vazel_route, vazel_denied_by', denied, '$__range')})`, '{{vazel_route}}: {{vazel_denied_by}}']] }),
    bars({ title: 'Most refused networks · Мрежи с най-много откази', about: 'In the selected time. The access log cuts addresses to /24 and /48; the security log has them whole.', unit: 'locale', decimals: 0, empty: 'nothing was refused', q: [[`topk(10, ${count('client_address', denied, '$__range')})`, '{{client_address}}']] }),
    lines({ title: 'Last refused requests · Последни откази', about: 'The newest 200.', h: 10, labels: { ...number, vazel_organization: who.vazel_organization, ...what, ...why, client_address: 'Network · Мрежа' }, most: 200, widths, wrapped, q: denied, empty: 'nothing was refused' }),
    lines({ title: 'Inspection · Инспекция', about: 'Requests that rules of inspection spoke of: what was blocked, or would have been in detect mode, by which rules.', h: 8, most: 200, widths, wrapped, empty: 'no rule spoke', q: `${access} | vazel_inspection_score > 0`,
      labels: { ...number, vazel_organization: who.vazel_organization, vazel_route: 'Route · Маршрут', url_path: what.url_path, vazel_inspection_mode: 'Mode · Режим', vazel_inspection_score: 'Score · Оценка', vazel_inspection_category: 'Category · Вид', vazel_decision: 'Decision · Решение' } }),
    lines({ title: 'Failed at the upstream · Неуспех при услугата', about: 'Requests whose upstream could not be reached or did not answer well, after how many attempts.', h: 8, most: 200, widths, wrapped, empty: 'every upstream answered', q: `${access} | vazel_upstream_error!=""`,
      labels: { ...number, vazel_route: 'Route · Маршрут', vazel_upstream_server: 'Server · Сървър', vazel_upstream_error: 'Error · Грешка', vazel_attempts: 'Attempts · Опити', http_response_status_code: 'Status · Статус' } }),
    lines({ title: 'Slow requests · Бавни заявки', about: 'Over a second, in nanoseconds: the whole request, and the part of the upstream.', h: 8, most: 200, widths, wrapped, empty: 'no request took over a second', q: `${access} | event_duration > 1000000000`,
      labels: { ...number, vazel_organization: who.vazel_organization, vazel_route: 'Route · Маршрут', url_path: what.url_path, event_duration: 'Took, ns · Време', vazel_upstream_duration: 'Upstream, ns · Услуга', http_response_body_size: 'Bytes · Байтове' } }),
  ],
};
