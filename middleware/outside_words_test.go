package middleware

// outsideWords are what people and offices write in fields of one line.
var outsideWords = map[string][]string{
	"word":   {"въздух", "води", "бюджет", "училища", "кадастър", "отпадъци", "СУПТО", "обществени поръчки", "шум", "PM10", "транспорт", "избори", "население", "ЕКАТТЕ", "ремонт", "COVID-19", "туризъм", "ин-витро", "културно-историческо наследство", "GTFS"},
	"place":  {"Пловдив", "София (столица)", "Велико Търново", "с. Долно Камарци", "гр. Добрич", "Стара Загора", "Добрич-селска", "р-н „Младост“", "Търговище", "ж.к. Люлин - 5"},
	"name":   {"Иван Петров Димитров", "Мария Стоянова-Колева", "д-р Г. Николов", "Йоанна О'Брайън", "Ahmed Hasan", "Ан-Мари д'Орсе", "инж. Д. Вълчев, д-р", "Петър Иванов - управител", "John O'Neill", "Любка Ан. Ангелова (нотариус)"},
	"firm":   {`„Алфа Комерс“ ЕООД`, `ЕТ "Марков - 92 - Иван Марков"`, "Община Габрово", "ОП „Чистота“ - Бургас", `"Х & М Консулт" ООД`, "СБАЛО ЕАД", "НЧ „Просвета – 1927“", "Smith & Sons Ltd.", "ДЗЗД 'Обединение Път 2020'", "ИА „Пътища“ / ОПУ - Русе", "Агенция по вписванията, СлВп - Ямбол", "ТД на НАП; офис Сливен"},
	"addr":   {"гр. София, ж.к. „Младост“ 1, бл. 12, вх. Б, ет. 4, ап. 17", "бул. \"Цар Борис III\" № 136А", "с. Равда, УПИ VII-234, кв. 15", "ул. Шипка 5-7 / ул. Раковски", "1000 Sofia, 2 \"Knyaz Alexander I\" Sq.", "м. „Кору чешме“, ПИ 10135.2563.1204", "гр. Видин, п.к. 3700; ул. „Цар Симеон Велики“ 71", "АМ „Тракия“ км 208+300 (ляво)"},
	"phrase": {"регистър на училищата", "качество на въздуха 2023", `"детски градини" София`, "чл. 5, ал. 2, т. 3 от ЗОП", "как да платя данък?", "№ РД-02-15/12.09.2024", "ремонт на ул. „Раковска“", "търгове & концесии", "данни за ФПЧ10 (PM10) - Павлово", "ЕИК 201234567", "обявление: „Доставка на гориво“ - 2024 г.", "50% отстъпка; пенсионери", "води от/към с. Баня", "what is the fee for a permit?", "list of select committees", "order by mail or in person", "Наредба № 3/2018 г. (изм. и доп.)", "бул. Цар Освободител 1-3", "ТЕЛК + пенсия", "C++ или Java?", "такса смет: кога се плаща (2024)", "изтрий; започни отначало", "заповед #1234", "а/я 15", "проф. д-р Ив. Иванов"},
	"title":  {"Регистър на детските заведения (2024)", "Бюджет на Община Пловдив – приходи и разходи", "Качество на атмосферния въздух: средночасови данни", "Списък на издадените разрешения за строеж, 2019-2023 г.", "Протокол № 15 от заседание на ОбС / 28.11.2024", "Население по постоянен и настоящ адрес (таблица „А“)", "Road accidents in Bulgaria, 2010-2023 (updated)", "Отчет за изпълнение - Q3", "Наредба № 7: проект & мотиви", "Кадастрална карта \u2014 с. Равда"},
	"col":    {"Област", "Наименование", "Брой жители", "име_на_училище", "Сума (лв.)", "Дата на издаване", "ЕИК/БУЛСТАТ", "№", "Адрес", "ekatte", "PM 2.5"},
	"layer":  {"imoti", "Граници", "puti:AM", "INSPIRE:CP.CadastralParcel", "orto_2022", "Пътища_РПМ", "ms:sgradi", "кк_имоти", "zone-a.1", "Земеделски земи"},
	"fname":  {"Заявление", "Протокол №15 от 28.11.2024 г.", "otchet_2023_final(2)", "Договор & Анекс", "сканирано-0001", "Скица „кв. 15“", "IMG_20241103_141522", "Справка ДДС (м. 09)", "декларация чл.14", "Пълномощно - Иванов, П.", "data.v1.2", "Списък [финал]", "план+схема"},
	"url":    {"https://www.example.bg/novini/2024/11/remont?utm_source=fb&utm_medium=social", "http://data.example.org/dataset/a-b-c.csv", "https://gis.example.bg/arcgis/rest/services/KK/MapServer/0/query?where=1%3D1&outFields=*&f=geojson", "https://example.bg/документи/наредба-3.pdf", "http://geo.example.bg:8080/geoserver/wms?service=WMS&request=GetCapabilities", "https://docs.google.com/spreadsheets/d/1AbC-dEf_123/edit#gid=0", "https://bg.wikipedia.org/wiki/%D0%A1%D0%BE%D1%84%D0%B8%D1%8F"},
	"md": {
		"# Описание\n\nНаборът съдържа **данни** за:\n\n* училища;\n* детски градини (вкл. частни)\n\n| Колона | Тип |\n|---|---|\n| `id` | int |\n| име | text |\n\nВиж [методиката](https://www.example.bg/metodika.pdf \"Методика\") и приложението.\n\n> Забележка: данните са към 31.12.2023 г.",
		"Данни от *автоматични станции*. \n\n1. Павлово\n2. Надежда\n3. Хиподрума\n\n```\nstation,date,pm10\nPavlovo,2024-01-01,43.2\n```\n\nКонтакт: <info@example.bg>; [API](http://data.example.bg/api/3)\n\n---\n_Лиценз: CC BY 4.0_",
		"**Източник:** НСИ — <https://www.nsi.bg>\n\n- Период: 2001–2023 г.\n- Обхват: *цялата страна* (NUTS 1-3 + LAU)\n- Мерна единица: брой / %\n\n![Карта](https://example.bg/img/karta.png)",
	},
	"html": {
		`<p>Уважаеми граждани,</p><p>На <strong>15.12.2024 г.</strong> (неделя) от 10:00 ч. ще се проведе <em>обществено обсъждане</em>.</p><ul><li>Дневен ред</li><li>Разни</li></ul><p>Повече на <a href="https://www.example.bg/obsajdane" target="_blank" rel="noopener">сайта</a>.</p>`,
		`<h2>Необходими документи</h2><ol><li>Заявление &ndash; образец;</li><li>Скица &bdquo;А4&ldquo;</li></ol><table border="1" cellpadding="4"><tbody><tr><td>Такса</td><td>15&nbsp;лв.</td></tr></tbody></table><p>&nbsp;</p>`,
		`<div>Съобщение: спиране на водата, ул. „Шипка“ 1-39</div><div><br></div><blockquote>ВиК ЕООД</blockquote><p style="text-align: center;"><img src="/storage/uploads/vik.png" alt="ВиК" width="300" height="120"></p>`,
	},
}

