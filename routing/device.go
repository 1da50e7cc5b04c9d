package routing

import (
	"net/http"
	"strings"
)

// devices are the device types for conditions.
var devices = [...]string{"mobile", "tablet", "desktop", "other"} //nolint:gochecknoglobals // a constant

// device returns the device type of a request: by the User-Agent client hints
// (https://wicg.github.io/ua-client-hints/), else by User-Agent. Programs, such as SDKs and
// curl, are "other".
func device(h http.Header) string {
	if factors := h.Get("Sec-Ch-Ua-Form-Factors"); factors != "" {
		switch {
		case strings.Contains(factors, `"Tablet"`):
			return "tablet"
		case strings.Contains(factors, `"Mobile"`):
			return "mobile"
		case strings.Contains(factors, `"Desktop"`):
			return "desktop"
		}
		return "other"
	}
	switch h.Get("Sec-Ch-Ua-Mobile") {
	case "?1":
		return "mobile"
	case "?0":
		if strings.Trim(h.Get("Sec-Ch-Ua-Platform"), `"`) == "Android" {
			return "tablet" // Android without the mobile hint
		}
		return "desktop"
	}
	return byUserAgent(h.Get("User-Agent"))
}

func byUserAgent(ua string) string {
	has := func(s string) bool { return strings.Contains(ua, s) }
	switch {
	case !strings.HasPrefix(ua, "Mozilla/") && !strings.HasPrefix(ua, "Opera/"), has("bot"), has("Bot"), has("spider"), has("crawler"):
		return "other"
	case has("iPad"), has("Tablet"), has("Android") && !has("Mobile"):
		return "tablet"
	case has("Mobi"), has("iPhone"):
		return "mobile"
	case has("Windows NT"), has("Macintosh"), has("X11"), has("CrOS"), has("Linux"):
		return "desktop"
	}
	return "other"
}
