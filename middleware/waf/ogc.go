package waf

import (
	"encoding/base64"
	"encoding/xml"
	"io"
	"maps"
	"strings"
)

// structure says of what elements a document of XML may be: by namespace, all of
// them or those that are listed.
type structure struct {
	roots    map[string]bool // local names; nil: any that is allowed elsewhere
	elements map[string]map[string]bool
	// others reports whether elements of a namespace that is not listed may stand
	// in the document: features and questions have the services' own.
	others  func(space string) bool
	filters bool // elements without a namespace are those of filters
}

const (
	nsOGC  = "http://www.opengis.net/ogc"
	nsFES  = "http://www.opengis.net/fes/2.0"
	nsGML  = "http://www.opengis.net/gml"
	nsGML3 = "http://www.opengis.net/gml/3.2"
)

var (
	// filterElements are those of filters, without functions.
	filterElements = set1("Filter And Or Not PropertyIsEqualTo PropertyIsNotEqualTo PropertyIsLessThan PropertyIsGreaterThan PropertyIsLessThanOrEqualTo PropertyIsGreaterThanOrEqualTo PropertyIsLike PropertyIsNull PropertyIsNil PropertyIsBetween LowerBoundary UpperBoundary PropertyName ValueReference Literal BBOX Equals Disjoint Touches Within Overlaps Crosses Intersects Contains DWithin Beyond Distance FeatureId GmlObjectId ResourceId SortBy SortProperty SortOrder During After Before TEquals Add Sub Mul Div")
	anyElement     map[string]bool // nil: all of a namespace
)

func ogcElements(more ...string) map[string]map[string]bool {
	out := map[string]map[string]bool{nsOGC: filterElements, nsFES: filterElements, nsGML: anyElement, nsGML3: anyElement}
	for _, space := range more {
		out[space] = anyElement
	}
	return out
}

const (
	nsWFS  = "http://www.opengis.net/wfs"
	nsWFS2 = "http://www.opengis.net/wfs/2.0"
	nsWMS  = "http://www.opengis.net/wms"
	nsWCS  = "http://www.opengis.net/wcs/2.0"
	nsWMTS = "http://www.opengis.net/wmts/1.0"
	nsOWS  = "http://www.opengis.net/ows"
	nsOWS1 = "http://www.opengis.net/ows/1.1"
	nsOWS2 = "http://www.opengis.net/ows/2.0"
	nsSLD  = "http://www.opengis.net/sld"
	nsSE   = "http://www.opengis.net/se"
	nsCSW  = "http://www.opengis.net/cat/csw/2.0.2"
	nsCSW3 = "http://www.opengis.net/cat/csw/3.0"
)

var (
	spatialRequest = &structure{
		roots:    set1("GetFeature GetCapabilities DescribeFeatureType Transaction GetPropertyValue LockFeature GetFeatureWithLock ListStoredQueries GetMap GetCoverage DescribeCoverage GetTile Execute DescribeProcess GetObservation"),
		elements: ogcElements(nsWFS, nsWFS2, nsWMS, nsWCS, nsWMTS, nsOWS, nsOWS1, nsOWS2, nsSLD, nsSE),
		others:   isLink,
	}
	catalogRequest = &structure{
		roots: set1("GetCapabilities GetRecords GetRecordById DescribeRecord GetDomain Transaction Harvest MD_Metadata FC_FeatureCatalogue Record"),
		elements: ogcElements(nsCSW, nsCSW3, nsOWS, nsOWS1, nsOWS2, "http://purl.org/dc/elements/1.1/", "http://purl.org/dc/terms/",
			"http://www.isotc211.org/2005/gmd", "http://www.isotc211.org/2005/gco", "http://www.isotc211.org/2005/gmx", "http://www.isotc211.org/2005/srv", "http://www.isotc211.org/2005/gts", "http://www.isotc211.org/2005/gfc", "http://www.isotc211.org/2005/gss", "http://www.isotc211.org/2005/gsr"),
		others: func(space string) bool { return strings.HasPrefix(space, "http://standards.iso.org/iso/") },
	}
	registerRequest = &structure{
		roots: set1("Envelope"),
		elements: map[string]map[string]bool{
			"http://schemas.xmlsoap.org/soap/envelope/": set1("Envelope Header Body"), "http://www.w3.org/2003/05/soap-envelope": set1("Envelope Header Body"), "http://tempuri.org/": anyElement,
			"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd": anyElement, "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd": anyElement,
			"http://www.w3.org/2000/09/xmldsig#": anyElement, "http://www.w3.org/2005/08/addressing": anyElement, "http://schemas.microsoft.com/ws/2005/05/addressing/none": anyElement,
		},
		others: func(space string) bool { return isLink(space) || space == "" || strings.HasPrefix(space, "urn:") }, // each register has its own
	}
	// aFilter is what stands in a parameter.
	aFilter = &structure{roots: set1("Filter"), elements: ogcElements(""), others: func(string) bool { return false }, filters: true}
	// aRecord is metadata, or a part of it, as GeoNetwork's editor sends it.
	aRecord = &structure{elements: withNone(catalogRequest.elements, "gn_add gn_replace gn_delete gn_create"), others: catalogRequest.others}
	aStyle  = &structure{roots: set1("StyledLayerDescriptor"), elements: withStyles(ogcElements(nsSLD, nsSE)), others: func(string) bool { return false }}
)