// outsideClients are the header fields that clients send.
var outsideClients = map[string]string{
	"browser": `User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7
Accept-Language: bg-BG,bg;q=0.9,en-US;q=0.8,en;q=0.7
Accept-Encoding: gzip, deflate, br, zstd
Cache-Control: max-age=0
Sec-Ch-Ua: "Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"
Sec-Ch-Ua-Mobile: ?0
Sec-Ch-Ua-Platform: "Windows"
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: same-origin
Sec-Fetch-User: ?1
Upgrade-Insecure-Requests: 1
Referer: https://portal.example.bg/bg/tarsene?q=%D0%B2%D0%BE%D0%B4%D0%B8&sort=-date&filter%5Btype%5D=1`,
	"browserimg": `User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15
Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8
Accept-Language: bg-BG,bg;q=0.9
Accept-Encoding: gzip, deflate, br
Sec-Fetch-Dest: image
Sec-Fetch-Mode: no-cors
Sec-Fetch-Site: same-site
Referer: https://map.example.bg/?layers=%D0%B8%D0%BC%D0%BE%D1%82%D0%B8,orto&c=2596789,5269876&z=14#/search/%D0%BF%D0%BB`,
	"firefox": `User-Agent: Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: bg,en-US;q=0.7,en;q=0.3
Accept-Encoding: gzip, deflate, br, zstd
DNT: 1
Sec-GPC: 1
Priority: u=0, i
Te: trailers
Referer: https://portal.example.bg/`,
	"xhr": `User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1
Accept: application/json, text/plain, */*
Accept-Language: bg-BG,bg;q=0.9,en;q=0.8
Accept-Encoding: gzip, deflate, br
X-Requested-With: XMLHttpRequest
X-CSRF-TOKEN: <<tok40>>
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-origin
Referer: https://portal.example.bg/bg/moite-uslugi?status=open&q=%22%D0%B4%D0%B0%D0%BD%D1%8A%D0%BA%22`,
	"qgis":    "User-Agent: Mozilla/5.0 QGIS/33412/Windows 11 Version 2009\nAccept-Encoding: gzip, deflate\nAccept-Language: bg-BG,en,*\nConnection: Keep-Alive",
	"arcgis":  "User-Agent: ArcGISPro/3.3.0 (00000000000) - ArcGIS Client Using WinInet\nAccept-Encoding: gzip, deflate\nReferer: arcgis-pro\nAccept: */*",
	"gdal":    "User-Agent: GDAL/3.8.4\nAccept: */*",
	"curl":    "User-Agent: curl/8.5.0\nAccept: */*",
	"python":  "User-Agent: python-requests/2.32.3\nAccept-Encoding: gzip, deflate, br\nAccept: */*\nConnection: keep-alive\nAuthorization: <<jwt>>",
	"ckanapi": "User-Agent: ckanapi/4.8 (+https://github.com/ckan/ckanapi)\nAccept-Encoding: gzip, deflate\nAccept: */*\nX-CKAN-API-Key: <<uuid>>\nAuthorization: <<uuid>>",
	"java":    "User-Agent: Apache-HttpClient/4.5.14 (Java/17.0.9)\nAccept-Encoding: gzip,deflate\nAccept: text/xml, application/xml, */*",
	"dotnet":  "Expect: 100-continue\nAccept-Encoding: gzip, deflate\nVsDebuggerCausalityData: uIDPo<<tok40>>\nActivityId: <<uuid>>",
	"php":     "User-Agent: PHP-SOAP/8.2.7\nConnection: Keep-Alive",
	"node":    "User-Agent: axios/1.7.7\nAccept: application/json, text/plain, */*\nAccept-Encoding: gzip, compress, deflate, br",
	"powerbi": "User-Agent: Microsoft.Data.Mashup (https://go.microsoft.com/fwlink/?LinkID=304225)\nAccept: application/json;odata.metadata=minimal;q=1.0,application/json;odata=minimalmetadata;q=0.9,application/atomsvc+xml;q=0.8,*/*;q=0.1\nAccept-Encoding: gzip, deflate\nMaxDataServiceVersion: 3.0\nOData-MaxVersion: 4.0",
}

