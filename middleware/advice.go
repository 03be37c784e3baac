package middleware

import (
	"slices"
	"strings"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

// Told is what the refused caller was told.
func (i *Incident) Told() Text { return textOf(i.Reason, i.Status) }

// Exclusions are what to add to waf.exclude of the route, one entry a line, so
// that the rules let the same request pass; none where no rule refused it.
func (i *Incident) Exclusions() (lines []string) {
	if i.Inspection == nil || i.Reason != "inspection_blocked" {
		return nil
	}
	all := slices.Clone(i.Inspection.Matches)
	for _, f := range i.Inspection.Further {
		all = append(all, waf.Match{Rule: f.Rule, Where: f.Where})
	}
	for _, x := range waf.Propose(all, i.Path, i.Organization) {
		lines = append(lines, "- "+x.YAML())
	}
	return lines
}

// ExclusionYAML is the exclusions under their keys, as they are pasted; "" for
// none.
func (i *Incident) ExclusionYAML() string {
	lines := i.Exclusions()
	if lines == nil {
		return ""
	}
	if i.Inspection.More > 0 {
		lines = append(lines, "# more rules matched than are remembered; the next refusal shows them")
	}
	return "waf:\n  exclude:\n    " + strings.Join(lines, "\n    ") + "\n"
}

// Advice says what an operator can change, if the refusal was a mistake.
func (i *Incident) Advice() (english, bulgarian string) {
	if a, ok := adviceByReason[i.Reason]; ok {
		return a[0], a[1]
	}
	if a, ok := adviceBy[i.By]; ok {
		return a[0], a[1]
	}
	return "Nothing has to be changed here: the request itself was at fault.", "Тук няма какво да се променя: самата заявка е причината."
}

// adviceBy is by the policy that refused.
var adviceBy = map[string][2]string{
	"allow":         {"Check the certificate with \"vazel certs inspect\" and compare what it proves with the organization's definition.", "Проверете удостоверението с \"vazel certs inspect\" и сравнете какво доказва с описанието на организацията."},
	"rate_limit":    {"If the organization needs more, raise the limit (or its burst) in the line below; otherwise its system has to send more slowly, as Retry-After says.", "Ако организацията се нуждае от повече, увеличете ограничението (или burst) на посочения ред; иначе системата ѝ трябва да изпраща по-бавно, както указва Retry-After."},
	"quota":         {"The quota of the period is used up. Raise it in the line below, or wait for the next period.", "Квотата за периода е изчерпана. Увеличете я на посочения ред или изчакайте следващия период."},
	"concurrency":   {"More requests were under way at once than allowed. Find out whether the upstream has become slow before you raise the limit.", "Едновременните заявки са повече от разрешените. Преди да увеличите ограничението, проверете дали услугата отзад не се е забавила."},
	"bandwidth":     {"Transfers would have had to wait for too long. Raise the bandwidth in the line below if the network allows it.", "Прехвърлянията биха чакали твърде дълго. Увеличете честотната лента на посочения ред, ако мрежата позволява."},
	"priority":      {"The gateway was full, and requests of lower priority gave way. Look for what fills it; then think of limits.max_in_flight.", "Шлюзът е бил зает и заявките с по-нисък приоритет са отстъпили. Потърсете причината; след това преценете limits.max_in_flight."},
	"deny_from":     {"The network is on the list in the line below. Take it off, or narrow the list, if it should have access.", "Мрежата е в списъка на посочения ред. Извадете я или стеснете списъка, ако трябва да има достъп."},
	"allow_from":    {"The network is not on the list in the line below. Add it, if it should have access.", "Мрежата не е в списъка на посочения ред. Добавете я, ако трябва да има достъп."},
	"max_body":      {"The body was larger than the route allows. Raise max_body for this route alone, if such uploads are wanted.", "Тялото е по-голямо от допустимото за маршрута. Увеличете max_body само за този маршрут, ако такива качвания са нужни."},
	"methods":       {"Add the method to the route's methods, if the service needs it.", "Добавете метода към methods на маршрута, ако услугата се нуждае от него."},
	"deny":          {"The route refuses everybody. Remove deny, if it should be open.", "Маршрутът отказва на всички. Премахнете deny, ако трябва да е отворен."},
	"maintenance":   {"The service is in maintenance. Remove maintenance when it is over.", "Услугата е в профилактика. Премахнете maintenance, когато приключи."},
	"require_pq":    {"The caller's system has to offer a post-quantum key exchange; or remove require_pq from the line below.", "Системата на повикващия трябва да предлага постквантов обмен на ключове; или премахнете require_pq от посочения ред."},
	"audit":         {"Audit records could not be written, and the service demands them. See the runbook VazelAuditNotReady.", "Одитните записи не могат да бъдат записани, а услугата ги изисква. Вижте ръководството VazelAuditNotReady."},
	"content_types": {"The route does not take this type. Add it to content_types, if the service needs it.", "Маршрутът не приема този вид съдържание. Добавете го към content_types, ако услугата се нуждае от него."},
	"operations":    {"The request asks for an operation that is not listed, or for none. Add it to operations, if callers may use it.", "Заявката иска операция, която не е в списъка, или не посочва никаква. Добавете я към operations, ако повикващите могат да я използват."},
	"openapi":       {"The request does not fit the document of the service (openapi). Either the caller's program or the document has to be corrected; its answer names the place.", "Заявката не отговаря на документа на услугата (openapi). Трябва да се поправи или програмата на повикващия, или документът; отговорът ѝ посочва мястото."},
	"files":         {"The file is of a type, size or name that the route does not take. Widen files of this route alone, if such files are wanted.", "Файлът е от вид, с размер или с име, които маршрутът не приема. Разширете files само на този маршрут, ако такива файлове са нужни."},
	"scan":          {"The scanner refused the file or could not look at it; the log names what it found. Malware is no false alarm until the scanner's maker says so.", "Скенерът е отказал файла или не е могъл да го прегледа; журналът посочва какво е намерил. Зловредният код не е фалшива тревога, докато производителят на скенера не го потвърди."},
	"leaks":         {"The service answered with personal data or what it should not tell. Mend the service, or narrow leaks of this route if the answer is meant to hold it.", "Услугата е отговорила с лични данни или с нещо, което не бива да казва. Поправете услугата или стеснете leaks на този маршрут, ако отговорът трябва да ги съдържа."},
	"upstream":      {"The server behind the gateway is at fault. See the page of upstreams, and the service's own log at this time.", "Причината е в сървъра зад шлюза. Вижте страницата за сървърите и журнала на самата услуга за този момент."},
	"gateway":       {"This is a fault of the gateway. Look for the incident number in its log, and report it.", "Това е грешка на шлюза. Потърсете номера на случая в журнала му и я съобщете."},
	"waf":           {"The body could not be inspected as what it claims to be. The sender has to correct it; nothing here should be loosened for it.", "Тялото не може да бъде проверено като това, за което се представя. Трябва да го поправи изпращачът; тук нищо не бива да се разхлабва заради него."},
}

// adviceByReason is by the reason, where the policy alone does not tell.
var adviceByReason = map[string][2]string{
	"not_allowed":            {"If there is an agreement, add the organization to allow of the service or route.", "Ако има споразумение, добавете организацията към allow на услугата или маршрута."},
	"no_client_cert":         {"The caller's system showed no certificate. It has to be configured to present one; or the service does not need mtls.", "Системата на повикващия не е представила удостоверение. Трябва да бъде настроена да го прави; или услугата не се нуждае от mtls."},
	"unknown_ca":             {"If the issuer is to be trusted for this organization, add its certificate to the organization's ca.", "Ако на издателя трябва да се вярва за тази организация, добавете удостоверението му към ca на организацията."},
	"wrong_organization":     {"If the certificate is right, add its identifier to the organization's id. \"vazel certs inspect\" shows it.", "Ако удостоверението е правилно, добавете идентификатора му към id на организацията. \"vazel certs inspect\" го показва."},
	"revoked":                {"The issuer revoked the certificate. The organization needs a new one.", "Издателят е прекратил удостоверението. Организацията се нуждае от ново."},
	"revocation_unavailable": {"The revocation list can't be had or is stale. See the calendar of certificates, and the runbook VazelRevocationListStale.", "Списъкът с прекратени удостоверения не може да се получи или е остарял. Вижте календара на удостоверенията и ръководството VazelRevocationListStale."},
	"agreement_expired":      {"If the agreement was renewed, write its new end into valid_until of the organization.", "Ако споразумението е подновено, запишете новия му край във valid_until на организацията."},
	"expired":                {"The organization has to renew its certificate.", "Организацията трябва да поднови удостоверението си."},
	"inspection_blocked":     {"Look at what matched. If it is an ordinary request, add the exclusion below to the route; if it is an attack, nothing has to be changed.", "Вижте какво е съвпаднало. Ако заявката е обикновена, добавете изключението по-долу към маршрута; ако е атака, нищо не трябва да се променя."},
	"inspection_too_large":   {"The body is larger than what is inspected whole. See the section on uploads of the manual on inspection.", "Тялото е по-голямо от това, което се проверява изцяло. Вижте раздела за качвания в ръководството за проверката."},
	"inspection_xml_unsafe":  {"The XML names external files (DTD, schema, XInclude). If this service needs that, name the construct in waf.accept of the route.", "XML документът посочва външни файлове (DTD, схема, XInclude). Ако услугата се нуждае от това, посочете конструкцията във waf.accept на маршрута."},
	"inspection_budget":      {"The caller's requests take more time to inspect than one caller may use. Raise limits.inspection_time, or exclude a large parameter from inspection.", "Проверката на заявките на повикващия отнема повече време, отколкото е позволено на един. Увеличете limits.inspection_time или изключете голям параметър от проверката."},
	"inspection_busy":        {"More requests were to be inspected at once than the CPUs can take. See the panel on the CPU time of inspection.", "Едновременно е трябвало да се проверят повече заявки, отколкото процесорите могат. Вижте панела за процесорното време на проверката."},
	"inspection_failed":      {"The inspection itself failed. Look for the incident number in the gateway's log, and report it.", "Самата проверка е неуспешна. Потърсете номера на случая в журнала на шлюза и го съобщете."},
	"inspection_response":    {"The service answered with what it should not tell, such as a stack trace. Mend the service; what it said stands nowhere here.", "Услугата е отговорила с нещо, което не бива да казва, например следа от грешка. Поправете услугата; казаното от нея не се пази тук."},
	"unknown_host":           {"No service has this host. If it should, add it to the service's hosts.", "Никоя услуга няма този хост. Ако трябва да има, добавете го към hosts на услугата."},
	"upgrade_not_allowed":    {"If the route is for WebSocket, set websocket: true.", "Ако маршрутът е за WebSocket, задайте websocket: true."},
	"uri_too_long":           {"If the service needs such long addresses, raise limits.max_uri.", "Ако услугата се нуждае от толкова дълги адреси, увеличете limits.max_uri."},
	"header_too_large":       {"If the service needs such large heads, raise limits.max_header.", "Ако услугата се нуждае от толкова големи заглавни части, увеличете limits.max_header."},
	"upstream_timeout":       {"The upstream did not begin its answer in time. Find out why it is slow before you raise timeout.", "Услугата не е започнала отговора си навреме. Разберете защо е бавна, преди да увеличите timeout."},
	"limits_unavailable":     {"The store that nodes share can't be reached, and on_store_failure is closed. See the runbook VazelLimitStoreDown.", "Общото хранилище на възлите е недостъпно, а on_store_failure е closed. Вижте ръководството VazelLimitStoreDown."},
}
