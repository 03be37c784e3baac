package waf

import (
	"regexp"
	"strings"
)

// markup recognizes HTML as editors of text make it: elements and attributes of a
// list, none of which runs or loads anything but an image. Its texts, and the
// values of attributes that may be anything, are the parts that rules look at.
// Anything else between < and >, and a < or > beside, makes it something else.
func markup(s string) (texts []string, ok bool) {
	if len(s) > 1<<20 || strings.IndexByte(s, '<') < 0 {
		return nil, false
	}
	for s != "" {
		at := strings.IndexByte(s, '<')
		text := s
		if at >= 0 {
			text = s[:at]
		}
		if strings.IndexByte(text, '>') >= 0 {
			return nil, false
		}
		if text != "" {
			texts = append(texts, text)
		}
		if at < 0 {
			return texts, true
		}
		m := markupTag.FindStringSubmatch(s[at:])
		if m == nil {
			return nil, false
		}
		for _, a := range markupAttribute.FindAllStringSubmatch(m[1], -1) {
			switch name, value := strings.ToLower(a[1]), a[2]; name {
			case "href", "src":
				if !markupLink.MatchString(value) {
					return nil, false
				}
				texts = append(texts, value)
			case "style":
				if !markupStyle.MatchString(value) {
					return nil, false
				}
			default:
				texts = append(texts, value)
			}
		}
		s = s[at+len(m[0]):]
	}
	return texts, true
}

const markupAttributes = `[\s]+(class|title|alt|width|height|border|cellpadding|cellspacing|align|valign|colspan|rowspan|target|rel|lang|dir|start|href|src|style)="([^"<>&` + "`" + `\x00-\x1f]*)"`

var (
	markupTag       = regexp.MustCompile(`^(?i)</?(?:p|br|hr|div|span|strong|b|em|i|u|s|sub|sup|ul|ol|li|h[1-6]|blockquote|pre|code|table|thead|tbody|tfoot|tr|td|th|caption|a|img|figure|figcaption|abbr|cite|small|dl|dt|dd)((?:` + markupAttributes + `)*)\s*/?>`)
	markupAttribute = regexp.MustCompile(`(?i)` + markupAttributes)
	// markupLink is an address of the web, of mail, or within the site.
	markupLink  = regexp.MustCompile(`^(?:https?://[\p{L}\p{N}][\p{L}\p{N}.-]*(?::\d+)?(?:[/?#][\p{L}\p{N}_./?=%#~+,()-]*)?|mailto:[\w.+-]+@[\w.-]+|tel:[+\d() -]+|[\p{L}\p{N}_./?=%#~+-]*)$`)
	markupStyle = regexp.MustCompile(`^(?i)(?:\s*(?:text-align|text-decoration|text-indent|color|background-color|font-size|font-weight|font-style|font-family|line-height|margin(?:-\w+)?|padding(?:-\w+)?|width|height|max-width|border(?:-\w+)*|vertical-align|list-style-type|float)\s*:[\w #.,%-]*(?:;|$))*\s*$`)
)