// outsideCookies are cookies of sites and of those who count their visitors.
var outsideCookies = []string{
	"_fbp=fb.1.17<<int>>000.<<int>><<int>>", "_pk_id.3.1fff=<<hex16>>.17<<int>>.", "_pk_ref.3.1fff=%5B%22%22%2C%22%22%2C17<<int>>%2C%22https%3A%2F%2Fwww.google.com%2F%22%5D", "_clck=1<<tok16>>%7C2%7Cfr4%7C0%7C1786",
	"_hjSessionUser_<<int>>=eyJpZCI6IjAwMDAwMDAwLTAwMDAtNTAwMC1hMDAwLTAwMDAwMDAwMDAwMCIsImNyZWF0ZWQiOjE3MDAwMDAwMDAwMDAsImV4aXN0aW5nIjp0cnVlfQ==", "_ga_<<tok16>>=GS1.1.17<<int>>.3.1.17<<int>>.60.0.0",
	"mp_<<hex32>>_mixpanel=%7B%22distinct_id%22%3A%20%22<<hex32>>%22%2C%22%24initial_referrer%22%3A%20%22%24direct%22%7D", "JSESSIONID=<<hex32>>.route1", "PHPSESSID=<<hex16>>abcdefghij", "ckan=<<hex32>>!dXNlcg%3D%3D", "auth_tkt=\"<<hex32>>ivan!userid_type:unicode\"",
	"AWSALB=<<b64 60>>", "ARRAffinity=<<hex32>>", "__cf_bm=<<tok40>>-17<<int>>-1.0.1.1-<<tok40>>", "cf_clearance=<<tok40>>.<<tok40>>-17<<int>>-1.2.1.1-<<tok16>>", "serverTimeOffset=57", "intercom-session-abc=<<b64 45>>", "lang=bg", "fontSize=16px; contrast=high", "last_search=%D0%B4%D0%B0%D0%BD%D1%8A%D0%BA+%D1%81%D0%B3%D1%80%D0%B0%D0%B4%D0%B8", "mapState=%7B%22center%22%3A%5B2596789.12%2C5269876.3%5D%2C%22zoom%22%3A14%2C%22layers%22%3A%5B%22imoti%22%2C%22orto%22%5D%7D",
	`recent=["12","7","188"]`, "ajs_user_id=%22<<int>>%22", "amp_6e403e=<<tok16>>...1hk<<tok16>>.1hk.0.0.0",
}