// withStyles adds the elements of styles and filters without a namespace, which
// clients leave out.
func withStyles(elements map[string]map[string]bool) map[string]map[string]bool {
	out := withNone(elements, "StyledLayerDescriptor NamedLayer UserLayer Name Title Abstract Description UserStyle FeatureTypeStyle FeatureTypeName IsDefault Rule ElseFilter MinScaleDenominator MaxScaleDenominator LineSymbolizer PolygonSymbolizer PointSymbolizer TextSymbolizer RasterSymbolizer Stroke Fill GraphicFill GraphicStroke Graphic Mark WellKnownName Size Rotation Opacity CssParameter SvgParameter Label Font Halo Radius LabelPlacement PointPlacement LinePlacement AnchorPoint AnchorPointX AnchorPointY Displacement DisplacementX DisplacementY PerpendicularOffset ColorMap ColorMapEntry Geometry VendorOption LayerFeatureConstraints FeatureTypeConstraint NamedStyle")
	maps.Copy(out[""], filterElements)
	return out
}

// withNone adds elements without a namespace.
func withNone(elements map[string]map[string]bool, names string) map[string]map[string]bool {
	out := maps.Clone(elements)
	out[""] = set1(names)
	return out
}

// isLink reports whether a namespace is one as an organization makes it.
func isLink(space string) bool {
	_, ok := link(space)
	return ok
}

// opaque are elements that hold a certificate or the like in Base64.
var opaque = set1("BinarySecurityToken X509Certificate SignatureValue DigestValue CipherValue Nonce")

// read lists the texts of a document that may be anything, if it is built as the
// structure says.
func (s *structure) read(doc []byte) (attrs, texts []string, ok bool) {
	d := newXMLDecoder(doc, true)
	var open []xml.Name
	var text strings.Builder // of an element, which comments and CDATA may divide
	for {
		t, err := d.Token()
		if err == io.EOF {
			return attrs, texts, len(open) == 0
		}
		switch t.(type) {
		case xml.StartElement, xml.EndElement:
			if v := strings.TrimSpace(text.String()); v != "" && len(open) > 0 {
				texts = append(texts, textOf(open[len(open)-1].Local, v)...)
			}
			text.Reset()
		}
		if err != nil {
			return nil, nil, false
		}
		switch t := t.(type) {
		case xml.StartElement:
			if len(open) == 0 && s.roots != nil && !s.roots[t.Name.Local] || len(open) == maxXMLDepth || !s.allows(t.Name) {
				return nil, nil, false
			}
			open = append(open, t.Name)
			for _, a := range t.Attr {
				attrs = append(attrs, textsOfAttribute(a)...)
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			text.Write(t)
		case xml.Directive:
			return nil, nil, false
		case xml.ProcInst:
			if t.Target != "xml" {
				return nil, nil, false
			}
		}
	}
}

func (s *structure) allows(n xml.Name) bool {
	list, known := s.elements[n.Space]
	switch {
	case !known:
		return s.others(n.Space)
	case n.Space == "" && s.filters: // a filter without namespaces
		return filterElements[n.Local] || gmlElements[n.Local]
	}
	return list == nil || list[n.Local]
}

// gmlElements are those that stand in filters.
var gmlElements = set1("Point Envelope Box Polygon LineString MultiPoint MultiPolygon MultiSurface MultiLineString LinearRing exterior interior outerBoundaryIs innerBoundaryIs surfaceMember polygonMember pointMember pos posList lowerCorner upperCorner coordinates coord X Y")

// textsOfAttribute is what an attribute holds that may be anything.
func textsOfAttribute(a xml.Attr) []string {
	for _, s := range []shape{words, wildcards, crsName, link, mediaType, pointers} {
		if texts, ok := s(a.Value); ok {
			return texts
		}
	}
	if a.Name.Local == "schemaLocation" && schemasKnown(a, "") {
		return nil
	}
	return []string{a.Value}
}

// pointers name another part of the document, or a standard's.
var pointers = pattern(`#[\w.-]+|https?://[\w.-]+\.[a-z]{2,}/[\w./#-]*|urn:[\w:.-]+|\{[\w.:/-]+\}\w+`)

// textOf is what an element's text holds that may be anything.
func textOf(element, v string) []string {
	switch {
	case element == "CqlText":
		if texts, ok := cql(v); ok {
			return texts
		}
		return []string{v}
	case opaque[element]:
		if _, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(v), "")); err == nil {
			return nil
		}
	}
	for _, s := range []shape{words, numbers, crsName, link, wkt} {
		if texts, ok := s(v); ok {
			return texts
		}
	}
	return []string{v}
}

// inValue is a structure as the shape of a parameter.
func (s *structure) inValue(v string) ([]string, bool) {
	v = strings.TrimSpace(v)
	if !strings.HasPrefix(v, "<") || len(v) > 1<<20 {
		return nil, false
	}
	attrs, texts, ok := s.read([]byte(v))
	return append(attrs, texts...), ok
}

// filterList are filters for several types, each in parentheses.
func filterList(v string) (texts []string, ok bool) {
	if !strings.HasPrefix(v, "(<") || !strings.HasSuffix(v, ">)") {
		return nil, false
	}
	for one := range strings.SplitSeq(v[1:len(v)-1], ">)(<") {
		one = "<" + strings.TrimSuffix(strings.TrimPrefix(one, "<"), ">") + ">"
		t, ok := aFilter.inValue(one)
		if !ok {
			return nil, false
		}
		texts = append(texts, t...)
	}
	return texts, true
}

// messageOf reports whether a document is one between programs: every element has
// a namespace, and no attribute is one of those that browsers run.
func messageOf(text string) bool {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		t, err := d.Token()
		if err != nil {
			return err == io.EOF
		}
		e, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		if !strings.Contains(e.Name.Space, ":") {
			return false
		}
		for _, a := range e.Attr {
			if name := strings.ToLower(a.Name.Local); strings.HasPrefix(name, "on") || name == "style" || name == "href" && strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Value)), "javascript:") {
				return false
			}
		}
	}
}
