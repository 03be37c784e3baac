package middleware

import "net/http"

// Text is what a refusal says to people, in both languages.
type Text struct {
	English, Bulgarian Localized
}

// Localized is a text in one language: what happened, why, and what to do.
type Localized struct {
	Title, Explanation, Advice string
}

// textOf is the text of a reason, or a general one for its status.
func textOf(reason string, status int) Text {
	if t, ok := texts[reason]; ok {
		return t
	}
	general := "bad_request"
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		general = "denied_by_route"
	case http.StatusNotFound:
		general = "not_found"
	case http.StatusMethodNotAllowed:
		general = "method_not_allowed"
	case http.StatusRequestTimeout:
		general = "body_timeout"
	case http.StatusRequestEntityTooLarge:
		general = "body_too_large"
	case http.StatusRequestURITooLong:
		general = "uri_too_long"
	case http.StatusMisdirectedRequest:
		general = "unknown_host"
	case http.StatusTooManyRequests:
		general = "quota-exceeded"
	case http.StatusRequestHeaderFieldsTooLarge:
		general = "header_too_large"
	case http.StatusBadGateway:
		general = "upstream_unreachable"
	case http.StatusServiceUnavailable:
		general = "unavailable"
	case http.StatusGatewayTimeout:
		general = "upstream_timeout"
	default:
		if status >= 500 {
			general = "internal_error"
		}
	}
	return texts[general]
}

const (
	adviceOperator   = "If this persists, tell the operator of the service the incident number."
	adviceOperatorBG = "Ако проблемът продължи, съобщете номера на случая на администратора на услугата."
	adviceLater      = "Try again later. " + adviceOperator
	adviceLaterBG    = "Опитайте отново по-късно. " + adviceOperatorBG
	adviceCert       = "Ask the system administrator of your organization to check the certificate with which your system connects."
	adviceCertBG     = "Помолете системния администратор на Вашата организация да провери удостоверението, с което се свързва системата Ви."
	adviceMaker      = "If you did not write the request yourself, tell the maker of the program that sent it."
	adviceMakerBG    = "Ако не сте съставили заявката сами, уведомете производителя на програмата, която я е изпратила."
)

