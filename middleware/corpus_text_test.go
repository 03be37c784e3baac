package middleware

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// prose writes text as citizens, officials and programs send it, from a fixed
// seed: the same text in every run.
type prose struct{ *rand.Rand }

func newProse(seed uint64) prose { return prose{rand.New(rand.NewPCG(seed, 6))} }

func (p prose) one(list ...string) string { return list[p.IntN(len(list))] }

// words of Bulgarian, each list for a place in a sentence.
var (
	bgNames    = []string{"Иван Петров", "Мария Георгиева", "Стоян Илиев Димитров", "Елена Костадинова-Маринова", "Юлия Ангелова", "Д-р Хр. Цветков", "Ахмед Мехмедов", "Щерю Жеков", "Цветанка Йорданова Ружинска", "Ан Мари О'Брайън", "инж. К. Ъглев"}
	bgTowns    = []string{"гр. София", "с. Долно Уйно, общ. Кюстендил", "гр. Велико Търново", "гр. Стара Загора", "с. Бели Осъм", "гр. Русе", "Бургас", "гр. Шумен", "с. Жълтуша", "гр. Пловдив (р-н „Тракия“)"}
	bgStreets  = []string{"ул. „Цар Симеон“ № 14", "бул. \"Витоша\" 89, ет. 3, ап. 12", "ж.к. Младост-1, бл. 25, вх. Б", "ул. Оборище 5А", "бул. „Ал. Стамболийски“ №44", "пл. „Възраждане“ 1", "ул. 6-ти септември 12; вход от двора"}
	bgOffices  = []string{"Община Столична", "Агенцията по вписванията", "НАП", "кадастъра", "РДНСК", "Министерството на електронното управление", "РУО – Варна", "НОИ", "Басейнова дирекция \"Дунавски район\"", "КАТ"}
	bgSubjects = []string{"заявлението ми", "скицата на имот 68134.905.1745", "удостоверението за наследници", "преписка № РД-09-1234/12.03.2025 г.", "разрешението за строеж", "данъчната оценка", "справката за осигурителен стаж", "сигналът ми от 5 май", "актът за раждане", "договорът (с анекс 2)", "регистърът на детските градини"}
	bgStates   = []string{"все още не е обработено", "е върнато без обяснение", "съдържа грешка в името", "липсва в системата", "не се отваря на телефона ми", "е издадено на друго лице", "беше прието вчера в 14:30 ч.", "се забави с повече от 30 дни", "изисква такса от 25,60 лв.", "не съвпада с данните от нотариалния акт"}
	bgAsks     = []string{"моля за становище", "моля, посочете срок", "кога мога да го получа?", "може ли да се изпрати по електронен път?", "моля за корекция на датата", "прилагам копие от документа", "моля да ми се обадите на 0888 123 456", "настоявам за писмен отговор!", "какво трябва да представя?", "благодаря предварително :)"}
	bgJoins    = []string{", затова ", " и ", "; ", ". Във връзка с това ", " – ", ", тъй като ", ", но ", "... ", ". ", " (вж. чл. 12, ал. 3 от АПК); "}
	bgOpenings = []string{"Здравейте, ", "Уважаеми г-н кмет, ", "Добър ден! ", "Уважаема госпожо Директор,\r\n", "", "", "До: Началника на отдел „Регистри“\n", "Относно: "}
	bgPosts    = []string{"библиотекар", "главен експерт", "счетоводител", "учител по математика", "м. сестра", "началник-отдел", "земеделски стопанин", "пенсионер"}
)

