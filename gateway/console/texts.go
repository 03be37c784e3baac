package console

// inEnglish are words that are keys elsewhere.
var inEnglish = map[string]string{
	"server": "Server certificate", "ca": "Authority", "client": "Certificate of a caller", "upstream": "Certificate towards an upstream",
	"crl": "Revocation list", "ocsp": "OCSP answer", "agreement": "Agreement",
	"Ends soon: server": "A server certificate ends soon", "Ends soon: ca": "An authority ends soon", "Ends soon: client": "The certificate of a caller ends soon",
	"Ends soon: upstream": "A certificate towards an upstream ends soon", "Ends soon: agreement": "An agreement ends soon",
	"Ended, missing or stale: server": "A server certificate has ended or is missing", "Ended, missing or stale: ca": "An authority has ended",
	"Ended, missing or stale: client": "The certificate of a caller has ended", "Ended, missing or stale: upstream": "A certificate towards an upstream has ended",
	"Ended, missing or stale: crl": "A revocation list is missing or stale", "Ended, missing or stale: ocsp": "An OCSP answer is missing or stale",
	"Ended, missing or stale: agreement": "An agreement has ended",
	"up":                                 "up", "warming": "warming up", "ejected": "ejected after failures", "failing": "fails its health check",
	"fresh": "fresh", "stale": "stale", "missing": "missing",
}