// texts holds what each reason says. It is never changed. "Удостоверение" is the
// word of the Bulgarian act on electronic documents for a certificate, and
// "прекратено" its word for a revoked one.
var texts = map[string]Text{
	// Who is calling.
	"no_client_cert": {
		Localized{"A client certificate is required", "This address answers only to organizations that identify themselves with a certificate, and your connection showed none.",
			"Configure your system to present the certificate of your organization."},
		Localized{"Необходимо е клиентско удостоверение", "Този адрес е достъпен само за организации, които се идентифицират с удостоверение, а при Вашата връзка такова не беше представено.",
			"Настройте системата си да представя удостоверението на Вашата организация."},
	},
	"unknown_ca": {
		Localized{"The issuer of the certificate is not recognized", "The certificate that your system presented was not issued by an authority that this service recognizes.", adviceCert},
		Localized{"Издателят на удостоверението не е разпознат", "Удостоверението, представено от Вашата система, не е издадено от орган, който тази услуга признава.", adviceCertBG},
	},
	"expired": {
		Localized{"The certificate has expired", "The certificate that your system presented, or that of one of its issuers, is no longer valid.", "Have the certificate renewed by its issuer."},
		Localized{"Удостоверението е с изтекъл срок", "Срокът на валидност на удостоверението, представено от Вашата система, или на удостоверението на негов издател, е изтекъл.", "Подновете удостоверението при неговия издател."},
	},
	"not_yet_valid": {
		Localized{"The certificate is not valid yet", "The validity of the certificate that your system presented begins only later.", "Check the dates of the certificate and the clock of your system."},
		Localized{"Удостоверението все още не е валидно", "Срокът на валидност на удостоверението, представено от Вашата система, още не е започнал.", "Проверете датите в удостоверението и часовника на системата си."},
	},
	"wrong_usage": {
		Localized{"The certificate is not meant for this use", "The certificate that your system presented was not issued for client authentication.",
			"Ask its issuer for a certificate whose extended key usage includes client authentication."},
		Localized{"Удостоверението не е предназначено за тази цел", "Удостоверението, представено от Вашата система, не е издадено за удостоверяване на клиент.",
			"Поискайте от издателя удостоверение, чиято разширена употреба на ключа (extended key usage) включва удостоверяване на клиент."},
	},
	"server_only_certificate": {
		Localized{"The certificate is one for servers only", "The certificate that your system presented was issued for servers. Public authorities no longer issue certificates for clients as well.",
			"Present a certificate whose extended key usage includes client authentication, or ask the operator of the service to accept server certificates from your organization."},
		Localized{"Удостоверението е само за сървъри", "Удостоверението, представено от Вашата система, е издадено за сървъри. Публичните издатели вече не издават удостоверения и за клиенти.",
			"Представете удостоверение, чиято разширена употреба на ключа (extended key usage) включва удостоверяване на клиент, или помолете администратора на услугата да приема сървърни удостоверения от Вашата организация."},
	},
	"pq_required": {
		Localized{"A post-quantum key exchange is required", "This service may be called only over connections whose key exchange withstands quantum computers, and yours does not.",
			"Have your system offer TLS 1.3 with the group X25519MLKEM768 or SecP256r1MLKEM768."},
		Localized{"Изисква се постквантов обмен на ключове", "Тази услуга е достъпна само по връзки, чийто обмен на ключове е устойчив на квантови компютри, а Вашата връзка не е такава.",
			"Настройте системата си да предлага TLS 1.3 с групата X25519MLKEM768 или SecP256r1MLKEM768."},
	},
	"wrong_organization": {
		Localized{"The certificate names no registered organization", "The certificate is genuine, but the organization that it names is not registered here under this issuer.", adviceCert},
		Localized{"Удостоверението не посочва регистрирана организация", "Удостоверението е истинско, но посочената в него организация не е регистрирана тук с този издател.", adviceCertBG},
	},
	"not_allowed": {
		Localized{"Your organization has no access to this service", "Your organization was recognized, but it has not been given access to this service.",
			"If there is a data exchange agreement, ask the operator of the service to give access, and state the incident number."},
		Localized{"Вашата организация няма достъп до тази услуга", "Вашата организация беше разпозната, но не ѝ е предоставен достъп до тази услуга.",
			"Ако има споразумение за обмен на данни, поискайте достъп от администратора на услугата и посочете номера на случая."},
	},
	ReasonNetwork: {
		Localized{"Your network has no access to this service", "Requests from your network address are not accepted here.",
			"If you think that this is a mistake, contact the operator of the service and state the incident number."},
		Localized{"Вашата мрежа няма достъп до тази услуга", "Тук не се приемат заявки от Вашия мрежов адрес.",
			"Ако смятате, че това е грешка, свържете се с администратора на услугата и посочете номера на случая."},
	},
	ReasonNetworkList: {
		Localized{"Access can't be decided at present", "The list that decides whether your network may use this service is not available.", adviceLater},
		Localized{"В момента не може да се реши дали имате достъп", "Списъкът, по който се решава дали Вашата мрежа може да използва услугата, не е наличен.", adviceLaterBG},
	},
	"agreement_expired": {
		Localized{"The data exchange agreement has ended", "Your organization was recognized, but its agreement for this exchange is no longer in force.", "Contact the operator of the service to renew the agreement."},
		Localized{"Споразумението за обмен на данни е изтекло", "Вашата организация беше разпозната, но споразумението ѝ за този обмен вече не е в сила.", "Свържете се с администратора на услугата, за да подновите споразумението."},
	},
	"revoked": {
		Localized{"The certificate has been revoked", "The certificate that your system presented was revoked by its issuer.", "Ask the issuer for a new certificate."},
		Localized{"Удостоверението е прекратено", "Удостоверението, представено от Вашата система, е прекратено от издателя му.", "Поискайте от издателя ново удостоверение."},
	},
	"revocation_unavailable": {
		Localized{"The certificate can't be checked at present", "It could not be learned whether the issuer has revoked the certificate, and until it can, no access is given.", adviceLater},
		Localized{"Удостоверението не може да бъде проверено в момента", "Не може да бъде установено дали издателят е прекратил удостоверението, а дотогава достъп не се предоставя.", adviceLaterBG},
	},
	"bad_certificate": {
		Localized{"The certificate can't be accepted", "The certificate that your system presented is damaged, contradicts itself or uses cryptography that is too weak.", adviceCert},
		Localized{"Удостоверението не може да бъде прието", "Удостоверението, представено от Вашата система, е повредено, съдържа противоречие или използва твърде слаба криптография.", adviceCertBG},
	},

	// Where the request goes.
	"unknown_host": {
		Localized{"This address is not served here", "No service is available under the host name that was requested.", "Check the address for mistakes."},
		Localized{"Този адрес не се обслужва тук", "Под поисканото име на хост няма услуга.", "Проверете адреса за грешки."},
	},
	"sni_host_mismatch": {
		Localized{"The request came on a connection for another host", "The secure connection was made for one host name, and the request asks for another.", "Open a new connection to the right host. Browsers do so when the page is loaded again."},
		Localized{"Заявката пристигна по връзка, предназначена за друг хост", "Защитената връзка е установена за едно име на хост, а заявката се отнася за друго.", "Отворете нова връзка към правилния хост. Браузърите правят това при повторно зареждане на страницата."},
	},
	"not_found": {
		Localized{"Not found", "There is nothing at this address.", "Check the address for mistakes."},
		Localized{"Страницата не е намерена", "На този адрес няма нищо.", "Проверете адреса за грешки."},
	},
	"method_not_allowed": {
		Localized{"The method is not allowed", "This address does not accept the HTTP method of the request.", "If the answer has an Allow field, use one of the methods that it lists."},
		Localized{"Методът не е разрешен", "Този адрес не приема HTTP метода на заявката.", "Ако отговорът съдържа поле Allow, използвайте някой от изброените в него методи."},
	},
	"denied_by_route": {
		Localized{"Access is denied", "The operator of the service does not give access to this address.", ""},
		Localized{"Достъпът е отказан", "Администраторът на услугата не предоставя достъп до този адрес.", ""},
	},
	"upgrade_not_allowed": {
		Localized{"The protocol can't be changed here", "This address does not allow a change to the requested protocol, or the request for it was incomplete.", adviceMaker},
		Localized{"Смяната на протокола не е разрешена", "Този адрес не позволява преминаване към поискания протокол или искането за това е непълно.", adviceMakerBG},
	},

	// How the request is written.
	"bad_request": {
		Localized{"The request can't be understood", "The request does not follow the HTTP standard, or broke off before its end.", adviceMaker},
		Localized{"Заявката не може да бъде разбрана", "Заявката не отговаря на стандарта HTTP или е прекъсната преди края си.", adviceMakerBG},
	},
	"bad_host": {
		Localized{"The host name can't be understood", "The Host field is missing, is repeated or is not a host name.", adviceMaker},
		Localized{"Името на хоста не може да бъде разбрано", "Полето Host липсва, повтаря се или не съдържа име на хост.", adviceMakerBG},
	},
	"bad_target": {
		Localized{"The address can't be understood", "The request target is not a path, or has characters that must be percent-encoded.", adviceMaker},
		Localized{"Адресът не може да бъде разбран", "Целта на заявката не е път или съдържа знаци, които трябва да бъдат кодирани с процент.", adviceMakerBG},
	},
	"ambiguous_path": {
		Localized{"The address has more than one meaning", "Different programs would read the path differently, for example because of encoded slashes, backslashes or double encoding.", "Use the plain spelling of the address."},
		Localized{"Адресът има повече от едно значение", "Различните програми биха прочели пътя по различен начин, например заради кодирани наклонени черти, обратни наклонени черти или двойно кодиране.", "Използвайте обичайното изписване на адреса."},
	},
	"ambiguous_framing": {
		Localized{"The length of the request is ambiguous", "Different programs would see the end of the request in different places.", adviceMaker},
		Localized{"Дължината на заявката е нееднозначна", "Различните програми биха определили края на заявката на различни места.", adviceMakerBG},
	},
	"bad_line_ending": {
		Localized{"The request can't be understood", "A line of the request does not end as the HTTP standard demands.", adviceMaker},
		Localized{"Заявката не може да бъде разбрана", "Ред от заявката не завършва така, както изисква стандартът HTTP.", adviceMakerBG},
	},
	"bad_header_name": {
		Localized{"A header field can't be accepted", "The name of a header field has characters that programs read differently. Letters, digits and hyphens are accepted.", adviceMaker},
		Localized{"Поле от заглавната част не може да бъде прието", "Името на поле от заглавната част съдържа знаци, които програмите четат по различен начин. Приемат се латински букви, цифри и тирета.", adviceMakerBG},
	},
	"bad_header_value": {
		Localized{"A header field can't be accepted", "The value of a header field has control characters.", adviceMaker},
		Localized{"Поле от заглавната част не може да бъде прието", "Стойността на поле от заглавната част съдържа управляващи знаци.", adviceMakerBG},
	},
	"bad_version": {
		Localized{"The protocol version is not supported", "HTTP/1.1, HTTP/2 and HTTP/3 are supported.", adviceMaker},
		Localized{"Версията на протокола не се поддържа", "Поддържат се HTTP/1.1, HTTP/2 и HTTP/3.", adviceMakerBG},
	},
	"bad_expectation": {
		Localized{"The expectation can't be met", "The Expect field may only say 100-continue.", adviceMaker},
		Localized{"Очакването не може да бъде изпълнено", "Полето Expect може да съдържа само 100-continue.", adviceMakerBG},
	},
	"uri_too_long": {
		Localized{"The address is too long", "The request target is longer than this service accepts.", "Send long parameters in the body of the request."},
		Localized{"Адресът е твърде дълъг", "Целта на заявката е по-дълга, отколкото тази услуга приема.", "Изпратете дългите параметри в тялото на заявката."},
	},
	"header_too_large": {
		Localized{"The header is too large", "The header of the request has more bytes or fields than this service accepts.", "In a browser, deleting the cookies of this site may help."},
		Localized{"Заглавната част е твърде голяма", "Заглавната част на заявката съдържа повече байтове или полета, отколкото тази услуга приема.", "Ако използвате браузър, може да помогне изтриването на бисквитките на този сайт."},
	},
	"header_timeout": {
		Localized{"The request took too long", "The header of the request did not arrive in time.", "Try again on a better connection."},
		Localized{"Заявката отне твърде много време", "Заглавната част на заявката не пристигна навреме.", "Опитайте отново при по-добра връзка."},
	},
	"body_timeout": {
		Localized{"The request took too long", "The body of the request stopped arriving.", "Try again on a better connection."},
		Localized{"Заявката отне твърде много време", "Тялото на заявката престана да пристига.", "Опитайте отново при по-добра връзка."},
	},
	"body_too_large": {
		Localized{"The request is too large", "The body of the request is larger than this service accepts.", "Send it in smaller parts, or ask the operator of the service for a higher limit."},
		Localized{"Заявката е твърде голяма", "Тялото на заявката е по-голямо, отколкото тази услуга приема.", "Изпратете го на по-малки части или поискайте от администратора на услугата по-висока граница."},
	},

	// How much is asked for.
	"quota-exceeded": {
		Localized{"Too many requests", "The limit of requests to this service has been reached.", "Wait before you try again. The Retry-After field of the answer says how many seconds."},
		Localized{"Твърде много заявки", "Достигната е границата на броя заявки към тази услуга.", "Изчакайте, преди да опитате отново. Полето Retry-After на отговора посочва колко секунди."},
	},
	"limits_unavailable": {
		Localized{"The limits can't be checked", "The gateway can't find out at the moment how much has been used.", "Try again shortly."},
		Localized{"Ограниченията не могат да бъдат проверени", "В момента шлюзът не може да установи колко е използвано.", "Опитайте отново след малко."},
	},
	"overload": {
		Localized{"The service is busy", "Too many requests are being handled at the moment.", "Try again shortly."},
		Localized{"Услугата е натоварена", "В момента се обработват твърде много заявки.", "Опитайте отново след малко."},
	},

	// What the request holds.
	"inspection_blocked": {
		Localized{"The request was refused for security reasons", "The content of the request resembles an attack.", "If the request is legitimate, tell the operator of the service the incident number."},
		Localized{"Заявката е отказана от съображения за сигурност", "Съдържанието на заявката наподобява атака.", "Ако заявката е правомерна, съобщете номера на случая на администратора на услугата."},
	},
	"inspection_too_large": {
		Localized{"The request is too large to be checked", "The request is larger than what can be checked here for attacks, and unchecked requests are not let through.", adviceOperator},
		Localized{"Заявката е твърде голяма, за да бъде проверена", "Заявката е по-голяма от това, което може да бъде проверено тук за атаки, а непроверени заявки не се пропускат.", adviceOperatorBG},
	},
	"inspection_encoding": {
		Localized{"The request is encoded so that it can't be checked", "The body of the request is compressed in a way that can't be checked for attacks.", "Send it uncompressed or with gzip, in one piece."},
		Localized{"Заявката е кодирана така, че не може да бъде проверена", "Тялото на заявката е компресирано по начин, който не позволява проверка за атаки.", "Изпратете го некомпресирано или с gzip, наведнъж."},
	},
	"inspection_expansion": {
		Localized{"The request becomes too large", "The compressed body of the request becomes too large when it is unpacked.", "Send it uncompressed, or in smaller parts."},
		Localized{"Заявката става твърде голяма", "Компресираното тяло на заявката става твърде голямо при разархивиране.", "Изпратете го некомпресирано или на по-малки части."},
	},
	"inspection_arguments": {
		Localized{"The request has too many values", "The request has more parameters or values than are checked for attacks, and unchecked requests are not let through.", "Send fewer at once."},
		Localized{"Заявката съдържа твърде много стойности", "Заявката съдържа повече параметри или стойности, отколкото се проверяват за атаки, а непроверени заявки не се пропускат.", "Изпратете по-малко наведнъж."},
	},
	"inspection_json": {
		Localized{"The JSON can't be understood", "The body is not valid JSON, or different programs would read it differently: a name stands twice in an object, or a character is not valid Unicode.", adviceMaker},
		Localized{"Документът JSON не може да бъде разбран", "Тялото не е валиден JSON или различните програми биха го прочели по различен начин: име се повтаря в един обект или знак не е валиден Unicode.", adviceMakerBG},
	},
	"inspection_xml": {
		Localized{"The XML can't be understood", "The body is not well-formed XML.", adviceMaker},
		Localized{"Документът XML не може да бъде разбран", "Тялото не е правилно съставен документ XML.", adviceMakerBG},
	},
	"inspection_xml_unsafe": {
		Localized{"The XML has parts that are not accepted", "A document type, entities, XInclude, schemas from elsewhere and encodings other than UTF-8 are not accepted.", adviceMaker},
		Localized{"Документът XML съдържа части, които не се приемат", "Не се приемат декларация на тип на документа, същности, XInclude, външни схеми и кодировки, различни от UTF-8.", adviceMakerBG},
	},
	"inspection_multipart": {
		Localized{"The form can't be understood", "The multipart body is malformed, or different programs would read it differently.", adviceMaker},
		Localized{"Формулярът не може да бъде разбран", "Съставното тяло на заявката е неправилно или различните програми биха го прочели по различен начин.", adviceMakerBG},
	},
	"inspection_grpc": {
		Localized{"The messages can't be understood", "What was sent as gRPC is not a stream of messages.", adviceMaker},
		Localized{"Съобщенията не могат да бъдат разбрани", "Изпратеното като gRPC не е поток от съобщения.", adviceMakerBG},
	},
	"inspection_depth": {
		Localized{"The document is nested too deeply", "The JSON or XML document has more levels than are checked for attacks.", adviceMaker},
		Localized{"Документът има твърде много нива", "Документът JSON или XML има повече нива, отколкото се проверяват за атаки.", adviceMakerBG},
	},
	"inspection_response": {
		Localized{"The answer of the service was held back", "The answer of the service holds technical details that are not for the public.", adviceOperator},
		Localized{"Отговорът на услугата беше спрян", "Отговорът на услугата съдържа технически подробности, които не са предназначени за външни лица.", adviceOperatorBG},
	},
	"inspection_budget": {
		Localized{"Checking the requests takes too long", "Checking your requests for attacks took more time than one caller may use, and unchecked requests are not let through.", "Wait before you try again. The Retry-After field of the answer says how many seconds."},
		Localized{"Проверката на заявките отнема твърде много време", "Проверката на Вашите заявки за атаки отне повече време, отколкото е допустимо за един потребител, а непроверени заявки не се пропускат.", "Изчакайте, преди да опитате отново. Полето Retry-After на отговора посочва колко секунди."},
	},
	"inspection_busy": {
		Localized{"Too many requests are being checked", "The request could not be checked for attacks in time, and unchecked requests are not let through.", "Try again shortly."},
		Localized{"Проверяват се твърде много заявки", "Заявката не можа да бъде проверена за атаки навреме, а непроверени заявки не се пропускат.", "Опитайте отново след малко."},
	},
	"inspection_failed": {
		Localized{"The request could not be checked", "The request could not be checked for attacks, and unchecked requests are not let through.", adviceOperator},
		Localized{"Заявката не можа да бъде проверена", "Заявката не можа да бъде проверена за атаки, а непроверени заявки не се пропускат.", adviceOperatorBG},
	},

	"unsupported_media_type": {
		Localized{"The type of the content is not accepted", "This address does not accept content of the type that the request says it has, or the request does not say any.", "Use one of the types that the Accept field of the answer lists."},
		Localized{"Видът на съдържанието не се приема", "Този адрес не приема съдържание от вида, посочен в заявката, или в заявката не е посочен вид.", "Използвайте някой от видовете, изброени в полето Accept на отговора."},
	},
	"response_leak": {
		Localized{"The answer was held back", "The answer of the service holds data that must not leave it.", adviceOperator},
		Localized{"Отговорът е задържан", "Отговорът на услугата съдържа данни, които не бива да я напускат.", adviceOperatorBG},
	},
	"response_unreadable": {
		Localized{"The answer could not be checked", "The service answered in a way that can't be checked for data that must not leave it.", adviceOperator},
		Localized{"Отговорът не можа да бъде проверен", "Услугата отговори по начин, който не позволява проверка за данни, които не бива да я напускат.", adviceOperatorBG},
	},
	"openapi_invalid": {
		Localized{"The request does not fit the description of the service", "A parameter or a part of the body is missing, has the wrong type or a value that the service does not accept.", adviceMaker},
		Localized{"Заявката не отговаря на описанието на услугата", "Параметър или част от тялото липсва, е от неправилен тип или има стойност, която услугата не приема.", adviceMakerBG},
	},
	"file_type_not_allowed": {
		Localized{"Files of this type are not accepted", "A file of the request has a type that this address does not accept.", "Send the file in another format, or ask the operator of the service which ones are accepted."},
		Localized{"Файлове от този вид не се приемат", "Файл от заявката е от вид, който този адрес не приема.", "Изпратете файла в друг формат или попитайте администратора на услугата кои формати се приемат."},
	},
	"file_type_mismatch": {
		Localized{"A file is not what it claims to be", "The content of a file does not fit the extension of its name or the type that the request states, or the name can't be accepted.", "Save the file anew in the right format, with a plain name and the extension of the format."},
		Localized{"Файл не е такъв, за какъвто се представя", "Съдържанието на файл не отговаря на разширението на името му или на вида, посочен в заявката, или името му не може да бъде прието.", "Запишете файла отново в правилния формат, с обикновено име и с разширението на формата."},
	},
	"file_too_large": {
		Localized{"A file is too large", "A file of the request is larger than this service accepts.", "Reduce the file, or ask the operator of the service for a higher limit."},
		Localized{"Файл е твърде голям", "Файл от заявката е по-голям, отколкото тази услуга приема.", "Намалете файла или поискайте от администратора на услугата по-висока граница."},
	},
	"too_many_files": {
		Localized{"Too many files", "The request holds more files than this service accepts at once.", "Send fewer at once."},
		Localized{"Твърде много файлове", "Заявката съдържа повече файлове, отколкото тази услуга приема наведнъж.", "Изпратете по-малко наведнъж."},
	},
	"operation_not_allowed": {
		Localized{"The operation is not available here", "This address offers only some operations of the service, and the requested one is not among them, or the request names none.", "If you need the operation, ask the operator of the service, and state the incident number."},
		Localized{"Операцията не е достъпна тук", "На този адрес са достъпни само някои операции на услугата и поисканата не е сред тях или заявката не посочва операция.", "Ако операцията Ви е необходима, обърнете се към администратора на услугата и посочете номера на случая."},
	},
	"malware_found": {
		Localized{"The request holds malware", "A virus scanner found malware in a file of the request.", "Scan the file on your computer. If you are sure that it is harmless, tell the operator of the service the incident number."},
		Localized{"Заявката съдържа зловреден софтуер", "Антивирусната проверка откри зловреден софтуер във файл от заявката.", "Проверете файла на своя компютър. Ако сте сигурни, че е безвреден, съобщете номера на случая на администратора на услугата."},
	},
	"scan_too_large": {
		Localized{"The request is too large to be scanned", "The request is larger than what can be scanned here for viruses, and unscanned files are not let through.", "Send it in smaller parts, or ask the operator of the service for a higher limit."},
		Localized{"Заявката е твърде голяма за антивирусна проверка", "Заявката е по-голяма от това, което може да бъде проверено тук за вируси, а непроверени файлове не се пропускат.", "Изпратете я на по-малки части или поискайте от администратора на услугата по-висока граница."},
	},
	"scan_failed": {
		Localized{"Files can't be scanned at present", "The request could not be scanned for viruses, and unscanned files are not let through.", adviceLater},
		Localized{"В момента файловете не могат да бъдат проверени", "Заявката не можа да бъде проверена за вируси, а непроверени файлове не се пропускат.", adviceLaterBG},
	},

	// The state of the gateway and of what stands behind it.
	"upstream_unreachable": {
		Localized{"The service can't be reached", "The gateway could not reach the service that stands behind it.", adviceLater},
		Localized{"Услугата е недостъпна", "Шлюзът не успя да се свърже с услугата, която стои зад него.", adviceLaterBG},
	},
	"upstream_timeout": {
		Localized{"The service did not answer in time", "The service that stands behind the gateway took too long to answer.", adviceLater},
		Localized{"Услугата не отговори навреме", "Услугата, която стои зад шлюза, не отговори в определеното време.", adviceLaterBG},
	},
	"upstream_protocol": {
		Localized{"The service gave an invalid answer", "The service that stands behind the gateway answered in a way that can't be passed on safely.", adviceOperator},
		Localized{"Услугата върна невалиден отговор", "Услугата, която стои зад шлюза, отговори по начин, който не може да бъде предаден безопасно.", adviceOperatorBG},
	},
	"upstream_tls": {
		Localized{"The service could not be verified", "The service that stands behind the gateway did not prove its identity, so nothing was sent to it.", adviceOperator},
		Localized{"Самоличността на услугата не беше потвърдена", "Услугата, която стои зад шлюза, не доказа самоличността си, затова нищо не ѝ беше изпратено.", adviceOperatorBG},
	},
	"no_healthy_server": {
		Localized{"The service is not available at present", "No server of this service is working at the moment.", adviceLater},
		Localized{"Услугата не е достъпна в момента", "В момента не работи нито един сървър на тази услуга.", adviceLaterBG},
	},
	"audit_unavailable": {
		Localized{"The service is not available at present", "Requests to this service must be recorded, which is not possible at the moment.", adviceLater},
		Localized{"Услугата не е достъпна в момента", "Заявките към тази услуга подлежат на записване, а в момента това не е възможно.", adviceLaterBG},
	},
	"unavailable": {
		Localized{"The service is not available at present", "The request can't be served at the moment.", adviceLater},
		Localized{"Услугата не е достъпна в момента", "В момента заявката не може да бъде обслужена.", adviceLaterBG},
	},
	"not_cached": {
		Localized{"No stored answer", "The request asked for an answer from the gateway's store only, and there is none.", "Leave out only-if-cached."},
		Localized{"Няма съхранен отговор", "Заявката иска отговор само от хранилището на шлюза, а такъв няма.", "Премахнете only-if-cached."},
	},
	"maintenance": {
		Localized{"Maintenance", "The service is not available because of maintenance.", "Try again later."},
		Localized{"Поддръжка", "Услугата не е достъпна поради извършване на поддръжка.", "Опитайте отново по-късно."},
	},
	"draining": {
		Localized{"The service is being restarted", "This server is stopping and takes no new requests.", "Try again at once."},
		Localized{"Услугата се рестартира", "Този сървър спира и не приема нови заявки.", "Опитайте отново веднага."},
	},
	"internal_error": {
		Localized{"Internal error", "Something went wrong in the gateway.", adviceOperator},
		Localized{"Вътрешна грешка", "Възникна грешка в шлюза.", adviceOperatorBG},
	},
}
