package waf

import "strconv"

// Words are plain words in both languages.
type Words struct{ English, Bulgarian string }

// Own reports whether a rule is one of the operator's own.
func Own(id int) bool { return customRule(id) }

// RuleWords say what a rule of the Core Rule Set looks for, to somebody who does
// not know it: for rules that refuse ordinary requests by mistake now and then,
// what each looks for; for others, what their file is about.
func RuleWords(id int) Words {
	if customRule(id) {
		return Words{"A rule of your own file (waf.rules).", "Правило от Вашия собствен файл (waf.rules)."}
	}
	if w, ok := ruleWords[id]; ok {
		return w
	}
	return familyWords[strconv.Itoa(id/1000)]
}

// CategoryWords say what a category of attack is. It is empty for an unknown one.
func CategoryWords(category string) Words { return categoryWords[category] }

// familyWords are by the first three digits of a rule's id.
var familyWords = map[string]Words{
	"911": {"An HTTP method that applications seldom need.", "HTTP метод, от който приложенията рядко се нуждаят."},
	"913": {"The caller names itself as a program that looks for weaknesses.", "Програмата се представя като скенер за уязвимости."},
	"920": {"The request is not written as the HTTP standard and ordinary programs do it.", "Заявката не е съставена така, както изискват стандартът HTTP и както правят обичайните програми."},
	"921": {"Line breaks or header fields inside values: an attempt to smuggle a second request or answer.", "Нови редове или полета в стойности: опит да се прокара втора заявка или отговор."},
	"922": {"A form with files (multipart) that is put together in an unusual way.", "Формуляр с файлове (multipart), съставен по необичаен начин."},
	"930": {"A path that leaves its folder or names a file of the system.", "Път, който излиза от папката си или посочва системен файл."},
	"931": {"An address of another server where the application would load a file from.", "Адрес на друг сървър, от който приложението би заредило файл."},
	"932": {"Something that an operating system would run as a command.", "Текст, който операционната система би изпълнила като команда."},
	"933": {"Something that PHP would run as a program.", "Текст, който PHP би изпълнил като програма."},
	"934": {"Something that a programming language (JavaScript, Ruby, Perl, a template) would run.", "Текст, който език за програмиране (JavaScript, Ruby, Perl, шаблон) би изпълнил."},
	"941": {"Something that a browser would run as a script (cross-site scripting).", "Текст, който браузърът би изпълнил като скрипт (XSS)."},
	"942": {"Something that a database would read as a part of its command (SQL injection).", "Текст, който базата данни би приела като част от своя команда (SQL инжекция)."},
	"943": {"A session number that the caller wants to give to somebody else.", "Номер на сесия, който се опитват да наложат на друг потребител."},
	"944": {"Something that Java would run or load.", "Текст, който Java би изпълнила или заредила."},
}

var categoryWords = map[string]Words{
	"sqli":             {"SQL injection", "SQL инжекция"},
	"xss":              {"Cross-site scripting", "Междусайтов скрипт (XSS)"},
	"rce":              {"Running commands", "Изпълнение на команди"},
	"lfi":              {"Reading files of the server", "Четене на файлове на сървъра"},
	"rfi":              {"Loading files from elsewhere", "Зареждане на файлове отвън"},
	"protocol":         {"Written against the standard", "Нарушение на протокола"},
	"session_fixation": {"Imposed session", "Налагане на сесия"},
	"php":              {"PHP code", "Код на PHP"},
	"java":             {"Java code", "Код на Java"},
	"scanner":          {"A scanner for weaknesses", "Скенер за уязвимости"},
	"data_leak":        {"Leaked data", "Изтичане на данни"},
	"custom":           {"A rule of your own", "Ваше собствено правило"},
	"other":            {"Other", "Друго"},
}

