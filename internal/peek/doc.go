// Package peek reads bodies within bounds and looks into them. Routing, the
// proxy, and whoever else needs a request's body share one copy of it: the
// first to ask reads it, the others get the same bytes.
package peek
