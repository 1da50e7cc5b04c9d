package main

import (
	"fmt"
	"html"
	"strings"
)

// plot draws CPU per request and per event as bars, relative to the bare proxy.
func plot(results map[string]*figures) string {
	const width, row, label, top = 760, 26, 330, 60
	names := order(results)
	bare := results["bare"]
	if bare == nil {
		bare = newFigures("")
	}
	panels := []struct{ title, kind string }{{"chat completion, prompt of 1 KB", "1 KB"}, {"prompt of 256 KB", "256 KB"}, {"event of a stream", "event"}}
	height := top + len(panels)*(len(names)*row+40)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13"><rect width="100%%" height="100%%" fill="#fff"/>`, width, height)
	fmt.Fprintf(&b, `<text x="16" y="28" font-size="16" font-weight="600">CPU per request and per event, relative to a bare ReverseProxy</text><text x="16" y="46" fill="#666">shorter is better</text>`)
	y := top + 10
	for _, p := range panels {
		fmt.Fprintf(&b, `<text x="16" y="%d" font-weight="600">%s</text>`, y+8, p.title)
		y += 20
		for _, name := range names {
			f := results[name]
			ratio := ratios(f.cpu[p.kind], bare.cpu[p.kind])
			fill := "#b8c0cc"
			if name == "gateway" {
				fill = "#2563eb"
			}
			length := min(ratio, 3) * float64(width-label-70) / 3
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.0f" height="16" rx="2" fill="%s"/><text x="%.0f" y="%d">%.2f</text>`,
				label-8, y+13, html.EscapeString(strings.NewReplacer("**", "", "`", "").Replace(f.title)), label, y, length, fill, float64(label)+length+6, y+13, ratio)
			y += row
		}
		y += 20
	}
	return b.String() + "</svg>\n"
}

// plotWhere draws the parts of each cost as bars.
func plotWhere(costs []cost) string {
	const width, row, label, top = 760, 22, 300, 56
	height := top + len(costs)*(len(parts)*row+44)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13"><rect width="100%%" height="100%%" fill="#fff"/>`, width, height)
	b.WriteString(`<text x="16" y="28" font-size="16" font-weight="600">Where the gateway's processor time goes</text>`)
	y := top
	for _, c := range costs {
		fmt.Fprintf(&b, `<text x="16" y="%d" font-weight="600">%s: %.0f µs</text>`, y+8, html.EscapeString(c.title), c.micro)
		y += 20
		for i, p := range parts {
			length := c.parts[i] * 2 * float64(width-label-90)
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.0f" height="14" rx="2" fill="#2563eb"/><text x="%.0f" y="%d">%.1f µs, %.0f %%</text>`,
				label-8, y+12, html.EscapeString(p.name), label, y, length, float64(label)+length+6, y+12, c.micro*c.parts[i], 100*c.parts[i])
			y += row
		}
		y += 24
	}
	return b.String() + "</svg>\n"
}