// ruleWords are those of rules that are met often, also by ordinary requests.
var ruleWords = map[int]Words{
	911100: {"The HTTP method is not GET, HEAD, POST or OPTIONS.", "HTTP методът не е GET, HEAD, POST или OPTIONS."},
	913100: {"The User-Agent field names a program that looks for weaknesses.", "Полето User-Agent посочва скенер за уязвимости."},
	920100: {"The first line of the request is not valid.", "Първият ред на заявката не е валиден."},
	920120: {"A file name in a form has characters that programs read differently (quotes, semicolons).", "Име на файл във формуляр съдържа знаци, които програмите четат по различен начин (кавички, точка и запетая)."},
	920170: {"A GET or HEAD request with a body.", "Заявка GET или HEAD с тяло."},
	920180: {"A POST request that does not say how long its body is.", "Заявка POST, която не посочва дължината на тялото си."},
	920220: {"The address has a percent sign that is not followed by two hexadecimal digits.", "Адресът съдържа знак за процент, след който няма две шестнадесетични цифри."},
	920230: {"The value was percent-encoded twice.", "Стойността е кодирана с процент два пъти."},
	920240: {"A form has a percent sign that is not followed by two hexadecimal digits.", "Формулярът съдържа знак за процент, след който няма две шестнадесетични цифри."},
	920250: {"Bytes that are not valid UTF-8.", "Байтове, които не са валиден UTF-8."},
	920270: {"A null character.", "Нулев знак."},
	920271: {"A character that can't be printed.", "Знак, който не може да се отпечата."},
	920272: {"A character outside of printable ASCII, such as a Cyrillic letter. Meant for services in English alone.", "Знак извън ASCII, например буква на кирилица. Правилото е предназначено само за услуги на английски."},
	920273: {"A character outside of a very small set.", "Знак извън много тесен набор."},
	920280: {"The Host field is missing.", "Полето Host липсва."},
	920300: {"The Accept field is missing, as from many programs that are not browsers.", "Полето Accept липсва, както при много програми, които не са браузъри."},
	920320: {"The User-Agent field is missing.", "Полето User-Agent липсва."},
	920340: {"A body whose Content-Type is missing.", "Тяло, чийто вид (Content-Type) липсва."},
	920350: {"The service is called by an address instead of a name.", "Услугата е извикана по адрес вместо по име."},
	920420: {"A Content-Type that the rules don't know.", "Вид съдържание (Content-Type), който правилата не познават."},
	920430: {"A version of HTTP that is not allowed.", "Версия на HTTP, която не е разрешена."},
	920440: {"The address ends like a file that should not be on a server (.bak, .sql, .config).", "Адресът завършва като файл, който не бива да е на сървър (.bak, .sql, .config)."},
	920450: {"A header field that clients should not send.", "Поле, което клиентите не бива да изпращат."},
	920650: {"A parameter _method asks for another HTTP method than the request's own, as forms of Laravel do.", "Параметър _method иска друг HTTP метод вместо този на заявката, както правят формулярите на Laravel."},
	921422: {"A Content-Type that names a second type in its parameters.", "Вид съдържание (Content-Type), който посочва втори вид в параметрите си."},
	920470: {"A Content-Type that is not written as the standard says.", "Вид съдържание (Content-Type), който не е изписан според стандарта."},
	920480: {"A character set that the rules don't know.", "Кодова таблица, която правилата не познават."},
	921110: {"Text that looks like the beginning of another request.", "Текст, който прилича на начало на друга заявка."},
	921130: {"Text that looks like the beginning of an answer.", "Текст, който прилича на начало на отговор."},
	921150: {"A line break in the name of a parameter.", "Нов ред в името на параметър."},
	921160: {"A line break followed by a header field in a parameter.", "Нов ред, следван от поле на заглавна част, в параметър."},
	921180: {"A parameter that comes several times.", "Параметър, който се повтаря."},
	930100: {"A path with ../ that leaves its folder, encoded.", "Път с ../, който излиза от папката си, в кодиран вид."},
	930110: {"A path with ../ that leaves its folder.", "Път с ../, който излиза от папката си."},
	930120: {"The name of a file of the operating system, such as /etc/passwd.", "Име на файл на операционната система, например /etc/passwd."},
	930130: {"The name of a file that should not be reachable, such as .git or .env.", "Име на файл, който не бива да е достъпен, например .git или .env."},
	931100: {"A parameter that is a URL with a numeric address.", "Параметър, който е URL с числов адрес."},
	931130: {"A parameter that is a URL of another host.", "Параметър, който е URL на друг хост."},
	932100: {"A Unix command after a character that ends another one (; | &).", "Команда на Unix след знак, който завършва друга (; | &)."},
	932130: {"An expression of a Unix shell, such as $(...).", "Израз на обвивка на Unix, например $(...)."},
	932160: {"A path or command of a Unix shell, such as /bin/sh.", "Път или команда на обвивка на Unix, например /bin/sh."},
	932230: {"A Unix command of two or three letters at the beginning of a word.", "Команда на Unix от две-три букви в началото на дума."},
	932200: {"A path with wildcards or quotes, as commands are hidden (/bin/c?t, c'a't), or a slash and a question mark in one sentence.", "Път със заместващи знаци или кавички, както се прикриват команди (/bin/c?t, c'a't), или наклонена черта и въпросителна в едно изречение."},
	932231: {"A dot and a name after a sign that ends a command.", "Точка и име след знак, който завършва команда."},
	932236: {"The value begins with a word that is also a Unix command (id, sort, time, test).", "Стойността започва с дума, която е и команда на Unix (id, sort, time, test)."},
	932240: {"A backslash, quotation mark or dollar sign within a word, as commands are hidden.", "Обратна наклонена черта, кавичка или знак за долар вътре в дума, както се прикриват команди."},
	932271: {"A tilde and a number, which a shell replaces by a folder.", "Тилда и число, които обвивката заменя с папка."},
	932235: {"A Unix command after a character that ends another one.", "Команда на Unix след знак, който завършва друга."},
	932250: {"A short Unix command at the beginning of the value.", "Кратка команда на Unix в началото на стойността."},
	932260: {"A Unix command at the beginning of the value.", "Команда на Unix в началото на стойността."},
	932380: {"A Windows command.", "Команда на Windows."},
	933100: {"The opening tag of PHP (<?php).", "Отварящ таг на PHP (<?php)."},
	933160: {"A call of a PHP function that runs or reads something.", "Извикване на функция на PHP, която изпълнява или чете нещо."},
	934100: {"A call of a function of Node.js that runs something.", "Извикване на функция на Node.js, която изпълнява нещо."},
	934110: {"An address of a cloud's inner service.", "Адрес на вътрешна услуга на облак."},
	934130: {"An attempt to change JavaScript's basic objects (__proto__).", "Опит за промяна на основните обекти на JavaScript (__proto__)."},
	941100: {"HTML that runs a script, as a parser of HTML sees it.", "HTML, който изпълнява скрипт, според анализатор на HTML."},
	941110: {"A <script> tag.", "Таг <script>."},
	941120: {"An attribute of HTML that runs a script (onclick=, onerror=).", "Атрибут на HTML, който изпълнява скрипт (onclick=, onerror=)."},
	941130: {"An attribute of HTML that loads something (src=, style=, xlink:href).", "Атрибут на HTML, който зарежда нещо (src=, style=, xlink:href)."},
	941140: {"A javascript: address in a style.", "Адрес javascript: в стил."},
	941160: {"An HTML tag that browsers run or load something for.", "HTML таг, за който браузърът изпълнява или зарежда нещо."},
	941170: {"An attribute with javascript: or data:.", "Атрибут с javascript: или data:."},
	941180: {"A word that scripts use on pages (document.cookie, .innerHTML).", "Дума, която скриптовете използват в страници (document.cookie, .innerHTML)."},
	941320: {"An HTML tag.", "HTML таг."},
	942100: {"Text that a parser of SQL takes for an injected command.", "Текст, който анализатор на SQL приема за вмъкната команда."},
	942120: {"An operator of SQL, such as LIKE, BETWEEN or IS NULL.", "Оператор на SQL, например LIKE, BETWEEN или IS NULL."},
	942130: {"A comparison that is always true, such as 1=1.", "Сравнение, което винаги е вярно, например 1=1."},
	942140: {"The name of a database's own table.", "Име на служебна таблица на база данни."},
	942131: {"A comparison of two different words or numbers (a<b, 1!=2).", "Сравнение на две различни думи или числа (a<b, 1!=2)."},
	942180: {"A quotation mark beside an operator, another quotation mark or a semicolon.", "Кавичка до оператор, друга кавичка или точка и запетая."},
	942210: {"A condition or command of SQL after a number or semicolon.", "Условие или команда на SQL след число или точка и запетая."},
	942290: {"The name of an operator of MongoDB, such as $ne.", "Име на оператор на MongoDB, например $ne."},
	942300: {"A condition followed by a call of a function.", "Условие, следвано от извикване на функция."},
	942340: {"A condition of SQL beside a quotation mark, as in JSON in a text.", "Условие на SQL до кавичка, както при JSON в текст."},
	942362: {"A command of SQL at the beginning of the value, or AS and FROM.", "Команда на SQL в началото на стойността или AS и FROM."},
	942380: {"A clause of SQL, such as ORDER BY or HAVING.", "Част от команда на SQL, например ORDER BY или HAVING."},
	942410: {"The name of a function of SQL followed by a parenthesis.", "Име на функция на SQL, следвано от скоба."},
	942520: {"A quotation mark followed by an operator or a dash.", "Кавичка, следвана от оператор или тире."},
	942150: {"The name of a function of SQL.", "Име на функция на SQL."},
	942151: {"A call of a function of SQL.", "Извикване на функция на SQL."},
	942160: {"A function that makes a database wait (sleep, benchmark).", "Функция, която кара базата данни да чака (sleep, benchmark)."},
	942190: {"A command of SQL that runs code or learns of the database.", "Команда на SQL, която изпълнява код или узнава за базата данни."},
	942200: {"A quotation mark followed by what ends or comments out a command.", "Кавичка, следвана от край или коментар на команда."},
	942230: {"A condition of SQL (CASE WHEN, HAVING, IF).", "Условие на SQL (CASE WHEN, HAVING, IF)."},
	942260: {"A quotation mark followed by a condition (' OR ...).", "Кавичка, следвана от условие (' OR ...)."},
	942270: {"UNION SELECT: another query is attached.", "UNION SELECT: добавя се друга заявка към базата данни."},
	942330: {"A quotation mark beside an operator of SQL.", "Кавичка до оператор на SQL."},
	942360: {"A command of SQL joined to the value before it.", "Команда на SQL, прикрепена към предходната стойност."},
	942370: {"A quotation mark followed by an operator and a value.", "Кавичка, следвана от оператор и стойност."},
	942400: {"AND or OR followed by a comparison.", "AND или OR, следвани от сравнение."},
	942430: {"Many characters that SQL uses as well (quotes, brackets, semicolons).", "Много знаци, които и SQL използва (кавички, скоби, точка и запетая)."},
	942431: {"Several characters that SQL uses as well.", "Няколко знака, които и SQL използва."},
	942440: {"A comment of SQL (-- or /*), or two hyphens.", "Коментар на SQL (-- или /*) или две тирета."},
	942450: {"A number in hexadecimal, such as 0x41.", "Шестнадесетично число, например 0x41."},
	942480: {"A keyword of SQL beside a special character.", "Ключова дума на SQL до специален знак."},
	942490: {"A quotation mark followed by a comparison of numbers.", "Кавичка, следвана от сравнение на числа."},
	943110: {"A parameter named like a session, in a request from another site.", "Параметър с име на сесия в заявка от друг сайт."},
	944100: {"The name of a class of Java that runs commands.", "Име на клас на Java, който изпълнява команди."},
	944150: {"A look-up of Log4j (${jndi:...}).", "Търсене на Log4j (${jndi:...})."},
}