// bgWhole are sentences as they were written, with all that comes in them.
var bgWhole = []string{
	"Искам да подам сигнал за счупена шахта пред бл. 42 – опасно е за децата!",
	"Може ли да платя данъка с карта или трябва да дойда на гише?",
	"Съпругът ми и аз живеем на различни адреси; кой подава декларацията?",
	"Водата в квартала е мътна от вчера (сряда) и мирише на хлор.",
	"Не мога да вляза с КЕП: пише „грешка 403“, а сертификатът е валиден до 2027 г.",
	"Благодаря на г-жа Петкова от гише 7 – реши въпроса за 5 минути.",
	"Площта по скица е 1 250 кв.м, а по нотариален акт – 1 205 кв.м.",
	"Контейнерите на ул. „Опълченска“ не са извозвани 2 седмици!!!",
	"Цената > 100 лв. ли е? Ако е < 100, ще платя веднага.",
	"Детето ми е класирано по 3-то желание; ще има ли II класиране?",
	"Моля изпратете копие на ivan.petrov@abv.bg и на м.ivanova@mail.bg.",
	"Автобус № 76 закъснява всеки ден между 7:30 и 8:15 ч.",
	"Заявявам, че съм съгласен/съгласна с условията.",
	"ЕИК 121234567, МОЛ: Георги Стоянов, дейност: търговия на едро и дребно.",
	"Прилагам: 1) лична карта; 2) пълномощно; 3) платежно нареждане.",
	"Имотът граничи с път IV клас, река и ПИ 10447.7.3.",
	"Няма да спра, докато не получа отговор -- три пъти питам!",
	"Където и да се обадя, ме препращат: „това не е при нас“.",
	"Избрах опция „Друго“, но полето не приема повече от 50 знака...",
	"Изборът от списъка (или от менюто) не се запазва; опитах с Firefox и с Chrome.",
	"Таксата е 10% от оценката, но не по-малко от 20 лв. и не повече от 200 лв.",
	"Моля, изтрийте профила ми съгласно чл. 17 от GDPR & ЗЗЛД.",
	"Казаха ми „елате утре“ и толкова.",
	"Синът ми е роден на 29.02.2024 г. – как се отбелязва това в ЕСГРАОН?",
	"Проверих: 2 + 2 = 4, а при вас сборът е 5.",
	"Обединяване на имоти: ПИ 501.1 и ПИ 501.2 в УПИ XII-501, кв. 34.",
	"Съюзът на ловците настоява за промяна на чл. 5 и отпадане на ал. 2.",
	"Въведете „*“ в полето, ако нямате презиме.",
	"Кафето в сградата е скъпо; автоматът връща само монети от 0,50 лв.",
	"Аз съм човек на 78 години и не разбирам от компютри, помогнете.",
	"Според мен наредбата е добра, но как ще се прилага в малките села?",
	"Относно ОП „Региони в растеж“ – приоритетна ос 1: кога е срокът?",
	"СЪОБЩЕНИЕ: СПИРАНЕ НА ТОКА В КВ. „ЛОЗЕНЕЦ“ ОТ 9 ДО 17 Ч.",
	"Пътят Е-79 (Враца—Ботевград) е с дупки; виж снимка 1.",
	"Търся наследници на Н. Н. от с. Черни Осъм, обл. Ловеч.",
	"Ако имам 2 имота, но единият е на жена ми, как се смята ТБО?",
	"Документът е на английски: „Certificate of Good Standing“, преведен е.",
	"Линкът https://data.egov.bg/data/view/abc-123?page=2 не работи.",
	"Поздрави, Ваня 🙂",
	"Гласувам „ЗА“ предложението за нова детска площадка в парк „Заимов“.",
}

var (
	bgWho   = []string{"Аз", "Съпругът ми", "Фирмата ни", "Дъщеря ми", "Нашето училище", "Съседът от третия етаж", "Председателят на сдружението", "Собственикът на имота", "Майка ми", "Кметът на селото", "Всеки гражданин", "Лекарят", "Един служител"}
	bgDoes  = []string{"подаде заявление за", "получи отказ за", "чака от месец", "плати таксата за", "не намира", "изпрати документите за", "попита на гишето за", "обжалва решението за", "има нужда от", "загуби", "попълни формуляра за", "иска да поднови"}
	bgWhat  = []string{"нова лична карта", "удостоверение за семейно положение", "помощ за отопление", "място в детската градина", "разрешително за паркиране", "скица на имота", "книжка за превоз", "данъчно облекчение", "ремонт на тротоара", "осветление на улицата", "издръжка за обучение", "регистрация на животно", "достъп до регистъра"}
	bgWhen  = []string{"миналата седмица", "преди два месеца", "в началото на годината", "вчера следобед", "още през пролетта", "на 15 май", "през 2024 г.", "в понеделник сутринта", "всяка година", "за трети път"}
	bgAfter = []string{"но още няма отговор", "защото срокът изтича", "а никой не вдига телефона", "и всичко мина добре", "въпреки че отговаря на условията", "като приложи всички документи", "за което благодарим", "без да му обяснят причината", "тъй като се мести в друг град", "и се надява на бърз отговор"}
)

