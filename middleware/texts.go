package middleware

// Text is what a refusal says to people, in both languages.
type Text struct {
	English, Bulgarian Localized
}

// Localized is a text in one language.
type Localized struct {
	Title, Explanation, Advice string
}

// Reasons lists every reason that has texts of its own.
func Reasons() []string {
	l := make([]string, 0, len(texts))
	for r := range texts {
		l = append(l, r)
	}
	return l
}

// textOf is the text of a reason, or a general one for its status.
func textOf(reason string, status int) Text {
	if t, ok := texts[reason]; ok {
		return t
	}
	switch {
	case status >= 500:
		return texts["internal_error"]
	case status == 403 || status == 401:
		return texts["denied_by_route"]
	}
	return texts["bad_request"]
}

const (
	adviceOperator   = "If this persists, tell the operator of the service the incident number."
	adviceOperatorBG = "Ако това продължи, съобщете номера на случая на администратора на услугата."
	adviceCert       = "Ask your administration's system administrator to check the certificate with which your system connects."
	adviceCertBG     = "Помолете системния администратор на Вашата администрация да провери удостоверението, с което се свързва системата Ви."
)

// texts holds what each reason says. It is never changed.
var texts = map[string]Text{
	"no_client_cert": {
		Localized{"A client certificate is required", "This service answers only to administrations that identify themselves with a certificate, and your connection showed none.", "Configure your system to present the certificate of your administration."},
		Localized{"Необходимо е клиентско удостоверение", "Тази услуга отговаря само на администрации, които се идентифицират с удостоверение, а Вашата връзка не представи такова.", "Настройте системата си да представя удостоверението на Вашата администрация."},
	},
	"unknown_ca": {
		Localized{"The certificate's issuer is not recognized", "The certificate that your system presented was not issued by an authority that this service recognizes.", adviceCert},
		Localized{"Издателят на удостоверението не е разпознат", "Удостоверението, което представи Вашата система, не е издадено от орган, който тази услуга признава.", adviceCertBG},
	},
	"expired": {
		Localized{"The certificate has expired", "The certificate that your system presented, or one of its issuers', is no longer valid.", "Have the certificate renewed by its issuer."},
		Localized{"Удостоверението е изтекло", "Удостоверението, което представи Вашата система, или това на негов издател, вече не е валидно.", "Подновете удостоверението при неговия издател."},
	},
	"not_yet_valid": {
		Localized{"The certificate is not valid yet", "The certificate that your system presented begins to be valid only later.", "Check the certificate's dates and your system's clock."},
		Localized{"Удостоверението все още не е валидно", "Срокът на валидност на удостоверението, което представи Вашата система, още не е започнал.", "Проверете датите в удостоверението и часовника на системата си."},
	},
	"wrong_usage": {
		Localized{"The certificate is not for this use", "The certificate that your system presented was not issued for client authentication.", "Ask its issuer for a certificate whose extended key usage includes client authentication."},
		Localized{"Удостоверението не е предназначено за тази употреба", "Удостоверението, което представи Вашата система, не е издадено за удостоверяване на клиент.", "Поискайте от издателя удостоверение, чието разширено предназначение включва удостоверяване на клиент."},
	},
	"wrong_organization": {
		Localized{"The certificate names no known organization", "The certificate is genuine, but the organization that it names is not registered with this service under this issuer.", adviceCert},
		Localized{"Удостоверението не посочва позната организация", "Удостоверението е истинско, но посочената в него организация не е регистрирана в тази услуга с този издател.", adviceCertBG},
	},
	"not_allowed": {
		Localized{"Your organization may not use this service", "Your organization was recognized, but it has not been given access to this service.", "If there is a data exchange agreement, ask the operator to allow your organization, and give the incident number."},
		Localized{"Вашата организация няма достъп до тази услуга", "Вашата организация беше разпозната, но не ѝ е предоставен достъп до тази услуга.", "Ако има споразумение за обмен на данни, поискайте от администратора да разреши достъпа и посочете номера на случая."},
	},
	"agreement_expired": {
		Localized{"The data exchange agreement has ended", "Your organization was recognized, but its agreement for this exchange is no longer in force.", "Contact the operator to renew the agreement."},
		Localized{"Споразумението за обмен на данни е изтекло", "Вашата организация беше разпозната, но споразумението ѝ за този обмен вече не е в сила.", "Свържете се с администратора, за да подновите споразумението."},
	},
	"revoked": {
		Localized{"The certificate has been revoked", "The issuer has withdrawn the certificate that your system presented.", "Ask its issuer for a new certificate."},
		Localized{"Удостоверението е прекратено", "Издателят е прекратил удостоверението, което представи Вашата система.", "Поискайте от издателя ново удостоверение."},
	},
	"revocation_unavailable": {
		Localized{"The certificate can't be checked at present", "Whether the certificate is still valid could not be learned from its issuer, and without that no access is given.", "Try again later. " + adviceOperator},
		Localized{"Удостоверението не може да бъде проверено в момента", "Не можа да бъде установено от издателя дали удостоверението все още е валидно, а без това достъп не се дава.", "Опитайте по-късно. " + adviceOperatorBG},
	},
	"bad_certificate": {
		Localized{"The certificate can't be accepted", "The certificate that your system presented is damaged, contradicts itself or uses cryptography that is too weak.", adviceCert},
		Localized{"Удостоверението не може да бъде прието", "Удостоверението, което представи Вашата система, е повредено, противоречи си или използва твърде слаба криптография.", adviceCertBG},
	},
	"unknown_host": {
		Localized{"This address is not served here", "No service is configured under the host name that was requested.", "Check the address."},
		Localized{"Този адрес не се обслужва тук", "Под поисканото име не е настроена услуга.", "Проверете адреса."},
	},
	"sni_host_mismatch": {
		Localized{"The request came on a connection for another host", "The secure connection was made for one host name and the request asks for another. A new connection for the right name will work.", ""},
		Localized{"Заявката дойде по връзка за друго име", "Защитената връзка е установена за едно име, а заявката иска друго. Нова връзка за правилното име ще работи.", ""},
	},
	"not_found": {
		Localized{"Not found", "There is nothing at this address.", "Check the address."},
		Localized{"Не е намерено", "На този адрес няма нищо.", "Проверете адреса."},
	},
	"method_not_allowed": {
		Localized{"The method is not allowed", "This address does not accept the HTTP method that was used.", "The Allow field lists the methods that it accepts."},
		Localized{"Методът не е разрешен", "Този адрес не приема използвания HTTP метод.", "Полето Allow изброява приеманите методи."},
	},
	"denied_by_route": {
		Localized{"Access is refused", "The operator of the service does not give access to this address.", ""},
		Localized{"Достъпът е отказан", "Администраторът на услугата не дава достъп до този адрес.", ""},
	},
	"bad_request": {
		Localized{"The request can't be understood", "The request does not follow the HTTP standard.", adviceOperator},
		Localized{"Заявката не може да бъде разбрана", "Заявката не отговаря на стандарта HTTP.", adviceOperatorBG},
	},
	"bad_host": {
		Localized{"The host name can't be understood", "The Host field is missing, occurs twice or is not a host name.", ""},
		Localized{"Името на хоста не може да бъде разбрано", "Полето Host липсва, повтаря се или не е име на хост.", ""},
	},
	"bad_target": {
		Localized{"The address can't be understood", "The request target is not a path, or holds characters that must be percent-encoded.", ""},
		Localized{"Адресът не може да бъде разбран", "Целта на заявката не е път или съдържа знаци, които трябва да са процентно кодирани.", ""},
	},
	"ambiguous_path": {
		Localized{"The address has more than one meaning", "The path could be read in different ways by different programs, for example because of encoded slashes, backslashes or double encoding.", "Use the plain spelling of the address."},
		Localized{"Адресът има повече от едно значение", "Различни програми биха прочели пътя различно, например заради кодирани или обратни наклонени черти или двойно кодиране.", "Използвайте обикновеното изписване на адреса."},
	},
	"ambiguous_framing": {
		Localized{"The length of the request is ambiguous", "Where the request ends could be read in different ways.", adviceOperator},
		Localized{"Дължината на заявката е нееднозначна", "Краят на заявката може да бъде прочетен по различни начини.", adviceOperatorBG},
	},
	"bad_line_ending": {
		Localized{"The request can't be understood", "A line of the request does not end as HTTP demands.", ""},
		Localized{"Заявката не може да бъде разбрана", "Ред от заявката не завършва, както изисква HTTP.", ""},
	},
	"bad_header_name": {
		Localized{"A header field can't be accepted", "The name of a header field holds characters that programs read differently. Letters, digits and hyphens are accepted.", ""},
		Localized{"Поле от заглавието не може да бъде прието", "Името на поле от заглавието съдържа знаци, които програмите четат различно. Приемат се букви, цифри и тирета.", ""},
	},
	"bad_header_value": {
		Localized{"A header field can't be accepted", "The value of a header field holds control characters.", ""},
		Localized{"Поле от заглавието не може да бъде прието", "Стойността на поле от заглавието съдържа управляващи знаци.", ""},
	},
	"bad_version": {
		Localized{"The protocol version is not supported", "HTTP/1.1, HTTP/2 and HTTP/3 are supported.", ""},
		Localized{"Версията на протокола не се поддържа", "Поддържат се HTTP/1.1, HTTP/2 и HTTP/3.", ""},
	},
	"bad_expectation": {
		Localized{"The expectation can't be met", "The Expect field may only say 100-continue.", ""},
		Localized{"Очакването не може да бъде изпълнено", "Полето Expect може да съдържа само 100-continue.", ""},
	},
	"uri_too_long": {
		Localized{"The address is too long", "The request target is longer than this service accepts.", "Send long parameters in the body of the request."},
		Localized{"Адресът е твърде дълъг", "Целта на заявката е по-дълга, отколкото тази услуга приема.", "Изпратете дългите параметри в тялото на заявката."},
	},
	"header_too_large": {
		Localized{"The header is too large", "The header of the request has more bytes or fields than this service accepts.", "Deleting the cookies of this site may help."},
		Localized{"Заглавието е твърде голямо", "Заглавието на заявката има повече байтове или полета, отколкото тази услуга приема.", "Може да помогне изтриването на бисквитките на този сайт."},
	},
	"header_timeout": {
		Localized{"The request took too long", "The header of the request did not arrive in time.", ""},
		Localized{"Заявката отне твърде много време", "Заглавието на заявката не пристигна навреме.", ""},
	},
	"body_timeout": {
		Localized{"The request took too long", "The body of the request stopped arriving.", "Try again on a better connection."},
		Localized{"Заявката отне твърде много време", "Тялото на заявката престана да пристига.", "Опитайте отново при по-добра връзка."},
	},
	"body_too_large": {
		Localized{"The request is too large", "The body of the request is larger than this service accepts.", "Send it in smaller parts, or ask the operator for a higher limit."},
		Localized{"Заявката е твърде голяма", "Тялото на заявката е по-голямо, отколкото тази услуга приема.", "Изпратете го на по-малки части или поискайте от администратора по-висока граница."},
	},
	"quota-exceeded": {
		Localized{"Too many requests", "The limit for this service has been reached. The answer names the policy and when it ends.", "Wait as long as Retry-After says."},
		Localized{"Твърде много заявки", "Границата за тази услуга е достигната. Отговорът посочва правилото и кога изтича.", "Изчакайте толкова, колкото казва Retry-After."},
	},
	"overload": {
		Localized{"The service is busy", "Too many requests are being handled at the moment.", "Try again shortly."},
		Localized{"Услугата е натоварена", "В момента се обработват твърде много заявки.", "Опитайте отново след малко."},
	},
	"inspection_blocked": {
		Localized{"The request was refused for security reasons", "The content of the request resembles an attack.", "If your request is legitimate, tell the operator of the service the incident number."},
		Localized{"Заявката е отказана от съображения за сигурност", "Съдържанието на заявката наподобява атака.", "Ако заявката Ви е легитимна, съобщете номера на случая на администратора на услугата."},
	},
	"inspection_too_large": {
		Localized{"The request is too large to be inspected", "The body of the request is larger than what this service can check, and unchecked requests are not let through.", adviceOperator},
		Localized{"Заявката е твърде голяма за проверка", "Тялото на заявката е по-голямо от това, което тази услуга може да провери, а непроверени заявки не се пропускат.", adviceOperatorBG},
	},
	"inspection_failed": {
		Localized{"The request could not be checked", "The check of the request failed, and unchecked requests are not let through.", adviceOperator},
		Localized{"Заявката не можа да бъде проверена", "Проверката на заявката беше неуспешна, а непроверени заявки не се пропускат.", adviceOperatorBG},
	},
	"audit_unavailable": {
		Localized{"The service is not available at present", "Requests to this service must be recorded, and at the moment they can't be.", "Try again later. " + adviceOperator},
		Localized{"Услугата не е достъпна в момента", "Заявките към тази услуга трябва да се записват, а в момента това е невъзможно.", "Опитайте по-късно. " + adviceOperatorBG},
	},
	"upgrade_not_allowed": {
		Localized{"The protocol can't be changed here", "This address does not allow the connection to be upgraded.", ""},
		Localized{"Протоколът не може да бъде сменен тук", "Този адрес не позволява промяна на протокола на връзката.", ""},
	},
	"upstream_unreachable": {
		Localized{"The service can't be reached", "The gateway could not reach the service behind it.", "Try again later. " + adviceOperator},
		Localized{"Услугата е недостъпна", "Шлюзът не можа да се свърже с услугата зад него.", "Опитайте по-късно. " + adviceOperatorBG},
	},
	"upstream_timeout": {
		Localized{"The service did not answer in time", "The service behind the gateway took too long.", "Try again later. " + adviceOperator},
		Localized{"Услугата не отговори навреме", "Услугата зад шлюза отговаря твърде бавно.", "Опитайте по-късно. " + adviceOperatorBG},
	},
	"upstream_protocol": {
		Localized{"The service gave an invalid answer", "The service behind the gateway answered in a way that can't be passed on safely.", adviceOperator},
		Localized{"Услугата върна невалиден отговор", "Услугата зад шлюза отговори по начин, който не може да бъде препратен безопасно.", adviceOperatorBG},
	},
	"upstream_tls": {
		Localized{"The service could not be verified", "The service behind the gateway did not prove its identity, so nothing was sent to it.", adviceOperator},
		Localized{"Услугата не можа да бъде потвърдена", "Услугата зад шлюза не доказа самоличността си, затова нищо не ѝ беше изпратено.", adviceOperatorBG},
	},
	"no_healthy_server": {
		Localized{"The service is not available at present", "No server of this service is working at the moment.", "Try again later. " + adviceOperator},
		Localized{"Услугата не е достъпна в момента", "В момента нито един сървър на тази услуга не работи.", "Опитайте по-късно. " + adviceOperatorBG},
	},
	"internal_error": {
		Localized{"Internal error", "Something went wrong in the gateway.", adviceOperator},
		Localized{"Вътрешна грешка", "Възникна грешка в шлюза.", adviceOperatorBG},
	},
}
