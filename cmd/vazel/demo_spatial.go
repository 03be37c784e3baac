package main

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"strconv"
	"strings"
)

// place is a feature of the example's spatial data.
type place struct {
	Name     string
	Lon, Lat float64
}

func places() []place {
	return []place{{"София", 23.32, 42.70}, {"Пловдив", 24.75, 42.15}, {"Варна", 27.91, 43.21}, {"Бургас", 27.47, 42.51}, {"Русе", 25.97, 43.85}}
}

const (
	wmsCapabilities = `<?xml version="1.0" encoding="UTF-8"?>
<WMS_Capabilities version="1.3.0" xmlns="http://www.opengis.net/wms"><Service><Name>WMS</Name><Title>Национален портал за пространствени данни (пример)</Title></Service>
<Capability><Request><GetCapabilities><Format>text/xml</Format></GetCapabilities><GetMap><Format>image/png</Format></GetMap></Request>
<Layer><Title>Населени места</Title><Layer queryable="0"><Name>places</Name><Title>Населени места</Title><CRS>EPSG:4326</CRS></Layer></Layer></Capability></WMS_Capabilities>
`
	wfsCapabilities = `<?xml version="1.0" encoding="UTF-8"?>
<WFS_Capabilities version="2.0.0" xmlns="http://www.opengis.net/wfs/2.0"><FeatureTypeList><FeatureType><Name>places</Name><Title>Населени места</Title><DefaultCRS>urn:ogc:def:crs:EPSG::4326</DefaultCRS></FeatureType></FeatureTypeList></WFS_Capabilities>
`
	serviceException = `<?xml version="1.0" encoding="UTF-8"?>
<ServiceExceptionReport version="1.3.0" xmlns="http://www.opengis.net/ogc"><ServiceException code="%s">%s</ServiceException></ServiceExceptionReport>
`
)

// spatial behaves like an OGC service: WMS 1.3.0 and WFS 2.0.0 over KVP, whose
// parameter names have no letter case.
func spatial() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthy)
	serve := func(w http.ResponseWriter, r *http.Request) {
		q := map[string]string{}
		for k, v := range r.URL.Query() {
			q[strings.ToLower(k)] = v[0]
		}
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		switch strings.ToLower(q["service"] + "." + q["request"]) {
		case "wms.getcapabilities":
			fmt.Fprint(w, wmsCapabilities)
		case "wms.getmap":
			drawMap(w, q)
		case "wfs.getcapabilities":
			fmt.Fprint(w, wfsCapabilities)
		case "wfs.getfeature":
			features(w, q)
		default:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, serviceException, "OperationNotSupported", "Unknown service or request")
		}
	}
	for _, path := range []string{"/wms", "/wfs", "/ows"} {
		mux.HandleFunc("GET "+path, serve)
	}
	return mux
}

// drawMap draws the places inside of BBOX.
func drawMap(w http.ResponseWriter, q map[string]string) {
	width, err1 := strconv.Atoi(q["width"])
	height, err2 := strconv.Atoi(q["height"])
	if err1 != nil || err2 != nil || width < 1 || height < 1 || width > 2048 || height > 2048 {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, serviceException, "InvalidParameterValue", "width and height must be between 1 and 2048")
		return
	}
	box := [4]float64{41.2, 22.3, 44.3, 28.7} // latitude first, as WMS 1.3.0 has it for EPSG:4326
	if f := strings.Split(q["bbox"], ","); len(f) == 4 {
		for i, s := range f {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, serviceException, "InvalidParameterValue", "bbox")
				return
			}
			box[i] = v
		}
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	land, mark := color.RGBA{0xe8, 0xee, 0xdd, 0xff}, color.RGBA{0xb0, 0x2a, 0x37, 0xff}
	for i := range img.Pix {
		img.Pix[i] = []uint8{land.R, land.G, land.B, land.A}[i%4]
	}
	for _, p := range places() {
		x := int((p.Lon - box[1]) / (box[3] - box[1]) * float64(width))
		y := height - int((p.Lat-box[0])/(box[2]-box[0])*float64(height))
		for dx := -4; dx <= 4; dx++ {
			for dy := -4; dy <= 4; dy++ {
				if dx*dx+dy*dy <= 16 {
					img.SetRGBA(x+dx, y+dy, mark)
				}
			}
		}
	}
	w.Header().Set("Content-Type", "image/png")
	png.Encode(w, img)
}

// features answers GetFeature with GeoJSON.
func features(w http.ResponseWriter, q map[string]string) {
	list := []any{}
	for i, p := range places() {
		list = append(list, map[string]any{
			"type": "Feature", "id": fmt.Sprintf("places.%d", i+1),
			"geometry":   map[string]any{"type": "Point", "coordinates": []float64{p.Lon, p.Lat}},
			"properties": map[string]any{"name": p.Name},
		})
	}
	if n, err := strconv.Atoi(q["count"]); err == nil && n >= 0 && n < len(list) {
		list = list[:n]
	}
	w.Header().Set("Content-Type", "application/geo+json")
	json.NewEncoder(w).Encode(map[string]any{"type": "FeatureCollection", "features": list})
}