// plain is a sentence of the kind that most are.
func (p prose) plain() string {
	s := p.one(bgWho...) + " " + p.one(bgDoes...) + " " + p.one(bgWhat...)
	if p.IntN(2) == 0 {
		s += " " + p.one(bgWhen...)
	}
	if p.IntN(2) == 0 {
		s += p.one(", ", ", ", " – ") + p.one(bgAfter...)
	}
	return s + p.one(".", ".", ".", ".", "!", "?", "...")
}

// bulgarian is a text of some sentences.
func (p prose) bulgarian(sentences int) string {
	var b strings.Builder
	b.WriteString(p.one(bgOpenings...))
	for i := range sentences {
		if i > 0 {
			b.WriteString(p.one(" ", " ", "\r\n", "\n\n"))
		}
		switch p.IntN(12) {
		case 0, 1:
			b.WriteString(p.one(bgWhole...))
		case 2:
			fmt.Fprintf(&b, "Аз, %s, живущ(а) в %s, %s, %s: %s.", p.one(bgNames...), p.one(bgTowns...), p.one(bgStreets...), p.one("заявявам", "моля", "декларирам", "възразявам"), p.one(bgAsks...))
		case 3:
			fmt.Fprintf(&b, "Подадох в %s искане на %d.%02d.2025 г. и %s %s%s", p.one(bgOffices...), 1+p.IntN(28), 1+p.IntN(12), p.one(bgSubjects...), p.one(bgStates...), p.one(".", "!", "...", "; "))
			fmt.Fprintf(&b, " %s", p.one(bgAsks...))
		case 4:
			fmt.Fprintf(&b, "Г-н/г-жа %s (%s) ми каза, че %s %s%s%s", p.one(bgNames...), p.one(bgPosts...), p.one(bgSubjects...), p.one(bgStates...), p.one(bgJoins...), p.one(bgAsks...))
		case 5, 6:
			fmt.Fprintf(&b, "%s %s%s%s.", p.one(bgSubjects...), p.one(bgStates...), p.one(bgJoins...), p.one(bgAsks...))
		default:
			b.WriteString(p.plain())
		}
	}
	return b.String()
}

var (
	enWhole = []string{
		"I'd like to know whether the dataset is updated daily or weekly.",
		"The download doesn't work; I get \"file not found\" for the March report.",
		"Please select the correct option from the list and send it to us again.",
		"We're a small company (3 people) & can't find our registration number.",
		"Could you drop me a line when the table with the results is ready?",
		"Where is the form for parents who don't live in the country?",
		"The price is < 50 EUR or > 20 EUR, depending on the order.",
		"My name is Sean O'Connor, not OConnor - please update your records.",
		"It's the association's position that the law and its annexes should change.",
		"Insert the card into the reader, then enter your PIN.",
		"The map shows 1=residential, 2=industrial; is that right?",
		"Thank you for your help, the clerk at desk #4 was great!",
		"The API returns JSON or XML; having both is nice.",
		"Is there a way to delete an old application from my profile?",
		"I've attached the contract (PDF, 2.1 MB) and the ID copy.",
		"Executive summary: costs rose 4.5% year-on-year, mostly in transport.",
		"Please grant access to Mrs. D'Angelo; she'll join on 1 June.",
	}
	enNames = []string{"John Smith", "Mary O'Neill", "Anne-Marie Dupont", "Dr. K. Müller", "José García", "Sigrún Björnsdóttir"}
)

func (p prose) english(sentences int) string {
	var out []string
	for range sentences {
		out = append(out, p.one(enWhole...))
	}
	return strings.Join(out, p.one(" ", "\n"))
}

// text is in one of the languages.
func (p prose) text(sentences int) string {
	if p.IntN(4) == 0 {
		return p.english(sentences)
	}
	return p.bulgarian(sentences)
}

func (p prose) name() string {
	if p.IntN(4) == 0 {
		return p.one(enNames...)
	}
	return p.one(bgNames...)
}

// hex is n hex digits, token n letters and digits.
func (p prose) hex(n int) string { return p.from("0123456789abcdef", n) }

func (p prose) token(n int) string {
	return p.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", n)
}

func (p prose) from(letters string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[p.IntN(len(letters))]
	}
	return string(b)
}

func (p prose) uuid() string {
	return p.hex(8) + "-" + p.hex(4) + "-4" + p.hex(3) + "-a" + p.hex(3) + "-" + p.hex(12)
}