// outsideConsent are the notes of those who ask whether cookies may be kept.
var outsideConsent = []string{
	"CookieConsent={stamp:%27<<b64 24>>%27%2Cnecessary:true%2Cpreferences:false%2Cstatistics:true%2Cmarketing:false%2Cmethod:%27explicit%27%2Cver:1%2Cutc:17<<int>>000%2Cregion:%27bg%27}",
	"OptanonConsent=isGpcEnabled=0&datestamp=Mon+Nov+25+2024+10%3A11%3A12+GMT%2B0200+(Eastern+European+Standard+Time)&version=202409.1.0&browserGpcFlag=0&isIABGlobal=false&hosts=&consentId=<<uuid>>&interactionCount=1&landingPath=NotLandingPage&groups=C0001%3A1%2CC0002%3A0%2CC0003%3A1&AwaitingReconsent=false&geolocation=BG%3B22",
	"cookieyes-consent=consentid:<<tok16>>,consent:yes,action:yes,necessary:yes,functional:yes,analytics:no", "tarteaucitron=!gajs=true!youtube=wait!matomo=false",
	"cc_cookie=%7B%22categories%22%3A%5B%22necessary%22%2C%22analytics%22%5D%2C%22revision%22%3A0%2C%22data%22%3Anull%2C%22consentTimestamp%22%3A%222024-11-25T08%3A00%3A00.000Z%22%7D",
	`cookie_consent={"necessary":true,"analytics":false,"date":"2024-11-25T08:00:00.000Z"}`, "euconsent-v2=CP<<tok40>>_<<tok40>>-<<tok40>>.YAAAAAAAAAAA", "cookieconsent_status=dismiss", "laravel_cookie_consent=1", "klaro=%7B%22matomo%22%3Atrue%2C%22youtube%22%3Afalse%7D",
}