// inBulgarian is everything that the pages say, by what they say in English.
var inBulgarian = map[string]string{
	"Operator console": "Конзола на оператора", "Skip to content": "Към съдържанието", "Pages": "Страници", "Language": "Език", "In English": "In English", "На български": "На български",
	"Services": "Услуги", "Organizations": "Организации", "Calendar": "Календар", "Limits": "Ограничения", "Upstreams": "Сървъри", "Refusals": "Откази", "Incident": "Случай",
	"Pause updates": "Спри обновяването", "Resume updates": "Продължи обновяването", "Updated every 5 seconds": "Обновява се на всеки 5 секунди", "Copied": "Копирано", "Copy": "Копирай",
	"version": "версия", "configuration": "конфигурация", "applied": "приложена", "running since": "работи от", "Read only": "Само за четене",
	"never": "никога", "%s ago": "преди %s", "in %s": "след %s", "s": "с", "min": "мин", "h": "ч", "days": "дни", "/s": "/с",

	"Needs attention": "Изисква внимание", "Nothing needs attention": "Нищо не изисква внимание",
	"Now":               "Сега",
	"Requests a second": "Заявки в секунда", "Refused": "Отказани", "Failed": "Неуспешни", "Servers up": "Работещи сървъри", "%d of %d": "%d от %d", "in the last minute": "през последната минута",
	"Service": "Услуга", "Route": "Маршрут", "Requests": "Заявки", "Last five minutes": "Последните пет минути", "Mean time": "Средно време", "Last hit": "Последна заявка", "Policy": "Политика",
	"owner": "собственик", "inspection off": "без проверка", "inspection: block": "проверка: блокира", "inspection: detect": "проверка: наблюдава", "certificate required": "с удостоверение", "certificate optional": "удостоверение по избор", "open to all": "за всички", "denied": "забранен",
	"No service is configured.": "Няма описана услуга.",

	"No server of this service answers": "Никой сървър на тази услуга не отговаря", "A server of this service is out": "Сървър на тази услуга е изключен",
	"The last configuration was refused; the former one is in force": "Последната конфигурация е отказана; в сила е предишната",
	"The last good version of this file is in force":                 "В сила е последната валидна версия на този файл",
	"The store that nodes share can't be used":                       "Общото хранилище на възлите е недостъпно", "A limit is nearly used up": "Ограничение е почти изчерпано",
	"Ends soon: server": "Сървърно удостоверение изтича скоро", "Ends soon: ca": "Удостоверение на издател изтича скоро", "Ends soon: client": "Удостоверение на повикващ изтича скоро",
	"Ends soon: upstream": "Удостоверение към сървър изтича скоро", "Ends soon: agreement": "Споразумение изтича скоро",
	"Ended, missing or stale: server": "Сървърно удостоверение е изтекло или липсва", "Ended, missing or stale: ca": "Удостоверение на издател е изтекло",
	"Ended, missing or stale: client": "Удостоверение на повикващ е изтекло", "Ended, missing or stale: upstream": "Удостоверение към сървър е изтекло",
	"Ended, missing or stale: crl": "Списък с прекратени удостоверения липсва или е остарял", "Ended, missing or stale: ocsp": "Отговор по OCSP липсва или е остарял",
	"Ended, missing or stale: agreement": "Споразумение е изтекло",

	"Organization": "Организация", "Last seen": "Последно видяна", "Answered": "Отговорени", "Post-quantum": "Постквантови", "Revocation lists": "Списъци с прекратени", "Certificates seen": "Видени удостоверения",
	"none configured": "няма описани", "none yet": "още няма", "%d entries, next in %s": "%d записа, следващ след %s", "%d entries": "%d записа", "next": "следващ",
	"Counted since %s.":                      "Броени от %s.",
	"Refused, of no configured organization": "Отказани, на никоя описана организация",
	"No organization is configured.":         "Няма описана организация.",
	"Calendar of %s":                         "Календар на %s",
	"ends":                                   "изтича",
	"refusals":                               "откази",
	"Certificates, lists and agreements by when they end.": "Удостоверения, списъци и споразумения по срок.",
	"Ended, missing or stale":                              "Изтекли, липсващи или остарели", "Within a week": "До седмица", "Within a month": "До месец", "Within three months": "До три месеца", "Later": "По-късно",
	"Nothing is configured that ends.": "Няма описано нещо, което изтича.", "Show all": "Покажи всички", "Only of %s.": "Само за %s.",
	"server": "Сървърно удостоверение", "ca": "Издател", "client": "Удостоверение на повикващ", "upstream": "Удостоверение към сървър", "crl": "Списък с прекратени", "ocsp": "Отговор по OCSP", "agreement": "Споразумение",
	"What": "Какво", "Name": "Име", "Ends": "Изтича", "Left": "Остава", "serial": "сериен номер", "nothing is there": "няма нищо",

	"Limit": "Ограничение", "Caller": "Повикващ", "In use": "Използвано", "%s of the limit": "%s от ограничението",
	"No limit has anything in use now.":                                                    "В момента нищо от ограниченията не се използва.",
	"Callers that are counted by address or by a value that they send are not named here.": "Повикващите, които се броят по адрес или по изпратена стойност, не се изброяват тук.",
	"Counted one by one": "Броени поотделно", "Kept": "Пазени", "Lost their place": "Загубили мястото си", "and %d more": "и още %d",
	"all callers together": "всички повикващи заедно", "callers without an organization": "повикващи без организация",

	"Server": "Сървър", "State": "Състояние", "Connections": "Връзки", "Last answer took": "Последният отговор отне", "%d in use, %d idle": "%d заети, %d свободни",
	"up": "работи", "warming": "загрява", "ejected": "изключен след грешки", "failing": "не минава проверката", "fresh": "пресен", "stale": "остарял", "missing": "липсва",
	"checked": "проверяван", "not checked; only requests tell": "без проверка; личи само по заявките", "No server was found yet.": "Още не е намерен сървър.", "No upstream is configured.": "Няма описан сървър.",

	"When": "Кога", "Who": "Кой", "Why": "Защо", "All": "Всички", "Show": "Покажи", "Reason": "Причина", "Nothing was refused.": "Няма откази.", "Filter": "Филтър",
	"The newest %d at most; the gateway remembers some thousands.": "Най-новите, до %d; шлюзът помни няколко хиляди.",
	"nobody proven": "без доказана самоличност", "without a proven organization": "без доказана организация",

	"Incident number": "Номер на случая", "Paste what the caller sent: the number, or a whole message with it": "Поставете полученото от повикващия: номера или цяло съобщение с него",
	"Find": "Намери", "There is no incident number in this. It has 32 digits and letters from a to f.": "Тук няма номер на случай. Той има 32 цифри и букви от a до f.",
	"This incident is not known here, or no longer.": "Този случай не е известен тук или вече не е.",
	"Ask the other nodes, or search a log:":          "Попитайте другите възли или потърсете в журнал:",
	"Refused with %d":                                "Отказана с код %d",
	"The caller was told":                            "На повикващия е казано", "Request": "Заявка", "Network": "Мрежа", "Limit that refused": "Ограничение, което отказа", "Protocol": "Протокол", "Detail": "Подробности", "Refused by": "Отказана от",
	"its certificate names %s": "удостоверението посочва %s", "What matched": "Какво съвпадна", "Score": "Резултат", "Category": "Категория", "rule": "правило", "also in %s": "също в %s",
	"Personal data in it is masked.": "Личните данни в него са скрити.", "Which line decided": "Кой ред реши", "Setting": "Настройка", "Place": "Място", "Level": "Ниво", "built in": "вградено", "From": "От",
	"What to change": "Какво да се промени", "Paste this into the service or route, beside what stands under exclude already:": "Поставете това в услугата или маршрута, при вече изброеното в exclude:",
	"Other refusals": "Други откази", "of this organization": "на тази организация", "of this service": "на тази услуга", "for this reason": "по тази причина", "Upstream": "Сървър",
	"How to get a number": "Откъде идва номерът", "Every refusal carries one: on its page, as incident_id in problem documents, in OGC exceptions and SOAP faults, and as event.id in the logs.": "Всеки отказ носи номер: на страницата си, като incident_id в документите с проблем, в изключенията по OGC и грешките по SOAP, и като event.id в журналите.",
	"in force then: configuration %s": "тогава в сила: конфигурация %s", "These lines matter too": "Тези редове също имат значение",
}