const outsideISO = `<gmd:MD_Metadata xmlns:gmd="http://www.isotc211.org/2005/gmd" xmlns:gco="http://www.isotc211.org/2005/gco" xmlns:gml="http://www.opengis.net/gml/3.2" xmlns:gmx="http://www.isotc211.org/2005/gmx" xmlns:srv="http://www.isotc211.org/2005/srv" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.isotc211.org/2005/gmd http://schemas.opengis.net/iso/19139/20070417/gmd/gmd.xsd http://www.isotc211.org/2005/srv http://schemas.opengis.net/iso/19139/20070417/srv/1.0/srv.xsd">
  <gmd:fileIdentifier><gco:CharacterString><<uuid>></gco:CharacterString></gmd:fileIdentifier>
  <gmd:language><gmd:LanguageCode codeList="http://www.loc.gov/standards/iso639-2/" codeListValue="bul"/></gmd:language>
  <gmd:characterSet><gmd:MD_CharacterSetCode codeList="http://standards.iso.org/iso/19139/resources/gmxCodelists.xml#MD_CharacterSetCode" codeListValue="utf8"/></gmd:characterSet>
  <gmd:contact><gmd:CI_ResponsibleParty><gmd:individualName><gco:CharacterString><<name|x>></gco:CharacterString></gmd:individualName><gmd:organisationName><gco:CharacterString><<firm|x>></gco:CharacterString></gmd:organisationName><gmd:contactInfo><gmd:CI_Contact><gmd:phone><gmd:CI_Telephone><gmd:voice><gco:CharacterString><<phone>></gco:CharacterString></gmd:voice></gmd:CI_Telephone></gmd:phone><gmd:address><gmd:CI_Address><gmd:deliveryPoint><gco:CharacterString><<addr|x>></gco:CharacterString></gmd:deliveryPoint><gmd:electronicMailAddress><gco:CharacterString><<email|x>></gco:CharacterString></gmd:electronicMailAddress></gmd:CI_Address></gmd:address><gmd:onlineResource><gmd:CI_OnlineResource><gmd:linkage><gmd:URL><<url|x>></gmd:URL></gmd:linkage></gmd:CI_OnlineResource></gmd:onlineResource></gmd:CI_Contact></gmd:contactInfo><gmd:role><gmd:CI_RoleCode codeList="http://standards.iso.org/iso/19139/resources/gmxCodelists.xml#CI_RoleCode" codeListValue="pointOfContact"/></gmd:role></gmd:CI_ResponsibleParty></gmd:contact>
  <gmd:dateStamp><gco:DateTime><<datetime>></gco:DateTime></gmd:dateStamp>
  <gmd:metadataStandardName><gco:CharacterString>ISO 19115:2003/19139</gco:CharacterString></gmd:metadataStandardName>
  <gmd:referenceSystemInfo><gmd:MD_ReferenceSystem><gmd:referenceSystemIdentifier><gmd:RS_Identifier><gmd:code><gmx:Anchor xlink:href="http://www.opengis.net/def/crs/EPSG/0/7801">BGS2005 / CCS2005 (EPSG:7801)</gmx:Anchor></gmd:code></gmd:RS_Identifier></gmd:referenceSystemIdentifier></gmd:MD_ReferenceSystem></gmd:referenceSystemInfo>
  <gmd:identificationInfo><gmd:MD_DataIdentification><gmd:citation><gmd:CI_Citation><gmd:title><gco:CharacterString><<title|x>></gco:CharacterString></gmd:title><gmd:date><gmd:CI_Date><gmd:date><gco:Date><<date>></gco:Date></gmd:date></gmd:CI_Date></gmd:date></gmd:CI_Citation></gmd:citation><gmd:abstract><gco:CharacterString><<text|x>></gco:CharacterString></gmd:abstract><gmd:descriptiveKeywords><gmd:MD_Keywords><gmd:keyword><gco:CharacterString><<word|x>></gco:CharacterString></gmd:keyword></gmd:MD_Keywords></gmd:descriptiveKeywords><gmd:resourceConstraints><gmd:MD_LegalConstraints><gmd:useLimitation><gco:CharacterString>Няма ограничения; чл. 4, ал. 1 от ЗДППИ</gco:CharacterString></gmd:useLimitation></gmd:MD_LegalConstraints></gmd:resourceConstraints><gmd:spatialResolution><gmd:MD_Resolution><gmd:equivalentScale><gmd:MD_RepresentativeFraction><gmd:denominator><gco:Integer>5000</gco:Integer></gmd:denominator></gmd:MD_RepresentativeFraction></gmd:equivalentScale></gmd:MD_Resolution></gmd:spatialResolution><gmd:extent><gmd:EX_Extent><gmd:temporalElement><gmd:EX_TemporalExtent><gmd:extent><gml:TimePeriod gml:id="d1e1"><gml:beginPosition><<date>></gml:beginPosition><gml:endPosition indeterminatePosition="now"/></gml:TimePeriod></gmd:extent></gmd:EX_TemporalExtent></gmd:temporalElement></gmd:EX_Extent></gmd:extent></gmd:MD_DataIdentification></gmd:identificationInfo>
</gmd:MD_Metadata>`

const outsideSAML = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_<<hex32>>" Version="2.0" IssueInstant="<<datetime>>Z" Destination="https://portal.example.bg/saml2/acs" InResponseTo="ARQ<<hex32>>"><saml:Issuer>https://eauth.example.bg</saml:Issuer><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/><ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><ds:Reference URI="#_<<hex32>>"><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue><<b64 32>></ds:DigestValue></ds:Reference></ds:SignedInfo><ds:SignatureValue><<b64 256>></ds:SignatureValue></ds:Signature><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status><saml:Assertion ID="_<<hex32>>" Version="2.0" IssueInstant="<<datetime>>Z"><saml:Issuer>https://eauth.example.bg</saml:Issuer><saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"><<egn>></saml:NameID></saml:Subject><saml:AttributeStatement><saml:Attribute Name="urn:egov:bg:eauth:2.0:attributes:personName"><saml:AttributeValue><<name|x>></saml:AttributeValue></saml:Attribute><saml:Attribute Name="urn:egov:bg:eauth:2.0:attributes:email"><saml:AttributeValue><<email|x>></saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion></samlp:Response>`
